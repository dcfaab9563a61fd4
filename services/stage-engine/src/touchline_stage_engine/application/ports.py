"""What the use cases need from the outside: PostgreSQL, Kafka and definition storage, as protocols.

Adapters implement them; `bootstrap` passes the adapters in. All database methods raise `DatabaseAwayError` when the
server does not answer and `PermanentFaultError` when it refuses; errors in the values of a statement are passed on.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from touchline_runtime.audit.entry import AuditEntry

from touchline_stage_engine.application.audiences.ports import AudienceTable
from touchline_stage_engine.application.batches.changes import Changes
from touchline_stage_engine.application.batches.customers import Customer
from touchline_stage_engine.application.batches.folding import Checkpoint, CheckpointStates
from touchline_stage_engine.application.batches.touchpoint_outcomes import NotedOutcome, Outcome
from touchline_stage_engine.application.outbox_records import Outgoing
from touchline_stage_engine.application.values import (
    CheckpointSpan,
    ErasureReceipt,
    ErasureRecord,
    HistoryCut,
    LinkingTouchpoint,
    PartitionKey,
    Position,
    Records,
    RunningVersion,
    StoredDefinition,
    TouchpointRange,
)
from touchline_stage_engine.core.decoding import Arrival
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.generation import Generation
from touchline_stage_engine.core.identity.links import KeyIdentity
from touchline_stage_engine.core.touchpoint import Order, Touchpoint


class CustomerTable(Protocol):
    """The customers of one partition."""

    async def load(
        self, keys: Sequence[str], folds: Sequence[Fold], generation: int, generations: Sequence[Generation]
    ) -> dict[str, Customer]:
        """The customers among these keys that are stored."""

    async def aliases_of(self, customer_ids: Sequence[str]) -> list[tuple[str, str]]:
        """(customer, alias) of every alias that has transferred touchpoints to one of these customers."""

    async def with_timers_due(
        self, until: int, settled: int, after: tuple[int, str], limit: int
    ) -> list[tuple[str, int]]:
        """(customer, wake_at) with ``wake_at`` at or before `until`, in the order of (wake_at, customer) after `after`.

        Of customers with links only those with ``wake_at`` at or before `settled`. ``wake_at`` may be earlier than the
        customer's next timer, never later.
        """

    async def next_wake(self, after: int | None = None) -> int | None:
        """The earliest ``wake_at``; the earliest later than an instant."""

    async def postpone_wake(self, customer_id: str, until: int) -> None:
        """Set a customer's ``wake_at`` to a later time."""

    async def generations_after(self, customer_id: str, limit: int) -> list[tuple[str, int]]:
        """(customer, generation) of the next customers by id."""


class TouchpointTable(Protocol):
    """Stored touchpoints, copies of conflicting contents, and outcomes."""

    async def find(self, pairs: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Arrival]:
        """The stored ones of these (hash, customer id)."""

    async def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows (`changes.touchpoint_row`)."""

    async def delete(self, pairs: Sequence[tuple[int, str]]) -> None:
        """Delete these (hash, customer id)."""

    async def count(self, customer_id: str) -> tuple[int, int | None]:
        """How many a customer has, and the latest ``occurred_at``."""

    async def last_order(self, customer_id: str) -> Order | None:
        """The place of a customer's last touchpoint in the order, machine ones excluded."""

    async def first_of(self, ranges: Sequence[TouchpointRange]) -> dict[str, list[Touchpoint]]:
        """For each customer the first `READ_AT_ONCE` touchpoints of a range, in order."""

    def between(self, asked: TouchpointRange) -> AsyncGenerator[list[Touchpoint], None]:
        """A range in order, in chunks of `READ_AT_ONCE`."""

    def filed_under(self, key: str) -> AsyncGenerator[list[Arrival], None]:
        """A key's own touchpoints (none that an alias transferred), in order, in chunks."""

    async def linking(self, key: str) -> list[LinkingTouchpoint]:
        """A key's own touchpoints that carry identifiers, machine ones excluded; of conflicting contents its own."""

    async def find_transferred(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[int, str]]:
        """(hash, customer id) of the touchpoints that aliases transferred; pairs: (customer, alias)."""

    async def find_copies(self, touchpoints: Iterable[tuple[int, str]]) -> list[tuple[str, Arrival]]:
        """(customer id, copy) of all copies of these (hash, customer id)."""

    async def delete_transferred(self, pairs: Iterable[tuple[str, str]]) -> list[str]:
        """Delete touchpoints, copies and alias rows of these (customer, alias); the customer of each touchpoint."""

    async def save_copies(self, copies: Mapping[tuple[str, int, str], Arrival]) -> None:
        """Keep the smallest content of each (customer id, hash, key)."""

    async def own_copies(self, key: str) -> list[Arrival]:
        """A key's own contents where another key's content is the stored touchpoint."""

    async def save_outcomes(self, outcomes: Mapping[tuple[int, Outcome], NotedOutcome], now: int) -> None:
        """Add outcomes to those counted before."""

    async def trim_outcomes(self, before: int, limit: int) -> int:
        """Delete at most `limit` outcomes that are older; how many were deleted."""


