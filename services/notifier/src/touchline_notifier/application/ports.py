"""What reading, deciding and delivering need of the world outside. Adapters implement these protocols; bootstrap
connects them. What the API and the command line ask for is in :mod:`touchline_notifier.application.api_ports`.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from touchline_schemas.events.facts import CustomerErased, CustomerMerged

from touchline_notifier.application.plays.ports import PublishedPlays
from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.decisions.customer_history import Counted, CustomerHistory
from touchline_notifier.core.decisions.outbox_records import Outgoing
from touchline_notifier.core.decisions.stage_events import Fact
from touchline_notifier.core.delivery.channel import Attempt, Delivery
from touchline_notifier.core.delivery.conclusion import Cancelled, Conclusion, Expired, Withheld
from touchline_notifier.core.delivery.subscriptions import Planned
from touchline_notifier.core.limits.pre_send import Asked, Verdict
from touchline_notifier.core.profiles.address_suppressions import AddressSuppressions
from touchline_notifier.core.profiles.profile import Profile, Suppression
from touchline_notifier.core.sequences.definition import Definition
from touchline_notifier.core.sequences.run import Hit, Run


@dataclass(slots=True)
class PartitionLease:
    """A partition that this process owns.

    Attributes:
        epoch: counts the owners. A transaction under an older epoch cannot commit.
        next_touchpoint, next_fact: offsets to read on at, as last committed.
        last_publish_no: the outbox's number as of the acquisition.
    """

    stream: str
    partition: int
    epoch: int
    next_touchpoint: int
    next_fact: int
    last_publish_no: int


# Transactions


class CustomerRepository(Protocol):
    """Profiles, aliases, suppressions and erasures."""

    async def aliases(self, keys: Iterable[str]) -> dict[str, str]:
        """Old key → the customer it belongs to, for keys that were merged."""

    async def erasures(self, keys: Iterable[str]) -> dict[str, datetime]:
        """Key → when it was erased, for keys that were."""

    async def profiles(self, customer_ids: Iterable[str]) -> dict[str, Profile]:
        """Profiles that exist."""

    async def lock_profiles(self, customer_ids: Iterable[str], now: datetime) -> dict[str, Profile]:
        """Profiles, created where missing, locked until the transaction ends."""

    async def save_profiles(self, profiles: Mapping[str, Profile], now: datetime) -> None:
        """Write profiles that were locked before."""

    async def suppressions(self, addresses: Iterable[str]) -> dict[str, AddressSuppressions]:
        """Address → what is stored about it, in force or ended, for addresses of which something is."""

    async def save_suppressions(self, suppressions: Sequence[Suppression]) -> None:
        """Write suppressions. The latest of an address counts, in any order of arrival."""

    async def merge(self, merges: Sequence[CustomerMerged], now: datetime) -> None:
        """Move all data of old keys to the customers they are merged into."""

    async def erase(self, erasure: CustomerErased) -> None:
        """Delete a customer and all their keys. Keyed hashes stay, with the time."""

    async def long_keys(self, digest: bytes) -> list[str]:
        """Customers, present or former, whose long id has this SHA-256 (core.unsubscribe.tokens)."""


class WatchedAction(NamedTuple):
    """An action whose effect is measured."""

    action_id: str
    customer_id: str
    play: str
    decided_at: datetime


class Effect(NamedTuple):
    """The first return and the first conversion after an action."""

    action_id: str
    returned_at: datetime | None
    converted_at: datetime | None


class OtherAction(NamedTuple):
    """An action that counts against caps: delivered, or decided and not delivered yet."""

    action: Action
    counted: Counted
    delivered: bool
    under_way: bool


class ActionRepository(Protocol):
    """Actions, and what decisions about a customer need."""

    async def sending_is_off(self) -> bool:
        """Whether an operator has switched all sending off."""

    async def histories(
        self,
        customer_ids: Iterable[str],
        now: datetime,
        *,
        counted_since: datetime | None,
        stalled: Iterable[str] = (),
        asked: Sequence[str] = (),
    ) -> dict[str, CustomerHistory]:
        """Customers as of now.

        Args:
            counted_since: how far back counted actions are read. None: only profiles, suppressions and positions.
            stalled: customers whose stalls that were acted on are needed.
            asked: ids of actions that may exist already.
        """

    async def due(
        self, partition: int, now: datetime, at_most: int, *, sending: bool, leave_out: Collection[str] = ()
    ) -> list[tuple[str, str]]:
        """(customer, action id) of a partition's waiting actions whose time has come.

        Args:
            at_most: customers.
            leave_out: ids of actions to leave waiting.
        """

    async def due_partitions(
        self, partitions: Sequence[int], now: datetime, *, sending: bool, leave_out: Collection[str] = ()
    ) -> list[int]:
        """Which of these partitions have such actions."""

    async def retrying(self, customer_ids: Sequence[str]) -> list[Action]:
        """Actions whose delivery was tried, or waits behind an open breaker; locked."""

    async def cancel_deliveries(self, action_ids: Sequence[str], now: datetime) -> None:
        """Cancel pending deliveries of actions."""

    async def save(self, actions: Iterable[Action], partition: int) -> None:
        """Write actions as they are now."""

    async def save_assignments(self, assigned: Mapping[tuple[str, str], bool], now: datetime) -> None:
        """Record (customer, play) → held out. The first assignment is kept."""

    async def save_positions(self, histories: Iterable[CustomerHistory]) -> None:
        """Write where customers are in their lifecycles."""

    async def record_recoveries(self, recovered: Sequence[Fact]) -> None:
        """Note recoveries on the actions about earlier stalls."""

    async def watched(self, customer_ids: Iterable[str], since: datetime) -> list[WatchedAction]:
        """Actions decided after ``since`` whose return or conversion is not known yet."""

    async def record_effects(self, effects: Sequence[Effect]) -> None:
        """Write returns and conversions. The earliest is kept."""

    async def cancel_removed_plays(self, partitions: Sequence[int], plays: Sequence[str], now: datetime) -> None:
        """Make waiting actions of plays that no longer run due now: they are cancelled then."""

    # For the check before sending

    async def lock_customers(self, customer_ids: Iterable[str]) -> None:
        """One worker at a time checks a customer's actions, until the transaction ends."""

    async def to_send(self, action_ids: Sequence[str]) -> list[tuple[Action, int]]:
        """Actions with their partitions."""

    async def others(self, customer_ids: Iterable[str], now: datetime, since: datetime) -> list[OtherAction]:
        """Actions of customers that count against caps."""

    async def read_through(self, stream: str) -> dict[int, datetime | None]:
        """Partition → up to which instant everything published was read and decided on."""


