"""The engine's sessions on in-memory tables and topics: real batches, links and timers of all partitions, no servers.

Nothing happens by itself: the test decides when an owner reads records, publishes, looks at the ends of the topics, and
exchanges with the other owners how far it has caught up.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from touchline_runtime.config.settings import read_settings
from touchline_runtime.metrics import Metrics
from touchline_schemas.partitions import partition_of
from touchline_stage_engine import metrics as declared
from touchline_stage_engine.adapters.memory.audiences import MemoryAudienceCandidates
from touchline_stage_engine.adapters.memory.catch_up import MemoryCatchUps
from touchline_stage_engine.adapters.memory.database import MemoryDatabase
from touchline_stage_engine.adapters.memory.lease import MemoryLease
from touchline_stage_engine.application.audiences.in_force import AudiencesInForce
from touchline_stage_engine.application.batches.customers import CacheBudget
from touchline_stage_engine.application.definitions import Catalogue, DefinitionsInForce, Version
from touchline_stage_engine.application.hot_path import IN_PYTHON, HotPath
from touchline_stage_engine.application.outbox_records import IDENTITY, Outgoing
from touchline_stage_engine.application.partitions.catch_up import CatchUp
from touchline_stage_engine.application.partitions.context import WorkerContext
from touchline_stage_engine.application.partitions.session import PartitionSession
from touchline_stage_engine.application.values import PartitionKey, Records
from touchline_stage_engine.core.audiences.audience import Audience
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.settings import StageEngineSettings

from tests.support.engine.memory_records import Record
from tests.support.engine.world import LIFECYCLE, key_of

Logs = dict[int, list[Record]]


@dataclass
class Topics:
    """The topics in memory; a consumer of the input topics."""

    partitions: int
    touchpoints: Logs = field(default_factory=lambda: defaultdict(list))
    identity: Logs = field(default_factory=lambda: defaultdict(list))
    published: list[Outgoing] = field(default_factory=list)
    """Everything on the other topics, in the order of publication."""
    published_through: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Partition → the last published id of its outbox."""
    next_read: dict[int, tuple[int, int]] = field(default_factory=lambda: defaultdict(lambda: (0, 0)))
    """Partition → how many touchpoints and messages the next poll returns at most."""
    read: dict[int, tuple[int, int]] = field(default_factory=lambda: defaultdict(lambda: (0, 0)))
    clock: int = 0
    ends: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The ends of the topics at that clock reading."""

    def post(self, data: dict[str, Any]) -> None:
        """Append a touchpoint under its key."""
        key = key_of(data)
        self.append(self.touchpoints, "touchpoints", key, orjson.dumps(data))

    def append(
        self, topic: Logs, name: str, key: str, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        """Append a record under its key."""
        number = partition_of(key, self.partitions)
        topic[number].append(Record(name, number, len(topic[number]), key.encode(), value, headers))

    def watch(self) -> None:
        """Read the clock, then the ends of the input topics."""
        self.clock = time.time_ns() // 1000
        self.ends = {number: self._ends(number) for number in range(self.partitions)}

    def _ends(self, partition: int) -> tuple[int, int]:
        return len(self.touchpoints[partition]), len(self.identity[partition])

    def unread(self, partition: int) -> tuple[int, int]:
        """Touchpoints and messages of a partition that are still to be read."""
        (end, identity_end), (at, identity_at) = self._ends(partition), self.read[partition]
        return end - at, identity_end - identity_at

    # `ports.TouchpointConsumer`, as far as sessions use it.

    async def poll(self, partition: int, limit: int, seconds: float, stop: asyncio.Event) -> Records | None:
        touchpoints, messages = self.next_read.pop(partition, (0, 0))
        at, identity_at = self.read[partition]
        records = Records(
            self.touchpoints[partition][at : at + touchpoints],
            self.identity[partition][identity_at : identity_at + messages],
        )
        self.read[partition] = at + len(records.touchpoints), identity_at + len(records.identity)
        return records if records.touchpoints or records.identity else None

    def caught_up_at(self, partition: int) -> int | None:
        if partition not in self.ends:
            return None
        at, end = self.read[partition], self.ends[partition]
        return self.clock if at[0] >= end[0] and at[1] >= end[1] else None

    def has_all_messages(self, partition: int) -> bool:
        return partition in self.ends and self.read[partition][1] >= self.ends[partition][1]

    def confirmed_at(self, partition: int) -> float:
        return 0.0

    def done(self, partition: int, touchpoints: int, identity: int) -> None:
        assert (touchpoints, identity) <= self.read[partition]


class Publisher:
    """Publishes one partition's outbox, as far as it is told to; implements what sessions use of `OutboxPublisher`."""

    def __init__(self, database: MemoryDatabase, topics: Topics, partition: int) -> None:
        self._database = database
        self._topics = topics
        self._partition = partition

    @property
    def published_through(self) -> int:
        return self._topics.published_through[self._partition]

    def publish(self, most: int) -> None:
        """Publish the next records of the outbox, in one transaction."""
        for _ in range(most):
            record = self._database.outbox.get((self._partition, self.published_through + 1))
            if record is None:
                return
            self._topics.published_through[self._partition] += 1
            if record.topic == IDENTITY:
                key = (record.key or b"").decode()
                self._topics.append(self._topics.identity, "identity", key, record.value, record.headers)
            else:
                self._topics.published.append(record)

    def offer(self, first_id: int, records: list[Outgoing], received_at: float | None = None) -> None:
        """The records are in the database already."""

    async def wait_for_capacity(self) -> None:
        """There is always room."""


