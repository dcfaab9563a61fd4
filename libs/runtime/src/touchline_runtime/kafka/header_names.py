"""Header names that are not valid UTF-8: read as Kafka's own clients read them, with U+FFFD for the invalid bytes.

The protocol says that a header's name is UTF-8, and brokers do not check it. aiokafka raises an exception over such a
record each time it is fetched: one record of another company's producer would stop its partition for ever.
"""

from collections.abc import Iterator
from typing import Any

import aiokafka.consumer.fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy, _DefaultRecordPy

_LENGTH = slice(8, 12)
"""Where a batch's length is, which counts the bytes after it."""

_MemoryRecords = aiokafka.consumer.fetcher.MemoryRecords


class LenientMemoryRecords:
    """Takes the place of aiokafka's ``MemoryRecords``: the batches of one partition that were fetched."""

    def __init__(self, data: bytes | None) -> None:
        self._records = _MemoryRecords(data)
        self._rest = memoryview(data or b"")
        self.has_next = self._records.has_next
        self.size_in_bytes = self._records.size_in_bytes

    def next_batch(self) -> "LenientBatch":
        """The next batch, if `has_next`."""
        return LenientBatch(*self.take())

    def take(self) -> tuple[Any, memoryview]:
        """The next batch, if `has_next`, as aiokafka reads it, and its bytes."""
        batch = self._records.next_batch()
        end = _LENGTH.stop + int.from_bytes(self._rest[_LENGTH], "big")
        data, self._rest = self._rest[:end], self._rest[end:]
        return batch, data


class LenientBatch:
    """A batch as aiokafka reads it, and from the record that it cannot read on as this module does."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self.data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        number = 0
        try:
            for record in self._batch:
                yield record
                number += 1
        except (UnicodeDecodeError, CorruptRecordException) as error:
            # aiokafka without its extension wraps the error.
            if not isinstance(error.__cause__ or error, UnicodeDecodeError):
                raise
        else:
            return
        for index, record in enumerate(_records_of(self.data)):
            if index >= number:
                yield record


def _records_of(data: memoryview) -> Iterator[_DefaultRecordPy]:
    """The records of a batch in format 2; earlier formats have no headers."""
    batch = _DefaultRecordBatchPy(data)
    batch._maybe_uncompress()
    buffer, at = batch._buffer, batch._pos
    for _ in range(batch._num_records):
        length, at = _varint(buffer, at)
        yield _record(batch, buffer, at)
        at += length


def _record(batch: _DefaultRecordBatchPy, buffer: bytearray, at: int) -> _DefaultRecordPy:
    at += 1  # attributes: none are defined
    timestamp_delta, at = _varint(buffer, at)
    offset_delta, at = _varint(buffer, at)
    key, at = _nullable_bytes(buffer, at)
    value, at = _nullable_bytes(buffer, at)
    number, at = _varint(buffer, at)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(number):
        name, at = _nullable_bytes(buffer, at)
        content, at = _nullable_bytes(buffer, at)
        headers.append(((name or b"").decode("utf-8", "replace"), content))
    appended = batch.timestamp_type == batch.LOG_APPEND_TIME
    timestamp = batch.max_timestamp if appended else batch.first_timestamp + timestamp_delta
    return _DefaultRecordPy(batch.base_offset + offset_delta, timestamp, batch.timestamp_type, key, value, headers)


def _nullable_bytes(buffer: bytearray, at: int) -> tuple[bytes | None, int]:
    """Bytes after their length, and the index after them; a negative length means None."""
    length, at = _varint(buffer, at)
    if length < 0:
        return None, at
    if at + length > len(buffer):
        raise CorruptRecordException(f"a record's bytes end {at + length - len(buffer)} bytes after its batch")
    return bytes(buffer[at : at + length]), at + length


def _varint(buffer: bytearray, at: int) -> tuple[int, int]:
    """A number as the protocol writes it, and the index after it. aiokafka's function reads past the buffer's end."""
    value = shift = 0
    while 0 <= at < len(buffer) and shift < 64:
        byte = buffer[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
    raise CorruptRecordException("a number in a record does not end")


def install() -> None:
    """Have every consumer of the process read header names leniently: aiokafka has no option for it."""
    aiokafka.consumer.fetcher.MemoryRecords = LenientMemoryRecords