class HistoryTable(Protocol):
    """Canonical facts and checkpoints."""

    async def cut(self, cuts: Sequence[HistoryCut]) -> None:
        """Delete facts that have been folded again."""

    async def stored(self, cuts: Sequence[HistoryCut]) -> dict[tuple[str, str, int], tuple[Any, ...]]:
        """The facts that cuts would delete: (customer, lifecycle, number) → row, in the order of HISTORY_COLUMNS."""

    async def delete(self, facts: Sequence[tuple[str, str, int]]) -> None:
        """Delete facts by (customer, lifecycle, number)."""

    async def delete_of(self, customer_ids: Sequence[str]) -> None:
        """Delete all facts and checkpoints of customers."""

    async def delete_checkpoints(self, spans: Sequence[CheckpointSpan]) -> None:
        """Delete checkpoints that have been replaced."""

    async def checkpoints_before(self, orders: Sequence[tuple[str, Order]]) -> dict[str, CheckpointStates]:
        """For each (customer, order) the customer's last checkpoint before it."""

    async def checkpoints_after(self, orders: Sequence[tuple[str, Order]]) -> dict[str, list[Checkpoint]]:
        """For each (customer, order) the customer's checkpoints after it, in order."""


class LinkTable(Protocol):
    """Links between keys, and keys that are shared by too many customers."""

    async def load(self, all_of: Sequence[KeyIdentity], some_of: Sequence[tuple[KeyIdentity, str]] = ()) -> None:
        """Read all links of some keys and single links (standing, other key) of others into their standings."""

    async def shared_keys(self) -> set[str]:
        """The partition's shared keys."""

    async def shared_key_limit(self) -> int | None:
        """The limit under which they were last determined."""

    async def record_shared_key_limit(self, limit: int) -> None:
        """Store the limit."""

    async def keys_over(self, limit: int) -> list[str]:
        """Keys that more than `limit` other keys name, in order."""


class ErasureTable(Protocol):
    """Erased keys, by keyed hash, and receipts."""

    async def has_any(self) -> bool:
        """Whether any key of the partition was ever erased."""

    async def find(self, key_hashes: Sequence[bytes]) -> dict[bytes, ErasureRecord]:
        """Those of these keys that were erased."""

    async def delete_customer(self, key: str, erased_at: int) -> dict[str, int]:
        """Delete everything stored of a key, touchpoints only from before `erased_at`: table → deleted rows.

        Touchpoints that an alias transferred are not counted: they are counted for the alias.
        """

    async def remember(self, key_hash: bytes, record: ErasureRecord) -> None:
        """Keep the later of this and what is remembered."""

    async def save_receipt(self, receipt: ErasureReceipt) -> None:
        """Count an erasure under its receipt."""


class PartitionTables(Protocol):
    """The tables as seen through one partition's connection."""

    @property
    def customers(self) -> CustomerTable: ...
    @property
    def touchpoints(self) -> TouchpointTable: ...
    @property
    def history(self) -> HistoryTable: ...
    @property
    def links(self) -> LinkTable: ...
    @property
    def erasures(self) -> ErasureTable: ...
    @property
    def audiences(self) -> AudienceTable: ...

    async def write(self, changes: Changes, names: Sequence[str], now: int) -> None:
        """Write everything that was folded, except the touchpoints; last in a transaction.

        The outbox's records are numbered from the position's ``last_outbox_id`` + 1.
        """


class PartitionLease(Protocol):
    """One partition's lease: the right to write, until another process acquires it."""

    @property
    def key(self) -> PartitionKey: ...
    @property
    def position(self) -> Position: ...

    def fenced_transaction(
        self, touchpoints: int | None = None, identity: int | None = None
    ) -> AbstractAsyncContextManager[PartitionTables]:
        """A transaction that moves the position to these offsets (None: leaves it).

        Raises:
            FencedError: the lease was lost, or the stored position is not the expected one.
            DatabaseAwayError: the connection broke, possibly after the commit: acquire again and read the position.
        """

    def reading(self) -> AbstractAsyncContextManager[PartitionTables]:
        """Reads, and single statements that need no fence, outside of a transaction."""

    async def begin_era(self, era: int, last_outbox_id: int) -> None:
        """Record that the topics are ahead of the database: from here on, ids of facts contain the era.

        Raises:
            FencedError: the lease was lost.
        """

    async def record_generation(self, generation: int) -> None:
        """Store under which definitions all customers of the partition are folded."""

    async def close(self) -> None:
        """Drop the connection at once."""