class MemorySessions:
    """One process that owns all partitions; who reads, publishes and looks when, and how much, is up to the test."""

    def __init__(
        self,
        *,
        partitions: int = 3,
        limit: int = 50,
        cached: int = 1000,
        checkpoint_every: int = 3,
        definition: str = LIFECYCLE,
        hot_path: HotPath = IN_PYTHON,
    ) -> None:
        settings = read_settings(StageEngineSettings, partitions=partitions, shared_key_limit=limit)
        # Below the least that an operator may set, so that few touchpoints are enough for several checkpoints.
        self.settings = settings.model_copy(update={"checkpoint_every": checkpoint_every})
        self.database = MemoryDatabase()
        self.topics = Topics(partitions)
        self.catch_up = CatchUp(MemoryCatchUps(self.database), partitions)
        self._context = WorkerContext(
            self.settings,
            DefinitionsInForce.fixed(_catalogue(definition)),
            self.topics,  # type: ignore[arg-type]  # what only the worker uses is left out
            self._acquire,
            lambda lease: self._publisher(lease.key.partition),  # type: ignore[arg-type, return-value]
            Metrics(declared.ALL),
            b"secret",
            self.catch_up,
            CacheBudget(cached),
            audiences=AudiencesInForce(),
            audience_candidates=MemoryAudienceCandidates(self.database),
            hot_path=hot_path,
        )
        self.sessions: dict[int, PartitionSession] = {}

    @property
    def partitions(self) -> range:
        return range(self.settings.partitions)

    async def _acquire(self, partition: int) -> MemoryLease:
        return await MemoryLease.acquire(self.database, PartitionKey("cluster", "topic", "identity", partition))

    def _publisher(self, partition: int) -> Publisher:
        return Publisher(self.database, self.topics, partition)

    def define(self, *definitions: str) -> None:
        """Run these lifecycles from here on, as an engine does that was started with others."""
        in_force = self._context.definitions
        in_force.catalogue = _catalogue(*definitions)
        in_force.revision += 1

    async def take(self, partition: int) -> None:
        """Acquire a partition, from the owner that it may have."""
        lease, publisher = await self._acquire(partition), self._publisher(partition)
        self.topics.read[partition] = lease.position.touchpoints, lease.position.identity
        session = PartitionSession(self._context, partition, lease, publisher, asyncio.Event())  # type: ignore[arg-type]
        self.sessions[partition] = session
        await session.start()

    async def step(self, partition: int, touchpoints: int = 0, messages: int = 0) -> None:
        """Fold the next records of a partition, as one batch, and fire its timers if it has caught up."""
        self.topics.next_read[partition] = touchpoints, messages
        await self.sessions[partition].step()

    def save_audiences(self, *audiences: Audience) -> None:
        """Evaluate these audiences from here on."""
        self.database.audiences = {audience.id: audience for audience in audiences}
        self._context.audiences.audiences = audiences

    async def evaluate(self, partition: int) -> None:
        """One round of a partition's owner over all audiences."""
        evaluation = self.sessions[partition].audiences
        assert evaluation is not None
        evaluating = asyncio.create_task(evaluation.evaluate())
        while not evaluating.done():
            await asyncio.sleep(0)
            await evaluation.step()
        await evaluating

    def publish(self, partition: int, most: int = 1 << 30) -> None:
        """Publish what a partition has committed."""
        self._publisher(partition).publish(most)

    def unpublished(self, partition: int) -> int:
        """Records of a partition that are committed and not published."""
        last = max((id_ for number, id_ in self.database.outbox if number == partition), default=0)
        return last - self.topics.published_through[partition]

    @property
    def idle(self) -> bool:
        """Whether everything has been read and published."""
        return not any(any(self.topics.unread(number)) or self.unpublished(number) for number in self.partitions)


def _catalogue(*definitions: str) -> Catalogue:
    read = [read_definition(text, "trial.yaml") for text in definitions]
    return Catalogue([Version(one, text, one.fingerprint, None) for one, text in zip(read, definitions, strict=True)])