class ListeningRun(NamedTuple):
    """A run that goes on, and what it waits for."""

    run_id: str
    customer_id: str
    definition: Definition


class RunRepository(Protocol):
    """Runs of sequences. A customer's are read with their history."""

    async def save(self, runs: Iterable[Run], partition: int) -> None:
        """Write runs that changed."""

    async def listening(self, customer_ids: Iterable[str]) -> list[ListeningRun]:
        """The runs of customers that go on."""

    async def note(self, hits: Collection[tuple[str, Hit]], now: datetime) -> None:
        """Add touchpoints that runs wait for, by run id, and have the runs looked at."""


class Transaction(Protocol):
    """One database transaction: everything in it is committed, or nothing."""

    @property
    def customers(self) -> CustomerRepository:
        """Profiles, aliases, suppressions and erasures."""

    @property
    def actions(self) -> ActionRepository:
        """Actions and histories."""

    @property
    def runs(self) -> RunRepository:
        """Runs of sequences."""

    @property
    def plays(self) -> PublishedPlays:
        """Published plays."""

    async def add_deliveries(self, partition: int, planned: Sequence[Planned], *, due: datetime, now: datetime) -> None:
        """Write deliveries. One that exists already stays as it is."""

    async def append_outbox(self, partition: int, events: Sequence[Outgoing]) -> None:
        """Add events about customers of one partition. They are published after the commit, in this order."""


