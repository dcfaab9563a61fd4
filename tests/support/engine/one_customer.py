"""One customer, folded by the engine's own code on in-memory tables."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from touchline_stage_engine.adapters.memory.database import MemoryDatabase
from touchline_stage_engine.adapters.memory.tables import MemoryHistory, MemoryTables
from touchline_stage_engine.application.batches.changes import Changes, touchpoint_row
from touchline_stage_engine.application.batches.customers import Customer
from touchline_stage_engine.application.batches.folding import Checkpoint, Folding
from touchline_stage_engine.application.batches.refolding import Work, refold_all
from touchline_stage_engine.application.outbox_records import RecordBuilder
from touchline_stage_engine.application.values import Position
from touchline_stage_engine.core.decoding import Arrival, touchpoint_hash
from touchline_stage_engine.core.folding.corrections import Numbered, Publication
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.touchpoint import Order, Touchpoint


class HistoryWithoutLaterCheckpoints(MemoryHistory):
    """Finds no checkpoint ahead of what is new, so that every refold reads to the end."""

    async def checkpoints_after(self, places: Sequence[tuple[str, Order]]) -> dict[str, list[Checkpoint]]:
        return {}


class _Recording(Folding):
    """Keeps the facts that are published."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stream: list[Numbered] = []

    def publish(self, customer: Customer, index: int, publication: Publication) -> None:
        self.stream += publication.facts
        super().publish(customer, index, publication)


class OneCustomer:
    """A customer's tables, and the stream of facts that subscribers see."""

    def __init__(self, folds: Sequence[Fold], *, stops_early: bool = True, checkpoint_every: int = 3) -> None:
        builder = RecordBuilder(0)
        builder.decided_at = "2026-01-01T00:00:00Z"
        self.folding = _Recording(folds, 1, builder, checkpoint_every)
        self.customer = self.folding.new_customer("c")
        self.database = MemoryDatabase()
        self.tables = MemoryTables(self.database, ("cluster", "topic", 0))
        self.database.partitions["cluster", "topic", 0] = Position(1, 0, 0, 0, 0, 0, 1)
        if not stops_early:
            self.tables.history = HistoryWithoutLaterCheckpoints(self.database)
        self.touchpoints: list[Touchpoint] = []
        self.sent: list[Any] = []
        self.read = 0

    @property
    def history(self) -> dict[tuple[str, str, int], Any]:
        return self.database.history

    @property
    def checkpoints(self) -> dict[Order, bytes]:
        return {order: states for (_, order), states in self.database.checkpoints.items()}

    def receive(self, batch: Sequence[Touchpoint]) -> None:
        """Fold a batch: in order, or again from the checkpoint before its first touchpoint."""
        self.touchpoints = sorted([*self.touchpoints, *batch], key=lambda touchpoint: touchpoint.order)
        arrivals = [
            Arrival(touchpoint, "c", (), None, touchpoint_hash(touchpoint.source, touchpoint.id))
            for touchpoint in batch
        ]
        work = Work(self.customer, arrivals)

        async def fold() -> None:
            await self.tables.touchpoints.add([touchpoint_row("c", arrival) for arrival in arrivals])
            await refold_all(self.tables, self.folding, [work], 0, None)

        self.commit(fold())

    def tick(self, now: int) -> None:
        """Fire what is due."""

        async def fire() -> None:
            self.folding.fire(self.customer, now)

        self.commit(fire())

    def commit(self, fold: Coroutine[Any, Any, None]) -> None:
        """Write what a transaction writes; the tables refuse a fact or a checkpoint that is there already."""
        changes = self.folding.changes = Changes()
        changes.customers["c"] = self.customer

        async def run() -> None:
            await fold
            await self.tables.write(changes, self.folding.names, 0)

        asyncio.run(run())
        self.read += changes.counts["read_again"]
        self.sent += changes.outbox
