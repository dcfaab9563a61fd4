"""Records of fetched batches by `compiled_records`, where it is built; aiokafka reads what that does not.

aiokafka has no option for it, so its classes are replaced for the process, as `header_names` does.
"""

from collections.abc import Iterator
from typing import Any

import aiokafka.consumer.fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import _DefaultRecordBatchPy

from touchline_runtime.kafka.header_names import LenientBatch, LenientMemoryRecords

try:
    from touchline_runtime.kafka.compiled_records import Record, read_records
except ImportError:
    BUILT = False
else:
    BUILT = True

_MAGIC = 16
"""Where a batch's format is."""
_FEW = 8
"""Records up to which reading the batch's head costs more than it saves."""


class FastMemoryRecords(LenientMemoryRecords):
    """Takes the place of aiokafka's ``MemoryRecords``: the batches of one partition that were fetched."""

    def next_batch(self) -> LenientBatch:
        """The next batch, if `has_next`."""
        batch, data = self.take()
        return _FastBatch(batch, data)


class _FastBatch(LenientBatch):
    """A batch whose records are read by `compiled_records`, and as before where it does not read them."""

    def __iter__(self) -> Iterator[Any]:
        if self.data[_MAGIC] == 2:
            batch = _DefaultRecordBatchPy(self.data)
            if batch._num_records > _FEW:
                batch._maybe_uncompress()
                appended = batch.timestamp_type == batch.LOG_APPEND_TIME
                records = read_records(
                    batch._buffer,
                    batch._pos,
                    batch._num_records,
                    batch.base_offset,
                    batch.first_timestamp,
                    batch.max_timestamp if appended else -1,
                    batch.timestamp_type,
                )
                if records is not None:
                    return iter(records)
        return super().__iter__()


class FastPartitionRecords(PartitionRecords):  # type: ignore[misc]  # aiokafka ships no types
    """Takes the place of aiokafka's ``PartitionRecords``, which makes a record of each record."""

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        if type(record) is Record:
            record.topic, record.partition = tp
            return record
        return super()._consumer_record(tp, record)


def install() -> bool:
    """Have every consumer of the process read records so, if the module is built; whether it is."""
    if BUILT:
        aiokafka.consumer.fetcher.MemoryRecords = FastMemoryRecords
        aiokafka.consumer.fetcher.PartitionRecords = FastPartitionRecords
    return BUILT