class DecisionStore(Protocol):
    """The database of one session."""

    async def acquire(self, partition: int) -> PartitionLease:
        """Take a partition over. The former owner cannot commit any more."""

    def fenced_transaction(
        self, lease: PartitionLease, *, next_touchpoint: int | None = None, next_fact: int | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that commits only while the lease is held, and moves its offsets with the commit.

        Args:
            next_touchpoint, next_fact: offsets to read on at afterwards; None: unchanged.

        Raises:
            FencedError: another process owns the partition.
        """

    @property
    def actions(self) -> ActionRepository:
        """Actions, each statement in a transaction of its own."""

    @property
    def plays(self) -> PublishedPlays:
        """Published plays, each statement in a transaction of its own."""

    async def next_touchpoints(self) -> dict[int, int]:
        """Partition → the next touchpoint to read, as committed by whichever process owns it."""

    async def save_read_through(self, reached: Sequence[tuple[int, int, datetime]]) -> None:
        """Note (partition, epoch, instant): everything published up to the instant was read."""

    async def partitions_to_publish(self, partitions: Sequence[int]) -> list[int]:
        """Which of these partitions have rows in the outbox."""


# Deliveries


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this worker has leased.

    Attributes:
        delivery: its ``attempts`` counts the one that is about to be made.
        claimed_at: when the lease began, by the clock.
        dropped: why it is not sent any more, if so: it is too old, a limit forbids it, or it is no longer wanted.
    """

    delivery: Delivery
    claimed_at: datetime
    dropped: Expired | Withheld | Cancelled | None = None


class Checked(NamedTuple):
    """A delivery as it would be sent, and what the check says: None means send it."""

    delivery: Delivery
    verdict: Verdict


PreSendCheck = Callable[[Transaction, Sequence[Asked], datetime], Awaitable[list[Checked]]]
"""Decides before every attempt, in the transaction that claims the deliveries, whether they may be sent."""


class DeliveryQueue(Protocol):
    """One worker's view of the deliveries. Every method raises ``Unavailable`` when the database does not answer."""

    async def claim(
        self, room: Mapping[str, int], now: datetime, *, lease: timedelta, probe: timedelta
    ) -> list[Claimed]:
        """Lease what is due.

        Args:
            room: endpoint → how many more deliveries to it may be under way here.
            lease: how long they belong to this worker without a heartbeat.
            probe: how long an endpoint whose breaker is half open may take over its one delivery.
        """

    async def put_back(self, claimed: Claimed, now: datetime) -> None:
        """Return a delivery that was not attempted: any worker may take it."""

    async def heartbeat(self, deliveries: Sequence[str], now: datetime, *, lease: timedelta) -> set[str]:
        """Extend leases; the ids of the deliveries that still belong to this worker."""

    async def unknown_endpoints(self, known: Sequence[str], now: datetime) -> list[str]:
        """Endpoints with due deliveries that are not among the known ones."""

    async def conclude(
        self,
        claimed: Claimed,
        attempt: Attempt,
        now: datetime,
        randomness: float,
        *,
        counts_for_endpoint: bool = True,
        seconds: float | None = None,
    ) -> Conclusion | None:
        """Record an attempt, and publish the outcome where it ends the action.

        Returns:
            None when the delivery belongs to this worker no longer: erased, cancelled, or taken over after the lease.
        """

    async def drop(
        self, claimed: Claimed, conclusion: Expired | Withheld | Cancelled, now: datetime
    ) -> Conclusion | None:
        """Record that a delivery is not sent."""


class SubscriptionStore(Protocol):
    """The database behind the unsubscribe links. Both members raise ``Unavailable`` when it does not answer in time."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction."""

    async def link_keys(self) -> list[bytes]:
        """Keys of all unsubscribe links that were ever sent."""
