"""A partition's owner: claims it, reads it from where the database says, folds, publishes; and does so again whenever
something interrupts it, until it is told to stop."""

import asyncio
import random
import time
from contextlib import nullcontext
from dataclasses import dataclass, field

import asyncpg
import structlog
from touchline_runtime.metrics import Metrics
from touchline_schemas.times import micros_to_wire

from touchline_stage_engine import metrics as declared
from touchline_stage_engine.adapters import statements, store
from touchline_stage_engine.adapters.batch import Batch
from touchline_stage_engine.adapters.catalogue import Catalogue
from touchline_stage_engine.adapters.customers import Cache
from touchline_stage_engine.adapters.erasing import Erasures
from touchline_stage_engine.adapters.errors import FencedError, Interrupted
from touchline_stage_engine.adapters.folding import Folding
from touchline_stage_engine.adapters.intake import Intake, Records
from touchline_stage_engine.adapters.ledger import Ledger, Place
from touchline_stage_engine.adapters.outgoing import Publisher
from touchline_stage_engine.adapters.relay import Relay
from touchline_stage_engine.adapters.wiring import Inputs
from touchline_stage_engine.settings import StageEngineSettings

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.2
_TIMERS_AT_ONCE = 500
_SWEEP_AT_ONCE = 200
_LONGEST_WAIT = 5.0
_DRAIN_SECONDS = 5.0
_BATCHES_AT_ONCE = 2
_LARGE = 1000
_PACE = 0.06
"""Seconds from one small batch of a partition to the next, at least: each has its price, however small it is."""
_FRESH_SECONDS = 0.02
"""What a poll brings was fetched when the partition was polled last: so long we wait for what has come since."""


@dataclass(frozen=True)
class Shared:
    """What the owners of one process have in common."""

    settings: StageEngineSettings
    inputs: Inputs
    catalogue: Catalogue
    intake: Intake
    pool: asyncpg.Pool
    metrics: Metrics
    worker: str
    erasure_secret: bytes
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_BATCHES_AT_ONCE))
    """Large batches in hand at once: one is folded while the database works for the other; more would only take
    memory. Small ones, when there is no backlog, wait for nobody.
    """


def clock() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


