"""The engine's use cases on in-memory tables and topics: real batches, real links between partitions, no servers."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, cast

import orjson
from touchline_runtime.config.settings import read_settings
from touchline_runtime.metrics import Metrics
from touchline_schemas.partitions import partition_of
from touchline_schemas.times import parse_instant
from touchline_stage_engine import metrics as declared
from touchline_stage_engine.adapters.memory.database import MemoryDatabase
from touchline_stage_engine.adapters.memory.lease import MemoryLease
from touchline_stage_engine.application.batches.customers import CacheBudget
from touchline_stage_engine.application.definitions import Catalogue, DefinitionsInForce, Version
from touchline_stage_engine.application.identities.messages import REBUILD_REQUESTED
from touchline_stage_engine.application.outbox_records import IDENTITY, Outgoing, identity_message
from touchline_stage_engine.application.partitions.catch_up import CatchUp
from touchline_stage_engine.application.partitions.context import WorkerContext
from touchline_stage_engine.application.partitions.writer import PartitionWriter
from touchline_stage_engine.application.ports import CatchUpTable, OutboxPublisher, TouchpointConsumer
from touchline_stage_engine.application.values import PartitionKey, Records
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.settings import StageEngineSettings

from tests.support.engine.memory_records import Record
from tests.support.engine.world import LIFECYCLE, key_of


@lru_cache(maxsize=64)
def definition_of(text: str) -> Definition:
    """A definition, read once."""
    return read_definition(text, "trial.yaml")


@dataclass
class Topics:
    """The input topics in memory, and everything that was published to the others."""

    partitions: int
    touchpoints: dict[int, list[Record]] = field(default_factory=lambda: defaultdict(list))
    identity: dict[int, list[Record]] = field(default_factory=lambda: defaultdict(list))
    published: list[Outgoing] = field(default_factory=list)

    def post(self, data: dict[str, Any]) -> None:
        """Append a touchpoint under its key."""
        key = key_of(data)
        number = partition_of(key, self.partitions)
        log = self.touchpoints[number]
        log.append(Record("touchpoints", number, len(log), key.encode(), orjson.dumps(data)))

    # An outbox publisher, as far as batches use it.

    def offer(self, first_id: int, records: list[Outgoing], received_at: float | None = None) -> None:
        for record in records:
            if record.topic == IDENTITY:
                number = partition_of((record.key or b"").decode(), self.partitions)
                log = self.identity[number]
                log.append(Record("identity", number, len(log), record.key, record.value, record.headers))
            else:
                self.published.append(record)

    # A consumer, as far as batches use it.

    def done(self, partition: int, touchpoints: int, identity: int) -> None:
        assert touchpoints <= len(self.touchpoints[partition])
        assert identity <= len(self.identity[partition])


class MemoryEngine:
    """Several partitions, each with a writer of its own; who folds when and how much is up to the test."""

    def __init__(
        self,
        *,
        partitions: int = 3,
        limit: int = 50,
        cached: int = 1000,
        checkpoint_every: int = 3,
        definitions: Sequence[str] = (LIFECYCLE,),
    ) -> None:
        settings = read_settings(StageEngineSettings, partitions=partitions, shared_key_limit=limit)
        # Below the least that an operator may set, so that few touchpoints are enough for several checkpoints.
        self.settings = settings.model_copy(update={"checkpoint_every": checkpoint_every})
        self.database = MemoryDatabase()
        self.topics = Topics(partitions)
        versions = []
        for text in definitions:
            definition = definition_of(text)
            since = None if definition.effective_from is None else parse_instant(definition.effective_from)
            versions.append(Version(definition, text, definition.fingerprint, since))
        self.catalogue = Catalogue(versions)
        self._context = WorkerContext(
            self.settings,
            DefinitionsInForce.fixed(self.catalogue),
            # As far as batches use them: nobody polls, and publishing is at once.
            cast(TouchpointConsumer, self.topics),
            self._acquire,
            lambda lease: cast(OutboxPublisher, self.topics),
            Metrics(declared.ALL),
            b"secret",
            # Never run: what partitions have caught up with is said by the tests.
            CatchUp(cast(CatchUpTable, None), partitions),
            CacheBudget(cached),
        )
        self.writers: dict[int, PartitionWriter] = {}

    async def _acquire(self, partition: int) -> MemoryLease:
        return await MemoryLease.acquire(self.database, PartitionKey("cluster", "topic", "identity", partition))

    async def take(self, partition: int) -> PartitionWriter:
        """Acquire a partition, from the owner that it may have."""
        lease = await self._acquire(partition)
        writer = PartitionWriter(self._context, partition, lease, self._context.outbox_publisher(lease))
        self.writers[partition] = writer
        return writer

    async def fire(self, partition: int, until: int) -> int:
        """Fire what is due on a partition, as if all partitions had caught up with that clock reading."""
        writer = self.writers[partition]
        async with writer.lease.reading() as tables:
            due = await tables.customers.with_timers_due(until, until, (-(1 << 62), ""), 1000)
        keys = [customer for customer, _ in due]
        if keys:
            batch = writer.new_batch()
            async with writer.lease.reading() as tables:
                await batch.load(tables, keys)
            await writer.commit(batch, partial(batch.fire_timers, keys=keys, until=until, settled=until))
        return len(keys)

    def request_rebuild(self) -> None:
        """Ask every partition to fold its customers again."""
        for partition in range(self.settings.partitions):
            message = identity_message("rebuild", REBUILD_REQUESTED, {}, "2026-01-01T00:00:00Z")
            log = self.topics.identity[partition]
            log.append(Record("identity", partition, len(log), message.key, message.value, message.headers))

    async def refold(self, partition: int, caught_up_at: int) -> None:
        """Fold the customers again whose generation is not that in force, as a rebuild does."""
        writer = self.writers[partition]
        async with writer.lease.reading() as tables:
            customers = await tables.customers.generations_after("", 10_000)
        stale = [customer for customer, generation in customers if generation != writer.folding.generation]
        batch = writer.new_batch()
        await writer.commit(batch, partial(batch.refold_stale, keys=stale, caught_up_at=caught_up_at))

    def unread(self) -> dict[int, tuple[int, int]]:
        """Partition → unread touchpoints and messages, of partitions that have some."""
        found = {}
        for partition, writer in self.writers.items():
            position = writer.lease.position
            left = (
                len(self.topics.touchpoints[partition]) - position.touchpoints,
                len(self.topics.identity[partition]) - position.identity,
            )
            if any(left):
                found[partition] = left
        return found

    async def fold(self, partition: int, touchpoints: int, messages: int) -> None:
        """Fold the next records of a partition, as one batch."""
        writer = self.writers[partition]
        position = writer.lease.position
        begin, begin_identity = position.touchpoints, position.identity
        records = Records(
            self.topics.touchpoints[partition][begin : begin + touchpoints],
            self.topics.identity[partition][begin_identity : begin_identity + messages],
        )
        batch = await writer.gather(records)
        await writer.commit(batch, partial(batch.apply, caught_up_at=None), *records.positions_after)