class OutboxTable(Protocol):
    """One partition's outbox."""

    async def read_after(self, after: int, through: int) -> list[tuple[int, list[Outgoing]]]:
        """(first id, records) of the next rows after one id, of rows that end at or before another."""

    async def clear(self, through: int) -> bool:
        """Delete what is published; whether it could be done. A failure does no harm: it is deleted later."""


class OutboxPublisher(Protocol):
    """Publishes one partition's outbox in commit order, each record once."""

    @property
    def published_through(self) -> int:
        """The id of the last published record."""

    @property
    def unpublished(self) -> int:
        """Records that are committed in the database and not published."""

    async def start(self) -> None:
        """Fence the predecessor and read how far it published."""

    async def run(self) -> None:
        """Publish until cancelled."""

    def offer(self, first_id: int, records: list[Outgoing], received_at: float | None = None) -> None:
        """Queue the records of a committed transaction, numbered from `first_id`.

        ``received_at``: the timestamp of the oldest touchpoint record behind them, in seconds since the epoch.
        """

    async def wait_for_capacity(self) -> None:
        """Wait while too much is queued."""

    async def flushed(self) -> None:
        """Wait until everything offered so far is published."""

    async def close(self) -> None:
        """Stop; an open Kafka transaction is left for the successor to abort."""


Assigned = Callable[[set[int]], Awaitable[None]]


class TouchpointConsumer(Protocol):
    """This worker's membership in the consumer group, and the records of the partitions assigned to it."""

    async def start(self, on_assigned: Assigned, on_revoked: Assigned, on_failed: Callable[[Exception], None]) -> None:
        """Join the group. ``on_failed`` is called when an assignment could not be taken or given up."""

    async def stop(self) -> None:
        """Leave the group."""

    def hold(self, partitions: Iterable[int]) -> None:
        """Fetch nothing of these partitions until `begin`."""

    async def begin(self, partition: int, touchpoints: int, identity: int) -> None:
        """Read a partition from these offsets."""

    async def poll(self, partition: int, limit: int, seconds: float, stop: asyncio.Event) -> Records | None:
        """The next records of a partition; None when none came in time or `stop` was set."""

    def done(self, partition: int, touchpoints: int, identity: int) -> None:
        """Note how far a partition is folded, for lag displays."""

    def caught_up_at(self, partition: int) -> int | None:
        """The latest clock reading (microseconds) whose end offsets have been read past."""

    def confirmed_at(self, partition: int) -> float:
        """When Kafka last confirmed, on the monotonic clock, that everything has been read; 0: it has not."""

    def has_all_messages(self, partition: int) -> bool:
        """Whether the identity topic has been read to its last known end, open transactions included."""

    def lag(self, partition: int) -> int:
        """Records that are not folded yet."""

    async def watch(self, stopping: asyncio.Event, owned: Callable[[], Iterable[int]]) -> None:
        """Fetch end offsets and commit progress until stopping."""


class CatchUpTable(Protocol):
    """How far every partition of the deployment has been folded and published."""

    async def save(self, flushed: Mapping[int, int]) -> None:
        """Store partition → clock reading, where it is later than the stored one."""

    async def load(self) -> Mapping[int, int]:
        """All partitions' clock readings."""


class DefinitionTable(Protocol):
    """Every version of every lifecycle that ever ran, inside one transaction that excludes other writers."""

    async def add(self, definition: StoredDefinition, now: int) -> None:
        """Record a version, unless it is recorded.

        Without ``effective_from`` the first version of a lifecycle is in force for all time, a later one from `now`.
        """

    async def published(self) -> list[str]:
        """The lifecycles that have a running version which was published."""

    async def versions_of(self, names: Sequence[str]) -> list[StoredDefinition]:
        """All recorded versions of lifecycles, by name and version."""

    async def mark_running(self, newest: Mapping[str, int]) -> list[tuple[str, int, bool]]:
        """Set which versions run (up to the newest of each lifecycle); (name, version, running) of what changed."""

    async def withdrawn(self) -> list[tuple[str, int]]:
        """(name, version) of what does not run any more."""

    async def stop(self, name: str) -> None:
        """Mark the published versions of a lifecycle as not running."""

    async def audit(self, entry: AuditEntry) -> None:
        """Add an entry to the audit log."""


class DefinitionStore(Protocol):
    """Opens transactions on the recorded definitions."""

    def transaction(self) -> AbstractAsyncContextManager[DefinitionTable]:
        """All or nothing."""

    async def running(self) -> list[RunningVersion]:
        """All running versions, by name and version, without their texts.

        Raises:
            Interrupted: the database does not answer.
        """

    async def load(self, names: Sequence[str]) -> tuple[list[StoredDefinition], list[tuple[str, int]]]:
        """The running versions of lifecycles, by name and version; and (name, version) of what does not run any more.

        Raises:
            Interrupted: the database does not answer.
        """
