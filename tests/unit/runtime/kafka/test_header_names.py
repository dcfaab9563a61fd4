"""Kind: a record that a broker takes and the client library cannot read."""

import random
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from touchline_runtime.kafka import fast_records, header_names
from touchline_runtime.kafka.clients import consumer

from tests.support.compiled import NOT_BUILT
from tests.support.raw_records import CODECS, RawRecord, raw_batch

READERS = [header_names.LenientMemoryRecords, fast_records.FastMemoryRecords]
NAMES = [b"x", b"\xff", b"\xc3", b"caf\xe9", b"\xed\xa0\x80", b"ok\x80\x80", b"", "käse".encode(), b"\x00", b"\xf0\x9f"]


def random_record(chance: random.Random, names: list[bytes]) -> RawRecord:
    def some(length: int) -> bytes | None:
        return None if chance.random() < 0.2 else chance.randbytes(chance.randrange(length))

    headers = [(chance.choice(names), some(200)) for _ in range(chance.randrange(4))]
    return RawRecord(some(90), some(300), headers)


def read(data: bytes, records: type, offset: int = 0) -> list[Any]:
    reader = PartitionRecords
    if records is fast_records.FastMemoryRecords:
        if not fast_records.BUILT:
            pytest.skip(NOT_BUILT)
        reader = fast_records.FastPartitionRecords
    return list(reader(TopicPartition("t", 3), records(data), None, offset, None, None, True, 1))


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


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("seed", range(20))
def test_records_with_names_of_every_kind_are_read_as_they_are(seed: int, reader: type) -> None:
    chance = random.Random(seed)
    sizes = [chance.choice([1, 2, 5, 20, 60]) for _ in range(6)]
    posted = [[random_record(chance, NAMES) for _ in range(size)] for size in sizes]
    batches = [raw_batch(records, chance.choice(list(CODECS))) for records in posted]
    # A fetch begins with the batch that holds the position.
    start = chance.randrange(sizes[0])
    # A fetch may end with a part of a batch.
    data = placed(batches, sizes) + batches[0][: chance.randrange(60)]
    found = read(data, reader, start)
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


@pytest.mark.parametrize("reader", READERS)
def test_a_wrong_checksum_is_still_an_error(reader: type) -> None:
    batch = bytearray(raw_batch([RawRecord(b"k", b"v", [(b"\xff", b"")])] * 20))
    batch[-1] ^= 1
    with pytest.raises(fetcher.Errors.CorruptRecordException):
        read(bytes(batch), reader)


@pytest.mark.parametrize("appended", [False, True])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("seed", range(5))
def test_compiled_code_reads_of_valid_records_what_aiokafka_reads(seed: int, codec: str, appended: bool) -> None:
    chance = random.Random(seed)
    names = [b"x", "käse".encode(), b"", b"ce_id"]
    batch = bytearray(raw_batch([random_record(chance, names) for _ in range(chance.randrange(9, 200))], codec))
    if appended:
        # The broker's time for all of them; the checksum is computed again.
        batch[22] |= 8
        batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4, "big")
    start = chance.randrange(5)
    theirs = read(bytes(batch), header_names._MemoryRecords, start)
    ours = read(bytes(batch), fast_records.FastMemoryRecords, start)
    assert {type(record).__name__ for record in ours} == {"Record"}
    assert [attributes_of(record) for record in ours] == [attributes_of(record) for record in theirs]


def test_compiled_code_leaves_damaged_records_to_aiokafka() -> None:
    """Kind: a producer that wrote a batch wrongly, with a checksum that is right."""
    chance = random.Random(3)
    read(raw_batch([RawRecord(b"k", b"v")]), fast_records.FastMemoryRecords)
    whole = raw_batch([random_record(chance, [b"x", b"ce_id"]) for _ in range(12)])
    for _ in range(300):
        batch = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            batch[chance.randrange(57, len(batch))] = chance.randrange(256)
        batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4, "big")
        outcomes = [outcome(bytes(batch), records) for records in READERS]
        assert outcomes[0] == outcomes[1]


def outcome(batch: bytes, records: type) -> Any:
    try:
        return [attributes_of(record) for record in read(batch, records)]
    except Exception as error:
        return type(error).__name__


def attributes_of(record: Any) -> tuple[Any, ...]:
    return (
        record.topic, record.partition, record.offset, record.timestamp, record.timestamp_type, record.key,
        record.value, record.headers,
    )  # fmt: skip
