"""Kind: a record that a broker takes and the client library cannot read."""

import random
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.structs import TopicPartition
from touchline_runtime.kafka import header_names
from touchline_runtime.kafka.clients import consumer

from tests.support.raw_records import CODECS, RawRecord, raw_batch

NAMES = [b"x", b"\xff", b"\xc3", b"caf\xe9", b"\xed\xa0\x80", b"ok\x80\x80", b"", "käse".encode(), b"\x00", b"\xf0\x9f"]


def random_record(chance: random.Random, names: list[bytes]) -> RawRecord:
    def some(length: int) -> bytes | None:
        return None if chance.random() < 0.2 else chance.randbytes(chance.randrange(length))

    headers = [(chance.choice(names), some(200)) for _ in range(chance.randrange(4))]
    return RawRecord(some(90), some(300), headers)


def read(data: bytes, records: type, offset: int = 0) -> list[Any]:
    unpacked = PartitionRecords(TopicPartition("t", 0), records(data), None, offset, None, None, True, 1)
    return list(unpacked)


def placed(batches: list[bytes], sizes: list[int]) -> bytes:
    """The batches one after another, with the offsets that a broker gives them."""
    found, offset = b"", 0
    for batch, size in zip(batches, sizes, strict=True):
        found += offset.to_bytes(8, "big") + batch[8:]
        offset += size
    return found


def test_every_consumer_reads_header_names_leniently() -> None:
    assert consumer.__module__ == "touchline_runtime.kafka.clients", "importing it is enough"
    assert fetcher.MemoryRecords is header_names.LenientMemoryRecords


@pytest.mark.parametrize("seed", range(20))
def test_records_with_names_of_every_kind_are_read_as_they_are(seed: int) -> None:
    chance = random.Random(seed)
    sizes = [chance.randrange(1, 6) for _ in range(6)]
    posted = [[random_record(chance, NAMES) for _ in range(size)] for size in sizes]
    batches = [raw_batch(records, chance.choice(list(CODECS))) for records in posted]
    # A fetch begins with the batch that holds the position.
    start = chance.randrange(sizes[0])
    # A fetch may end with a part of a batch.
    data = placed(batches, sizes) + batches[0][: chance.randrange(60)]
    found = read(data, header_names.LenientMemoryRecords, start)
    expected = [record for records in posted for record in records]
    assert [record.offset for record in found] == list(range(start, sum(sizes)))
    for record, wanted in zip(found, expected[start:], strict=True):
        names = tuple((name.decode("utf-8", "replace"), content) for name, content in wanted.headers)
        assert (record.key, record.value, record.headers) == (wanted.key, wanted.value, names)


@pytest.mark.parametrize("seed", range(5))
def test_an_invalid_name_changes_nothing_else_of_a_record(seed: int) -> None:
    """Read by this project's code, as one invalid name has it, valid records are those that aiokafka reads."""
    chance = random.Random(seed)
    valid = [random_record(chance, [b"x", "käse".encode(), b""]) for _ in range(5)]
    batch = raw_batch(valid)
    by_aiokafka = read(batch, header_names._MemoryRecords)
    with_another = raw_batch([RawRecord(b"k", b"v", [(b"\xff", b"")]), *valid])
    ours = read(with_another, header_names.LenientMemoryRecords)[1:]
    for mine, theirs in zip(ours, by_aiokafka, strict=True):
        assert (mine.offset, mine.timestamp_type) == (theirs.offset + 1, theirs.timestamp_type)
        assert (mine.key, mine.value, mine.headers) == (theirs.key, theirs.value, theirs.headers)
    first = ours[0].timestamp - by_aiokafka[0].timestamp
    assert {mine.timestamp - theirs.timestamp for mine, theirs in zip(ours, by_aiokafka, strict=True)} == {first}


def test_a_wrong_checksum_is_still_an_error() -> None:
    batch = bytearray(raw_batch([RawRecord(b"k", b"v", [(b"\xff", b"")])]))
    batch[-1] ^= 1
    with pytest.raises(fetcher.Errors.CorruptRecordException):
        read(bytes(batch), header_names.LenientMemoryRecords)
