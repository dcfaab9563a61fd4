"""A customer in memory: what folding the next touchpoint needs, and what has to be written back."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from touchline_stage_engine.core.definitions.compile import NEVER
from touchline_stage_engine.core.definitions.timeline import UnknownVersionError
from touchline_stage_engine.core.folding.corrections import Published
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.generation import NEVER_FOLDED, Generation
from touchline_stage_engine.core.folding.state import StageState
from touchline_stage_engine.core.identity.links import KeyIdentity
from touchline_stage_engine.core.touchpoint import Order, Touchpoint

KNOWN_LIMIT = 512
"""Touchpoints of a customer up to which their hashes are kept in memory."""


class Customer:
    """One row of ``customers``, with the states of every running lifecycle in the order of the folds.

    Attributes:
        last: the order of the last touchpoint folded, machine ones excluded.
        known: hashes of all stored touchpoints; None: not all are in memory, so the table must be queried.
        states, published, facts: per lifecycle: the fold's state, what was published, the number of facts in history.
        unread: states of lifecycles that are switched off, kept as they were.
        generations: per lifecycle: the generation its state was folded under.
        generation: the generation of the whole row; differs from the present one where anything is stale.
        stale: the lifecycles (by index) that were folded under other definitions and must be folded again first.
    """

    __slots__ = (
        "checkpointed", "customer_id", "erased_before", "facts", "fired_through", "generation", "generations",
        "identity",
        "incarnation", "known", "last", "merged_into", "merges", "published", "seen_at", "stale", "states",
        "stored", "touchpoints", "unread", "wake_at",
    )  # fmt: skip

    def __init__(
        self, customer_id: str, lifecycles: int, generation: int, generations: Sequence[Generation] = ()
    ) -> None:
        self.customer_id = customer_id
        self.incarnation = 0
        self.erased_before: int | None = None
        self.touchpoints = 0
        self.last: Order | None = None
        self.seen_at: int | None = None
        self.fired_through = 0
        self.wake_at: int | None = None
        self.generation = generation
        self.generations = [one.current for one in generations]
        self.states: list[StageState | None] = [None] * lifecycles
        self.published = [Published() for _ in range(lifecycles)]
        self.facts = [0] * lifecycles
        self.unread: dict[str, Any] = {}
        self.checkpointed = 0
        self.merged_into: str | None = None
        self.merges = 0
        self.identity: KeyIdentity | None = None
        self.known: set[int] | None = set()
        self.stale: list[int] = []
        self.stored = False

    def has_erased(self, touchpoint: Touchpoint) -> bool:
        """Whether a touchpoint is from before the customer's erasure: it occurred before it, or (dated ahead of the
        clock) was received before it.
        """
        before = self.erased_before
        return before is not None and (touchpoint.occurred_at < before or touchpoint.received_at < before)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is stored of the customer: no touchpoints, and no links with other keys."""
        identity = self.identity
        linked = identity is not None and (identity.count or identity.erased)
        return not (self.touchpoints or linked or self.merged_into)

    def next_due(self) -> int | None:
        """When the next timer of any lifecycle is due."""
        due = NEVER
        for state in self.states:
            if state is not None and state.due < due:
                due = state.due
        return None if due >= NEVER else due

    def remember_if_new(self, hashes: Sequence[int]) -> bool:
        """Note touchpoints that are certainly new: all stored hashes are in memory and contain none of theirs.

        Returns:
            Whether they are; if not, nothing is noted.
        """
        known = self.known
        if known is None:
            return False
        new = set(hashes)
        if len(new) != len(hashes) or not known.isdisjoint(new):
            return False
        known |= new
        if len(known) > KNOWN_LIMIT:
            self.known = None
        return True

    def remember(self, hash: int) -> None:  # noqa: A002
        """Note that a touchpoint is stored now."""
        if self.known is not None:
            self.known.add(hash)
            if len(self.known) > KNOWN_LIMIT:
                self.known = None

    def dump_states(self, names: Sequence[str]) -> bytes:
        """The column ``states``."""
        # A lifecycle that is switched off is folded again when it is switched on, because it misses what comes now.
        data = {name: [*found[:3], NEVER_FOLDED] for name, found in self.unread.items()}
        for i, name in enumerate(names):
            state = self.states[i]
            dumped = None if state is None else state.dump()
            data[name] = [dumped, self.published[i].dump(), self.facts[i], self.generations[i]]
        return orjson.dumps(data)

    def forget_unread(self) -> list[str]:
        """Forget the stages in lifecycles that are switched off; the numbers of facts go on. Returns where one was."""
        names = []
        for name, (_, dumped, _, folded_under) in self.unread.items():
            published = Published.load(dumped)
            if published.forget_stage():
                names.append(name)
            self.unread[name] = [None, published.dump(), 0, folded_under]
        return names

    def folded_again(self, lifecycles: Iterable[int], generation: int, generations: Sequence[Generation]) -> None:
        """Note that these lifecycles have been folded under the present definitions."""
        for i in lifecycles:
            self.generations[i] = generations[i].current
            if i in self.stale:
                self.stale.remove(i)
        if not self.stale:
            self.generation = generation

    @classmethod
    def load(cls, row: Any, folds: Sequence[Fold], generation: int, generations: Sequence[Generation]) -> "Customer":
        """The customer of a row (see the migration for its columns)."""
        customer = cls(row["customer_id"], len(folds), row["generation"], generations)
        customer.stored = True
        customer.known = None
        customer.incarnation = row["incarnation"]
        customer.erased_before = row["erased_before"]
        customer.touchpoints = row["touchpoints"]
        if row["last_at"] is not None:
            customer.last = (row["last_at"], row["last_id"], row["last_source"])
        customer.seen_at = row["seen_at"]
        customer.fired_through = row["fired_through"]
        customer.wake_at = row["wake_at"]
        customer.checkpointed = row["checkpointed"]
        customer.merged_into = row["merged_into"]
        customer.merges = row["merges"]
        if row["identity"] is not None:
            customer.identity = KeyIdentity.load(customer.customer_id, orjson.loads(row["identity"]))
        data = orjson.loads(row["states"])
        last, fired_through = customer.last, customer.fired_through
        for i, fold in enumerate(folds):
            if (found := data.pop(fold.name, None)) is None:
                customer.generations[i] = NEVER_FOLDED
                customer.stale.append(i)
                continue
            state, published, customer.facts[i], folded_under = found
            customer.published[i] = Published.load(published)
            try:
                customer.states[i] = None if state is None else StageState.load(state, fold.timeline)
            except UnknownVersionError:
                folded_under = NEVER_FOLDED
            if not generations[i].holds(folded_under, last, fired_through):
                # It keeps its generation until it is folded again, so a row written before that stays stale.
                customer.generations[i] = folded_under
                customer.stale.append(i)
        if customer.merged_into is not None:
            # An alias has no states.
            customer.stale.clear()
            customer.generations = [one.current for one in generations]
        if not customer.stale:
            customer.generation = generation
        elif customer.generation == generation:
            customer.generation = NEVER_FOLDED
        customer.unread = data
        return customer


