"""Links between keys, as the owner of one end acts on them: labels told, aliases marked, touchpoints handed over."""

from collections.abc import Callable, Mapping, Sequence

import asyncpg

from touchline_stage_engine.adapters import store
from touchline_stage_engine.adapters.changes import read_arrival
from touchline_stage_engine.adapters.contested import own_copies
from touchline_stage_engine.adapters.customers import Customer
from touchline_stage_engine.adapters.decoding import Arrival
from touchline_stage_engine.adapters.folding import END, START, Folding
from touchline_stage_engine.adapters.messages import (
    LINK_REMOVED,
    LINK_REQUESTED,
    TRANSFER_BYTES,
    TRANSFER_CHUNK,
    WITHDRAWN,
    Message,
    link_requested,
    transferred,
)
from touchline_stage_engine.adapters.outgoing import Outgoing, identity_message
from touchline_stage_engine.adapters.refolding import Work
from touchline_stage_engine.core.identity import Label, Standing, Weight


def _standing(customer: Customer) -> Standing:
    if customer.identity is None:
        customer.identity = Standing(customer.customer_id)
    return customer.identity


class Identities:
    """One batch's changes of identity.

    Args:
        customer_of: gives a customer of the batch, who is then written back.
        peek: gives one who is not.
    """

    def __init__(
        self, folding: Folding, customer_of: Callable[[str], Customer], peek: Callable[[str], Customer]
    ) -> None:
        self._folding = folding
        self._customer_of = customer_of
        self._peek = peek
        self._handing_over: set[str] = set()
        """Keys that have got another root in this batch: all their touchpoints go there."""
        self._in_doubt: dict[str, dict[str, int]] = {}
        """Key → the other keys that were erased, each with the time before which touchpoints link to it no more."""
        self.returned: set[str] = set()
        """Keys that have become nobody's alias in this batch: folded again from their own touchpoints."""

    def link(self, customer: Customer, other: str, weight: Weight, now: int) -> None:
        """A touchpoint of this customer names another key."""
        standing = _standing(customer)
        if standing.knows(other, weight):
            return
        standing.link(other, weight)
        self._tell(standing, other, standing.links[other].mine)
        self._settle(customer, standing, now)

    def links_in_doubt(self, key: str) -> None:
        """A touchpoint of this key took another's place, or gave way: its links are worked out anew (`relink`)."""
        self._in_doubt.setdefault(key, {})

    async def relink(self, connection: asyncpg.Connection, now: int) -> None:
        """Work out the links in doubt from the touchpoints that are stored now."""
        in_doubt, self._in_doubt = self._in_doubt, {}
        for key, erased in in_doubt.items():
            weights = {
                other: weight
                for other, weight in (await store.links_made(connection, key)).items()
                if other not in erased or weight[0] >= erased[other]
            }
            customer = self._customer_of(key)
            if customer.identity is None and not weights:
                continue
            standing = _standing(customer)
            for other, weight in standing.relink(weights).items():
                self._tell(standing, other, weight)
            self._settle(customer, standing, now)

    def receive(self, message: Message, now: int) -> None:
        """Another key's owner tells of a link, or of its end."""
        data, key = message.data, message.recipient
        unmade = message.kind == LINK_REMOVED or data.get("weight") is None
        if unmade and self._peek(key).identity is None:
            return
        customer = self._customer_of(key)
        standing = _standing(customer)
        other = data["other"]
        if message.kind == LINK_REMOVED:
            if standing.unlink(other):
                self._in_doubt.setdefault(key, {})[other] = data["before"]
        elif message.kind == LINK_REQUESTED:
            weight: Weight | None = None if unmade else tuple(data["weight"])
            if weight is not None and customer.erased_before is not None and weight[0] < customer.erased_before:
                # From before the erasure: the other end is to forget it too.
                answer = {"other": key, "before": customer.erased_before}
                self._send(identity_message(other, LINK_REMOVED, answer, self._folding.publisher.decided_at))
                return
            new = other not in standing.links
            if not standing.hear(other, weight, Label.load(data["label"])):
                return
            if new:
                self._tell(standing, other, standing.links[other].mine)
        self._settle(customer, standing, now)

    def _send(self, record: Outgoing) -> None:
        self._folding.changes.outbox.append(record)

    def _tell(self, standing: Standing, other: str, weight: Weight | None) -> None:
        self._send(link_requested(other, standing.key, weight, standing.label, self._folding.publisher.decided_at))

    def _settle(self, customer: Customer, standing: Standing, now: int) -> None:
        """Work the label out anew, tell the neighbours, and follow it."""
        if standing.settle():
            for other, link in standing.links.items():
                self._tell(standing, other, link.mine)
        self._folding.changes.conflicts[standing.key] = list(standing.conflicts())
        root = None if standing.root == standing.key else standing.root
        if root != customer.merged_into:
            self._follow(customer, root, now)

    def _follow(self, customer: Customer, root: str | None, now: int) -> None:
        """The key belongs to somebody else than before."""
        folding, publisher = self._folding, self._folding.publisher
        key, before = customer.customer_id, customer.merged_into
        customer.merged_into = root
        if before is not None:
            self._send(identity_message(before, WITHDRAWN, {"alias": key}, publisher.decided_at))
        if root is None:
            self._handing_over.discard(key)
            self.returned.add(key)
            return
        self.returned.discard(key)
        self._handing_over.add(key)
        if before is None:
            self._forget_stages(customer)
        customer.merges += 1
        folding.changes.outbox.append(publisher.merged(key, customer.incarnation, root, customer.merges, now))

    def _forget_stages(self, customer: Customer) -> None:
        """An alias has no stages: tombstones for those that were published; the numbers of its facts go on."""
        changes = self._folding.changes
        for place, name in enumerate(self._folding.names):
            published = customer.published[place]
            if published.stage is not None:
                changes.stages[customer.customer_id, name] = None
            published.stage, published.level, published.since, published.entered_at = None, 0, 0, 0
            customer.states[place] = None
            customer.facts[place] = 0
        customer.last = None
        customer.checkpointed = 0
        customer.wake_at = None
        changes.forgotten.add(customer.customer_id)

    async def hand_over(self, connection: asyncpg.Connection, works: Mapping[str, Work]) -> None:
        """Send touchpoints to the roots: everything of new aliases, and what has just come for older ones.

        The batch's touchpoints must be in the table already.
        """
        for key in sorted(self._handing_over):
            await self._hand_over_all(connection, self._customer_of(key))
        for key, work in works.items():
            root = work.customer.merged_into
            if root is None or key in self._handing_over:
                continue
            # What other aliases handed over to this key follows them when they hear of the root.
            own = [arrival for arrival in (*work.arrivals, *work.restored) if arrival.key == key]
            sent_at = self._folding.publisher.decided_at
            for begin in range(0, len(own), TRANSFER_CHUNK):
                chunk = own[begin : begin + TRANSFER_CHUNK]
                self._transfer(root, key, chunk, work.customer.fired_through, False, sent_at)
        self._handing_over.clear()

    def _transfer(
        self, root: str, key: str, arrivals: Sequence[Arrival], fired_through: int, bulk: bool, sent_at: str
    ) -> None:
        """Send touchpoints in as many messages as the broker's limit on a message's size asks for."""
        message = transferred(root, key, arrivals, fired_through, bulk, sent_at)
        if message.value is not None and len(message.value) > TRANSFER_BYTES and len(arrivals) > 1:
            middle = len(arrivals) // 2
            self._transfer(root, key, arrivals[:middle], fired_through, bulk, sent_at)
            self._transfer(root, key, arrivals[middle:], fired_through, bulk, sent_at)
        else:
            self._send(message)

    async def _hand_over_all(self, connection: asyncpg.Connection, customer: Customer) -> None:
        root = customer.merged_into
        assert root is not None, "only aliases hand over"
        sent_at, key = self._folding.publisher.decided_at, customer.customer_id
        sent = False
        async for rows in store.touchpoint_rows(connection, key, START, END):
            own = [read_arrival(row, key) for row in rows if row["original_key"] is None]
            for begin in range(0, len(own), TRANSFER_CHUNK):
                chunk = own[begin : begin + TRANSFER_CHUNK]
                self._transfer(root, key, chunk, customer.fired_through, True, sent_at)
                sent = True
        for arrival in await own_copies(connection, key):
            self._transfer(root, key, [arrival], customer.fired_through, True, sent_at)
            sent = True
        if not sent:
            # Nothing yet to hand over, but the root is to know its alias.
            self._send(transferred(root, key, [], customer.fired_through, True, sent_at))
