"""A customer in memory: what the next touchpoint's fold needs, and what has to be written back."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from touchline_stage_engine.core.compile import NEVER
from touchline_stage_engine.core.fold import Fold
from touchline_stage_engine.core.identity import Standing
from touchline_stage_engine.core.publication import Published
from touchline_stage_engine.core.state import StageState
from touchline_stage_engine.core.timeline import UnknownVersionError
from touchline_stage_engine.core.touchpoint import Order

KNOWN_LIMIT = 512
"""Touchpoints of a customer up to which their hashes are kept in memory."""


class Customer:
    """One row of ``customers``, with the states of every running lifecycle in the order of the folds.

    Attributes:
        last: the order of the last touchpoint folded; machine ones don't count.
        known: hashes of all touchpoints stored; None when not all are in memory: then the table must be asked.
        states, published, facts: per lifecycle: the fold's state, what subscribers heard, facts in history.
        unread: states of lifecycles that don't run now, kept as they were.
        stale: it was folded under other definitions and has to be folded again before anything else.
    """

    __slots__ = (
        "checkpointed", "customer_id", "erased_before", "facts", "fired_through", "generation", "identity",
        "incarnation", "known", "last", "merged_into", "merges", "published", "seen_at", "stale", "states",
        "stored", "touchpoints", "unread", "wake_at",
    )  # fmt: skip

    def __init__(self, customer_id: str, lifecycles: int, generation: int) -> None:
        self.customer_id = customer_id
        self.incarnation = 0
        self.erased_before: int | None = None
        self.touchpoints = 0
        self.last: Order | None = None
        self.seen_at: int | None = None
        self.fired_through = 0
        self.wake_at: int | None = None
        self.generation = generation
        self.states: list[StageState | None] = [None] * lifecycles
        self.published = [Published() for _ in range(lifecycles)]
        self.facts = [0] * lifecycles
        self.unread: dict[str, Any] = {}
        self.checkpointed = 0
        self.merged_into: str | None = None
        self.merges = 0
        self.identity: Standing | None = None
        self.known: set[int] | None = set()
        self.stale = False
        self.stored = False

    def next_due(self) -> int | None:
        """When the next timer of any lifecycle is due."""
        due = NEVER
        for state in self.states:
            if state is not None and state.due < due:
                due = state.due
        return None if due >= NEVER else due

    def remember_if_new(self, hashes: Sequence[int]) -> bool:
        """Note touchpoints that are plainly new: memory holds all that is stored, and it is none of them."""
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
        data = dict(self.unread)
        for i, name in enumerate(names):
            state = self.states[i]
            data[name] = [None if state is None else state.dump(), self.published[i].dump(), self.facts[i]]
        return orjson.dumps(data)

    @classmethod
    def load(cls, row: Any, folds: Sequence[Fold], generation: int) -> "Customer":
        """The customer of a row (see the migration for its columns)."""
        customer = cls(row["customer_id"], len(folds), row["generation"])
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
            customer.identity = Standing.load(customer.customer_id, orjson.loads(row["identity"]))
        customer.stale = row["generation"] != generation and customer.merged_into is None
        customer.generation = generation
        data = orjson.loads(row["states"])
        for i, fold in enumerate(folds):
            if (found := data.pop(fold.name, None)) is None:
                customer.stale = customer.stale or customer.merged_into is None
                continue
            state, published, customer.facts[i] = found
            customer.published[i] = Published.load(published)
            if state is None:
                continue
            try:
                customer.states[i] = StageState.load(state, fold.timeline)
            except UnknownVersionError:
                customer.stale = True
        customer.unread = data
        return customer


class Cache:
    """The customers of one partition that were needed last, up to a limit. Not for two partitions at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._customers: OrderedDict[str, Customer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._customers)

    def get(self, customer_id: str) -> Customer | None:
        """The customer, if in memory; the least recently added go first, so a get costs nothing."""
        return self._customers.get(customer_id)

    def add(self, customer: Customer) -> None:
        """Keep a customer."""
        self._customers[customer.customer_id] = customer

    def drop(self, customer_id: str) -> None:
        """Forget one."""
        self._customers.pop(customer_id, None)

    def trim(self, used: Iterable[str]) -> None:
        """After a batch: the customers it used move to the young end; the oldest beyond the limit go."""
        customers = self._customers
        if len(customers) <= self._limit // 2:
            return
        for customer_id in used:
            if customer_id in customers:
                customers.move_to_end(customer_id)
        while len(customers) > self._limit:
            customers.popitem(last=False)

    def clear(self) -> None:
        """Forget all: something was rolled back, and memory is ahead of the database."""
        self._customers.clear()