class CacheBudget:
    """How many customers each partition of a process may cache: an equal share for each owned partition."""

    def __init__(self, customers: int) -> None:
        self._customers = customers
        self.partitions = 1

    def share(self) -> int:
        """Customers of one partition."""
        return max(1, self._customers // max(1, self.partitions))


class Cache:
    """The most recently used customers of one partition, up to a limit.

    Args:
        limit: customers to keep at most, after each batch.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._customers: OrderedDict[str, Customer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._customers)

    def get(self, customer_id: str) -> Customer | None:
        """The customer, if in memory. Does not change the order of eviction."""
        return self._customers.get(customer_id)

    def add(self, customer: Customer) -> None:
        """Keep a customer."""
        self._customers[customer.customer_id] = customer

    def drop(self, customer_id: str) -> None:
        """Forget one."""
        self._customers.pop(customer_id, None)

    def trim(self, used: Iterable[str]) -> None:
        """After a batch: mark the customers it used as recent, and evict the oldest beyond the limit."""
        customers, limit = self._customers, self._limit()
        if len(customers) <= limit // 2:
            return
        for customer_id in used:
            if customer_id in customers:
                customers.move_to_end(customer_id)
        while len(customers) > limit:
            customers.popitem(last=False)

    def clear(self) -> None:
        """Forget all, after a rollback: memory is ahead of the database."""
        self._customers.clear()
