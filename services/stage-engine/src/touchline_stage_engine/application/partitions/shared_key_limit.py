"""Applies a changed limit of shared keys to the keys that are stored."""

from functools import partial

from touchline_stage_engine.application.partitions.context import WorkerContext
from touchline_stage_engine.application.partitions.writer import PartitionWriter

_KEYS_AT_ONCE = 50


async def apply_shared_key_limit(context: WorkerContext, writer: PartitionWriter) -> None:
    """Settle again the keys that are shared under only one of the two limits, if the limit has changed."""
    limit = context.settings.shared_key_limit
    async with writer.lease.reading() as tables:
        writer.shared_keys = await tables.links.shared_keys()
        before = await tables.links.shared_key_limit()
        if before == limit:
            return
        keys = await tables.links.keys_over(min(limit, limit if before is None else before))
    for begin in range(0, len(keys), _KEYS_AT_ONCE):
        batch = writer.new_batch()
        await writer.commit(batch, partial(batch.settle_again, keys=keys[begin : begin + _KEYS_AT_ONCE]))
        await writer.publisher.wait_for_capacity()
    async with writer.lease.reading() as tables:
        await tables.links.record_shared_key_limit(limit)
