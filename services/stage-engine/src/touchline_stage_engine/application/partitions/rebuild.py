"""Folds the customers of one partition again, after definitions have changed or a rebuild was requested."""

from collections.abc import Sequence
from functools import partial

import structlog

from touchline_stage_engine.application.partitions.context import WorkerContext
from touchline_stage_engine.application.partitions.isolation import each_part
from touchline_stage_engine.application.partitions.writer import PartitionWriter
from touchline_stage_engine.core.folding.generation import NEVER_FOLDED

log = structlog.get_logger(__name__)

_AT_ONCE = 200


class Rebuild:
    """One pass over the partition's customers for each new generation of definitions, in steps."""

    def __init__(self, context: WorkerContext, writer: PartitionWriter) -> None:
        self._context = context
        self._writer = writer
        self._completed = writer.lease.position.generation
        """The generation under which all customers are folded."""
        self._generation = NEVER_FOLDED
        """The generation of the present pass."""
        self._after = ""

    @property
    def pending(self) -> bool:
        """Whether some customers are still to be folded again."""
        return self._completed != self._writer.folding.generation

    async def begin(self) -> None:
        """Before anything is written under new definitions, record that not all customers are folded under them.

        Otherwise a return to the earlier definitions, before the pass has ended, would fold no customer again.
        """
        self._completed = NEVER_FOLDED
        lease = self._writer.lease
        if lease.position.generation != NEVER_FOLDED:
            await lease.record_generation(NEVER_FOLDED)

    async def step(self, caught_up_at: int) -> bool:
        """Fold the next stale customers again; timers fire up to `caught_up_at` (microseconds).

        Returns:
            Whether the pass goes on.
        """
        writer = self._writer
        generation = writer.folding.generation
        if self._generation != generation:
            self._generation, self._after = generation, ""
        async with writer.lease.reading() as tables:
            customers = await tables.customers.generations_after(self._after, _AT_ONCE)
        if not customers:
            self._completed = generation
            await writer.lease.record_generation(generation)
            log.info("partition_refolded", partition=writer.partition)
            return False
        self._after = customers[-1][0]
        stale = [customer_id for customer_id, folded_under in customers if folded_under != generation]
        if stale:
            async with self._context.turns:
                await each_part(stale, partial(self._refold, caught_up_at), self._leave_stale, writer.reset)
            await writer.publisher.wait_for_capacity()
        return True

    async def _refold(self, caught_up_at: int, customers: Sequence[str]) -> None:
        batch = self._writer.new_batch()
        await self._writer.commit(batch, partial(batch.refold_stale, keys=customers, caught_up_at=caught_up_at))

    async def _leave_stale(self, _: str, error: Exception) -> None:
        """A customer cannot be folded again: they stay stale until a touchpoint of theirs arrives."""
        log.error("refold_failed", partition=self._writer.partition, exc_info=error)