class PartitionOwner:
    """Owns one partition for as long as it is assigned to this process."""

    def __init__(self, shared: Shared, partition: int) -> None:
        self._shared = shared
        self.partition = partition
        self._stop = asyncio.Event()
        self.waiting = True
        """Whether it is not folding: starting, or waiting for the database or Kafka to come back."""
        self._tenure: Tenure | None = None

    @property
    def sweeping(self) -> bool:
        """Whether customers are still being folded again under new definitions."""
        return self._tenure is not None and self._tenure.sweeping

    @property
    def cached(self) -> int:
        """Customers in memory."""
        return 0 if self._tenure is None else self._tenure.cached

    def stop(self) -> None:
        """Finish the batch in hand, publish it, and let go."""
        self._stop.set()

    async def run(self) -> None:
        """Own the partition until told to stop."""
        wait = 0.0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                await self._own()
            except FencedError as error:
                # Somebody claimed after us. If the group gave us the partition they are the one who slept: with a
                # little patience whose turn it is settles itself.
                self._shared.metrics.counter(declared.FENCED).inc()
                log.warning("fenced", partition=self.partition, error=str(error))
                wait = max(wait, 0.25)
            except Interrupted as error:
                log.warning(
                    "partition_interrupted", partition=self.partition, kind=type(error).__name__, error=str(error)
                )
                wait = max(wait, 0.1)
            self.waiting = True
            if time.monotonic() - began > 30:
                wait = 0.1
            wait = min(wait * 2, _LONGEST_WAIT)
            try:
                async with asyncio.timeout(wait * random.uniform(0.5, 1.0)):  # noqa: S311  (jitter, no secret)
                    await self._stop.wait()
            except TimeoutError:
                pass

    async def _own(self) -> None:
        """One tenure: from a claim to an interruption, or to the end."""
        shared, partition = self._shared, self.partition
        inputs = shared.inputs
        place = Place(inputs.cluster_id, inputs.touchpoints_id, inputs.identity_id, partition)
        ledger = await Ledger.claim(shared.settings, place, shared.worker)
        relay = Relay(shared.settings, ledger, shared.pool, shared.metrics)
        try:
            await relay.start()
            await shared.intake.begin(partition, ledger.position.touchpoints, ledger.position.identity)
            log.info(
                "partition_owned", partition=partition, epoch=ledger.position.epoch,
                position=ledger.position.touchpoints,
            )  # fmt: skip
            tenure = self._tenure = Tenure(shared, partition, ledger, relay, self._stop)
            self.waiting = False
            await self._both(tenure, relay)
        finally:
            self._tenure = None
            await asyncio.gather(relay.close(), ledger.close(), return_exceptions=True)

    async def _both(self, tenure: "Tenure", relay: Relay) -> None:
        """Fold and publish at once; when one ends, end the other."""
        folding = asyncio.create_task(tenure.run(), name=f"fold {self.partition}")
        relaying = asyncio.create_task(relay.run(), name=f"relay {self.partition}")
        try:
            await asyncio.wait({folding, relaying}, return_when=asyncio.FIRST_COMPLETED)
            if folding.done() and not folding.cancelled() and folding.exception() is None:
                # Told to stop: what is committed is published, too, before the partition goes.
                draining = asyncio.create_task(relay.drained())
                await asyncio.wait({draining, relaying}, timeout=_DRAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                draining.cancel()
        finally:
            for task in (folding, relaying):
                task.cancel()
            results = await asyncio.gather(folding, relaying, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


class Tenure:
    """The time between a claim and its end."""

    def __init__(self, shared: Shared, partition: int, ledger: Ledger, relay: Relay, stop: asyncio.Event) -> None:
        self._shared = shared
        self._partition = partition
        self._ledger = ledger
        self._relay = relay
        self._stop = stop
        share = max(100, shared.settings.cached_customers // max(1, shared.inputs.partitions))
        self._cache = Cache(share)
        self._erasures = Erasures(partition, shared.erasure_secret)
        self._publisher = Publisher(partition)
        self._folding = self._new_folding(clock())
        self._next_wake: int | None = 0
        self._fired_at = 0
        self._swept_after: str | None = ""

    def _new_folding(self, now: int) -> Folding:
        catalogue = self._shared.catalogue
        generation = catalogue.generation(now, self._ledger.position.rebuilds)
        self._definitions_until = catalogue.next_change(now)
        return Folding(catalogue.folds(now), generation, self._publisher, self._shared.settings.checkpoint_every)

    async def run(self) -> None:
        """Fold until told to stop.

        Raises:
            Interrupted: see adapters/errors.py.
        """
        shared = self._shared
        if self._ledger.position.generation == self._folding.generation:
            self._swept_after = None
        while not self._stop.is_set():
            await self._relay.room()
            began = time.monotonic()
            records = await self._poll()
            if records is not None:
                large = len(records.touchpoints) > _LARGE
                async with shared.turns if large else nullcontext():
                    await self._fold(records)
                if not large:
                    await asyncio.sleep(max(0.0, began + _PACE - time.monotonic()))
            caught_up_at = shared.intake.caught_up_at(self._partition)
            if caught_up_at is not None and caught_up_at > self._fired_at:
                await self._fire_timers(caught_up_at)
                await self._sweep(caught_up_at)
            if self._definitions_until is not None and clock() >= self._definitions_until:
                self._renew_definitions()

    async def _poll(self) -> Records | None:
        intake, limit = self._shared.intake, self._shared.settings.batch_records
        seconds = _POLL_SECONDS if self._swept_after is None else _POLL_SECONDS / 20
        records = await intake.poll(self._partition, limit, seconds, self._stop)
        if records is not None and len(records.touchpoints) <= _LARGE:
            more = await intake.poll(self._partition, limit, _FRESH_SECONDS, self._stop)
            if more is not None:
                records.touchpoints.extend(more.touchpoints)
                records.identity.extend(more.identity)
        return records

    async def _fold(self, records: Records) -> None:
        began = time.monotonic()
        position = self._ledger.position
        touchpoints, identity = records
        number = len(touchpoints) + len(identity)
        after_touchpoints = touchpoints[-1].offset + 1 if touchpoints else position.touchpoints
        after_identity = identity[-1].offset + 1 if identity else position.identity
        batch = self._batch()
        async with self._ledger.reading() as connection:
            await batch.gather(connection, touchpoints, identity)
        # They have been decoded: what they took is taken again by the rows, instead of more.
        touchpoints.clear()
        identity.clear()
        caught_up_at = self._shared.intake.caught_up_at(self._partition)
        await self._write(batch, after_touchpoints, after_identity, caught_up_at)
        metrics = self._shared.metrics
        metrics.histogram(declared.BATCH_SECONDS).observe(time.monotonic() - began)
        metrics.histogram(declared.BATCH_RECORDS).observe(number)

    def _batch(self) -> Batch:
        now = clock()
        self._publisher.decided_at = micros_to_wire(now)
        return Batch(self._partition, self._shared.inputs.partitions, self._folding, self._cache, self._erasures, now)

    async def _write(self, batch: Batch, touchpoints: int, identity: int, caught_up_at: int | None) -> None:
        async with self._ledger.passage(touchpoints, identity) as connection:
            await batch.apply(connection, caught_up_at)
            await self._finish(connection, batch)
        self._committed(batch)

    async def _finish(self, connection: asyncpg.Connection, batch: Batch) -> None:
        changes = batch.changes
        self._folding.tell_latest_stages()
        first = await self._ledger.finish(changes.counts, changes.rebuilds, len(changes.outbox))
        await store.write(connection, self._partition, changes, self._folding.names, first, clock())

    def _committed(self, batch: Batch) -> None:
        changes, position = batch.changes, self._ledger.position
        if changes.outbox:
            self._relay.offer(position.last_outbox_id + 1, changes.outbox)
        position.last_outbox_id += len(changes.outbox)
        self._shared.intake.done(self._partition, position.touchpoints, position.identity)
        wakes = [customer.wake_at for customer in changes.customers.values() if customer.wake_at is not None]
        if wakes and (self._next_wake is None or min(wakes) < self._next_wake):
            self._next_wake = min(wakes)
        self._cache.trim(batch.used)
        self._count(batch)
        if changes.rebuilds:
            position.rebuilds += changes.rebuilds
            self._renew_definitions()
        batch.release()

    def _count(self, batch: Batch) -> None:
        metrics, changes = self._shared.metrics, batch.changes
        counts = changes.counts
        for metric, name in (
            (declared.TOUCHPOINTS_FOLDED, "folded"),
            (declared.TOUCHPOINTS_DUPLICATE, "duplicates"),
            (declared.TOUCHPOINTS_CONFLICTING, "conflicts"),
            (declared.TOUCHPOINTS_LATE, "late"),
            (declared.TOUCHPOINTS_READ_AGAIN, "read_again"),
            (declared.TOUCHPOINTS_ERASED, "erased"),
        ):
            if counts[name] > 0:
                metrics.counter(metric).inc(counts[name])
        for reason, number in changes.poison.items():
            metrics.counter(declared.DEAD_LETTERS).labels(reason).inc(number)
        for (lifecycle, move, reason), number in changes.moves.items():
            metrics.counter(declared.MOVES).labels(lifecycle, move, reason).inc(number)
        for (lifecycle, level), number in changes.stalls.items():
            metrics.counter(declared.STALLS).labels(lifecycle, level).inc(number)
        for lifecycle, number in changes.recoveries.items():
            metrics.counter(declared.RECOVERIES).labels(lifecycle).inc(number)
        partition = str(self._partition)
        metrics.gauge(declared.OUTBOX_WAITING).labels(partition).set(self._relay.waiting)
        metrics.gauge(declared.LAG_RECORDS).labels(partition).set(self._shared.intake.lag(self._partition))

    async def _fire_timers(self, until: int) -> None:
        """Fire what is due by the clock: everything that was on the topics at that time has been folded."""
        self._fired_at = until
        metrics = self._shared.metrics
        metrics.gauge(declared.LAG_RECORDS).labels(str(self._partition)).set(self._shared.intake.lag(self._partition))
        while self._next_wake is not None and self._next_wake <= until and not self._stop.is_set():
            async with self._ledger.reading() as connection:
                rows = await connection.fetch(statements.CUSTOMERS_TO_WAKE, self._partition, until, _TIMERS_AT_ONCE)
                if not rows:
                    self._next_wake = await connection.fetchval(statements.NEXT_WAKE, self._partition)
                    return
            batch = self._batch()
            position = self._ledger.position
            async with self._ledger.passage(position.touchpoints, position.identity) as connection:
                await batch.fire_timers(connection, [row["customer_id"] for row in rows], until)
                await self._finish(connection, batch)
            self._committed(batch)
            await self._relay.room()

    async def _sweep(self, caught_up_at: int) -> None:
        """Fold the next customers again who were folded under other definitions; a step at a time."""
        if self._swept_after is None:
            return
        async with self._ledger.reading() as connection:
            rows = await connection.fetch(
                statements.CUSTOMERS_AFTER, self._partition, self._swept_after, _SWEEP_AT_ONCE
            )
        if not rows:
            await self._swept()
            return
        self._swept_after = rows[-1]["customer_id"]
        stale = [row["customer_id"] for row in rows if row["generation"] != self._folding.generation]
        self._fired_at = 0  # the next step needs no newer clock
        if not stale:
            return
        batch = self._batch()
        position = self._ledger.position
        async with self._ledger.passage(position.touchpoints, position.identity) as connection:
            await batch.refold_stale(connection, stale, caught_up_at)
            await self._finish(connection, batch)
        self._committed(batch)
        await self._relay.room()

    async def _swept(self) -> None:
        """Everybody stands where the definitions in force put them."""
        self._swept_after = None
        position, place = self._ledger.position, self._ledger.place
        async with self._ledger.reading() as connection:
            await connection.execute(
                statements.RECORD_GENERATION, place.cluster_id, place.topic_id, place.partition, position.epoch,
                self._folding.generation,
            )  # fmt: skip
        position.generation = self._folding.generation
        log.info("partition_refolded", partition=self._partition)

    def _renew_definitions(self) -> None:
        """A version has come into force, or a rebuild was asked for: everybody is folded again."""
        self._folding = self._new_folding(clock())
        self._cache.clear()
        self._swept_after = ""

    @property
    def cached(self) -> int:
        """Customers in memory."""
        return len(self._cache)

    @property
    def sweeping(self) -> bool:
        """Whether customers are still being folded again."""
        return self._swept_after is not None
