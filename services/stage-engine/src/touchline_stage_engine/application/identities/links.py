"""Links between keys, at the owner of one end: labels are reported, aliases marked, touchpoints transferred."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

import orjson
from touchline_schemas.identity import ANONYMOUS, is_known

from touchline_stage_engine.application.batches.changes import YIELD_EVERY
from touchline_stage_engine.application.batches.customers import Customer
from touchline_stage_engine.application.batches.folding import Folding
from touchline_stage_engine.application.batches.refolding import Work
from touchline_stage_engine.application.identities.messages import (
    LINK_REMOVED,
    LINK_REQUESTED,
    LINKS_AT_ONCE,
    TRANSFER_BYTES,
    TRANSFER_CHUNK,
    WITHDRAWN,
    Message,
    Request,
    links_requested,
    transferred,
)
from touchline_stage_engine.application.outbox_records import Outgoing, identity_message
from touchline_stage_engine.application.ports import PartitionTables
from touchline_stage_engine.core.decoding import Arrival, named_beside
from touchline_stage_engine.core.identity.labels import Label, Weight, weigh
from touchline_stage_engine.core.identity.links import KeyIdentity
from touchline_stage_engine.core.identity.made_links import MadeLinks

KEPT_LINKS = 64
"""Links of a key that stay in memory; of a key with more links, those that a batch needs are read."""


def _standing(customer: Customer) -> KeyIdentity:
    if customer.identity is None:
        customer.identity = KeyIdentity(customer.customer_id)
    return customer.identity


class Identities:
    """One batch's changes of identity. Links are collected as they come, and settled once.

    Args:
        customer_of: returns a customer of the batch, who is then written back.
        peek: returns a customer without writing it back.
        limit: customers that may name a key before it is shared.
    """

    def __init__(
        self,
        folding: Folding,
        customer_of: Callable[[str], Customer],
        peek: Callable[[str], Customer],
        limit: int,
    ) -> None:
        self._folding = folding
        self._customer_of = customer_of
        self._peek = peek
        self._limit = limit
        self._dirty: dict[str, None] = {}
        """Keys to settle."""
        self._used: dict[str, KeyIdentity] = {}
        self._new_aliases: set[str] = set()
        """Keys that have another root since this batch: all their touchpoints are transferred to it."""
        self._in_doubt: dict[str, None] = {}
        """Keys whose links are determined again from their touchpoints."""
        self._early: dict[str, list[tuple[str, Label | None]]] = {}
        """Labels that other keys reported of links that a key in doubt may make again."""
        self.returned: set[str] = set()
        """Keys that are no longer an alias since this batch: folded again from their own touchpoints."""

    async def load(
        self, tables: PartitionTables, by_key: Mapping[str, Sequence[Arrival]], messages: Sequence[Message]
    ) -> None:
        """Read the links that a batch concerns, where they are not in memory."""
        wanted: dict[str, set[str]] = {}
        for key, arrivals in by_key.items():
            identity = self._peek(key).identity
            if identity is None or identity.complete:
                continue
            for arrival in arrivals:
                if arrival.others:
                    wanted.setdefault(key, set()).update(arrival.others)
                if arrival.previous is not None:
                    wanted.setdefault(key, set()).add(arrival.previous)
        for message in messages:
            if message.kind in (LINK_REQUESTED, LINK_REMOVED):
                identity = self._peek(message.recipient).identity
                if identity is not None and not identity.complete:
                    wanted.setdefault(message.recipient, set()).add(message.data["other"])
        all_of, some_of = [], []
        for key, others in wanted.items():
            standing = self._use(self._peek(key))
            if standing.count <= KEPT_LINKS or not (is_known(key) or standing.shared):
                all_of.append(standing)
            else:
                some_of += [(standing, other) for other in others if other not in standing.links]
        if all_of or some_of:
            await tables.links.load(all_of, some_of)

    def _use(self, customer: Customer) -> KeyIdentity:
        standing = self._used[customer.customer_id] = _standing(customer)
        return standing

    def _change(self, customer: Customer) -> KeyIdentity:
        self._dirty[customer.customer_id] = None
        return self._use(customer)

    async def load_all(self, tables: PartitionTables, customer: Customer) -> KeyIdentity:
        """The standing of a customer, with all links."""
        standing = self._use(customer)
        if not standing.complete:
            await tables.links.load([standing])
        return standing

    def note(self, customer: Customer, arrival: Arrival) -> None:
        """A touchpoint of this customer names other keys."""
        touchpoint, key = arrival.touchpoint, customer.customer_id
        if arrival.key != key or touchpoint.machine:
            return
        for other in arrival.others:
            self._link(customer, other, weigh(touchpoint.occurred_at, touchpoint.id, touchpoint.source, key, other))
        if (previous := arrival.previous) is not None:
            weight = weigh(touchpoint.occurred_at, touchpoint.id, touchpoint.source, key, previous)
            if self._link(customer, previous, weight) or ANONYMOUS + previous in _standing(customer).erased:
                # Whether it names an anonymous id depends on what is known of the customer.
                self.links_in_doubt(key)

    def _link(self, customer: Customer, other: str, weight: Weight) -> bool:
        if customer.identity is not None and customer.identity.knows(other, weight):
            return False
        self._change(customer).link(other, weight)
        return True

    def links_in_doubt(self, key: str) -> None:
        """`relink` determines the key's links again: a touchpoint was replaced, or a linked key was erased."""
        self._in_doubt[key] = None

    def settle_again(self, keys: Iterable[str]) -> None:
        """Settle these keys, though none of their links has changed."""
        for key in keys:
            self._change(self._customer_of(key))

    async def relink(self, tables: PartitionTables) -> None:
        """Determine the links in doubt from the touchpoints that are stored now."""
        in_doubt, self._in_doubt = self._in_doubt, {}
        for key in in_doubt:
            customer = self._customer_of(key)
            had = customer.identity
            standing = KeyIdentity(key) if had is None else await self.load_all(tables, customer)
            made = await _links_made(tables, standing)
            if had is not None or made.weights:
                standing = self._change(customer)
                standing.relink(made.weights, made.erased)
                for other, label in self._early.pop(key, ()):
                    standing.hear(other, None, label)

    def receive(self, message: Message) -> None:
        """Another key's owner reports that a link was made or removed."""
        data, key = message.data, message.recipient
        unmade = message.kind == LINK_REMOVED or data.get("weight") is None
        customer = self._peek(key)
        if unmade and customer.identity is None:
            return
        other = data["other"]
        if message.kind == LINK_REMOVED:
            if self._change(customer).unlink(other, data["before"]):
                self.links_in_doubt(key)
            return
        weight: Weight | None = None if unmade else tuple(data["weight"])
        if weight is not None and customer.erased_before is not None and weight[0] < customer.erased_before:
            # From before the erasure: the other end has to forget it too.
            answer = {"other": key, "before": customer.erased_before}
            self._send(identity_message(other, LINK_REMOVED, answer, self._folding.builder.decided_at))
            if customer.identity is None or other not in customer.identity.links:
                return
            # It forgets the whole link, so it is told again what this end makes of it.
            weight = None
            self._change(customer).news.add(other)
        label = None if data["label"] is None else Label.load(data["label"])
        if self._use(customer).hear(other, weight, label):
            self._change(customer)
            if is_known(key) and is_known(other):
                self.links_in_doubt(key)
        elif weight is None and key in self._in_doubt and other not in self._use(customer).links:
            self._early.setdefault(key, []).append((other, label))

    def _send(self, record: Outgoing) -> None:
        self._folding.changes.outbox.append(record)

    async def settle(self, tables: PartitionTables, now: int) -> None:
        """Settle the keys of unknown customers before anything is folded: they may become aliases, or cease to be.

        Known customers, which are never aliases, are settled by `report`.
        """
        for index, key in enumerate([key for key in self._dirty if not is_known(key)]):
            if index % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            await self._settle(tables, self._peek(key), False)
            customer = self._peek(key)
            standing = _standing(customer)
            root = None if standing.root == key else standing.root
            if root != customer.merged_into:
                self._follow(self._customer_of(key), root, now)

    async def report(self, tables: PartitionTables, works: Mapping[str, Work]) -> None:
        """Settle known customers, once it is certain whether they have touchpoints; then report to linked keys once."""
        for key, work in works.items():
            identity = work.customer.identity
            if (
                identity is not None
                and is_known(key)
                and (identity.reported is None) == (work.customer.touchpoints > 0)
            ):
                self._dirty[key] = None
        changes, sent_at = self._folding.changes, self._folding.builder.decided_at
        requests: dict[str, list[Request]] = {}
        for index, key in enumerate(self._dirty):
            if index % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            customer = self._peek(key)
            if is_known(key):
                await self._settle(tables, customer, customer.touchpoints > 0)
            standing = self._use(customer)
            for number, other in enumerate(sorted(standing.news)):
                if number % YIELD_EVERY == YIELD_EVERY - 1:
                    await asyncio.sleep(0)
                requests.setdefault(other, []).append(Request(key, *standing.report_to(other)))
            standing.news.clear()
            for other in standing.touched:
                changes.links[key, other] = standing.links.get(other)
            if standing.changed or not customer.stored:
                self._customer_of(key)
        self._dirty.clear()
        for index, (recipient, made) in enumerate(requests.items()):
            for begin in range(0, len(made), LINKS_AT_ONCE):
                if begin or index % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
                changes.outbox += links_requested(recipient, made[begin : begin + LINKS_AT_ONCE], sent_at)

    def finish(self) -> None:
        """Drop the links that should not stay in memory."""
        for standing in self._used.values():
            standing.keep(KEPT_LINKS)

    async def _settle(self, tables: PartitionTables, customer: Customer, present: bool) -> None:
        """Determine a key's label again, and collect changes of its conflicts and of whether it is shared."""
        standing, changes, key = self._use(customer), self._folding.changes, customer.customer_id
        if standing.needs_all(self._limit, present):
            await self.load_all(tables, customer)
        was_shared = standing.shared
        settled = standing.settle(self._limit, present)
        for other in list(standing.links) if settled else list(standing.touched):
            link, conflict = standing.links.get(other), standing.conflict(other)
            if link is None:
                changes.conflicts[key, other] = None
            elif link.listed != conflict:
                link.listed = changes.conflicts[key, other] = conflict
                standing.touched.add(other)
        for other in standing.touched - standing.links.keys():
            changes.conflicts[key, other] = None
        standing.dropped.clear()
        if standing.shared:
            changes.shared[key] = standing.count
        elif was_shared:
            changes.shared[key] = None

    def _follow(self, customer: Customer, root: str | None, now: int) -> None:
        """The key has another root than before."""
        folding, builder = self._folding, self._folding.builder
        key, before = customer.customer_id, customer.merged_into
        customer.merged_into = root
        if before is not None:
            self._send(identity_message(before, WITHDRAWN, {"alias": key}, builder.decided_at))
        if root is None:
            self._new_aliases.discard(key)
            self.returned.add(key)
            return
        self.returned.discard(key)
        self._new_aliases.add(key)
        if before is None:
            self._forget_stages(customer)
        customer.merges += 1
        folding.changes.outbox.append(builder.merged(key, customer.incarnation, root, customer.merges, now))

    def _forget_stages(self, customer: Customer) -> None:
        """An alias has no stages: tombstones for those that were published; the numbers of its facts go on."""
        changes = self._folding.changes
        for index, name in enumerate(self._folding.names):
            if customer.published[index].forget_stage():
                changes.stages[customer.customer_id, name] = None
            customer.states[index] = None
            customer.facts[index] = 0
        for name in customer.forget_unread():
            changes.stages[customer.customer_id, name] = None
        customer.folded_again(list(customer.stale), self._folding.generation, self._folding.generations)
        customer.last = None
        customer.checkpointed = 0
        customer.wake_at = None
        changes.forgotten.add(customer.customer_id)

    async def transfer(self, tables: PartitionTables, works: Mapping[str, Work]) -> None:
        """Send touchpoints to the roots: everything of new aliases, and what has just come for older ones.

        The batch's touchpoints must be in the table already.
        """
        for key in sorted(self._new_aliases):
            await self._transfer_all(tables, self._customer_of(key))
        for key, work in works.items():
            root = work.customer.merged_into
            if root is None or key in self._new_aliases:
                continue
            # What other aliases transferred to this key follows when they learn of the root.
            own = [arrival for arrival in (*work.arrivals, *work.restored) if arrival.key == key]
            sent_at = self._folding.builder.decided_at
            for begin in range(0, len(own), TRANSFER_CHUNK):
                chunk = own[begin : begin + TRANSFER_CHUNK]
                self._send_touchpoints(root, key, chunk, False, sent_at)
        self._new_aliases.clear()

    def _send_touchpoints(self, root: str, key: str, arrivals: Sequence[Arrival], bulk: bool, sent_at: str) -> None:
        """Send touchpoints in as many messages as the broker's size limit requires."""
        message = transferred(root, key, arrivals, bulk, sent_at)
        if message.value is not None and len(message.value) > TRANSFER_BYTES and len(arrivals) > 1:
            middle = len(arrivals) // 2
            self._send_touchpoints(root, key, arrivals[:middle], bulk, sent_at)
            self._send_touchpoints(root, key, arrivals[middle:], bulk, sent_at)
        else:
            self._send(message)

    async def _transfer_all(self, tables: PartitionTables, customer: Customer) -> None:
        root = customer.merged_into
        assert root is not None, "only aliases transfer touchpoints"
        sent_at, key = self._folding.builder.decided_at, customer.customer_id
        sent = False
        async for own in tables.touchpoints.filed_under(key):
            for begin in range(0, len(own), TRANSFER_CHUNK):
                chunk = own[begin : begin + TRANSFER_CHUNK]
                self._send_touchpoints(root, key, chunk, True, sent_at)
                sent = True
        for arrival in await tables.touchpoints.own_copies(key):
            self._send_touchpoints(root, key, [arrival], True, sent_at)
            sent = True
        if not sent:
            # There is nothing to transfer yet, but the root has to know its alias.
            self._send(transferred(root, key, [], True, sent_at))


async def _links_made(tables: PartitionTables, standing: KeyIdentity) -> MadeLinks:
    """The links that a key's own stored touchpoints make."""
    made = MadeLinks(standing)
    rows = await tables.touchpoints.linking(standing.key)
    for index, (occurred_at, id_, source, identifiers, received_at, previous_id) in enumerate(rows):
        if index % YIELD_EVERY == 0:
            await asyncio.sleep(0)
        others, previous = named_beside(standing.key, orjson.loads(identifiers), source, previous_id)
        made.add(others, previous, occurred_at, id_, source, received_at)
    return made
