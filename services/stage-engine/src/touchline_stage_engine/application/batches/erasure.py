"""Erasure: deletes every row of a person; a keyed hash of each key and the time are kept."""

import hashlib
import hmac
from collections.abc import Sequence
from uuid import UUID

import structlog
from touchline_schemas.identity import is_known

from touchline_stage_engine.application.audiences.changes import forget_customer
from touchline_stage_engine.application.batches.customers import Customer
from touchline_stage_engine.application.batches.folding import Folding
from touchline_stage_engine.application.batches.refolding import Work, refold_all
from touchline_stage_engine.application.identities.messages import ERASE_REQUESTED, LINK_REMOVED, WITHDRAWN, Message
from touchline_stage_engine.application.outbox_records import identity_message
from touchline_stage_engine.application.ports import PartitionTables
from touchline_stage_engine.application.values import ErasureReceipt, ErasureRecord

log = structlog.get_logger(__name__)


def _receipt(text: object) -> str | None:
    """A valid receipt; None where it is no UUID: the erasure is carried out and not counted."""
    try:
        return str(UUID(str(text)))
    except ValueError:
        return None


def link_only(message: Message, customer: Customer) -> bool:
    """Whether a request that concerns an alias of the root has come to a key that is none: only its link is removed.

    A key that was erased for this request before has begun anew: it is not erased again, or two keys that stay linked
    would request it of each other without end.
    """
    if message.data.get("linked_to") is None:
        return False
    erased_before, erased_at = customer.erased_before, message.data["erased_at"]
    return customer.merged_into != message.data["by"] or (erased_before is not None and erased_before >= erased_at)


def link_removal(message: Message) -> Message:
    """What is left of such a request."""
    data = message.data
    return Message(message.recipient, LINK_REMOVED, {"other": data["linked_to"], "before": int(data["erased_at"])})


class Erasures:
    """The erasures of one partition."""

    def __init__(self, partition: int, secret: bytes) -> None:
        self._partition = partition
        self._secret = secret
        self._any: bool | None = None

    def _hash(self, key: str) -> bytes:
        return hmac.new(self._secret, key.encode(), hashlib.sha256).digest()

    async def find(self, tables: PartitionTables, keys: Sequence[str]) -> dict[str, ErasureRecord]:
        """Those of these keys that were erased."""
        if self._any is None:
            self._any = await tables.erasures.has_any()
        if not self._any or not keys:
            return {}
        by_hash = {self._hash(key): key for key in keys}
        found = await tables.erasures.find(list(by_hash))
        return {by_hash[key_hash]: record for key_hash, record in found.items()}

    async def decline(self, tables: PartitionTables, message: Message, now: int) -> None:
        """Note that a request has erased nothing, so that its erasure can be complete."""
        erased_at, receipt = int(message.data["erased_at"]), _receipt(message.data.get("receipt"))
        if receipt is not None:
            key_hash = self._hash(message.recipient)
            await tables.erasures.save_receipt(ErasureReceipt(receipt, key_hash, 0, erased_at, now, {}))

    async def erase(
        self,
        tables: PartitionTables,
        folding: Folding,
        message: Message,
        customer: Customer,
        now: int,
    ) -> Customer | None:
        """Erase the person a key belongs to. An alias passes the request on to its root, which asks all aliases.

        Returns:
            The customer's next incarnation, to be kept in memory instead; None where the request was passed on.
        """
        key, erased_at, by = message.recipient, int(message.data["erased_at"]), message.data.get("by")
        receipt = _receipt(message.data.get("receipt"))
        changes, builder = folding.changes, folding.builder
        if customer.merged_into is not None and by is None:
            data = {"erased_at": erased_at, "by": None, "receipt": receipt}
            changes.outbox.append(identity_message(customer.merged_into, ERASE_REQUESTED, data, builder.decided_at))
            return None
        root: str = key if by is None else by
        asked = await self._ask_others(tables, folding, customer, root, erased_at, receipt)
        if customer.merged_into is not None:
            # What it has transferred goes from there too. It may have another root than the one being erased by now,
            # and that one may read a transfer, also of what is younger than the erasure, after it was erased itself.
            changes.outbox.append(identity_message(customer.merged_into, WITHDRAWN, {"alias": key}, builder.decided_at))
        removed = await self._delete(tables, folding, customer, erased_at, now)
        if receipt is not None:
            await tables.erasures.save_receipt(ErasureReceipt(receipt, self._hash(key), asked, erased_at, now, removed))
        self._any = True
        changes.counts["erasures"] += 1
        log.info("customer_erased", partition=self._partition)
        return await self._begin_anew(tables, folding, customer, erased_at)

    async def erase_emptied(self, tables: PartitionTables, folding: Folding, now: int) -> list[str]:
        """Erase customers again who were erased before and have nothing any more: no row may name them.

        What came since their erasure was an alias's, and the alias belongs to somebody else. Facts were published of
        it, so subscribers have to forget them too.

        Returns:
            Their keys.
        """
        if not self._any:
            return []
        emptied = []
        for key, customer in list(folding.changes.customers.items()):
            if customer.erased_before is not None and customer.stored and customer.is_empty:
                await self._delete(tables, folding, customer, customer.erased_before, now)
                emptied.append(key)
        return emptied

    async def _delete(
        self, tables: PartitionTables, folding: Folding, customer: Customer, erased_at: int, now: int
    ) -> dict[str, int]:
        """Delete a customer's rows, tell subscribers, and remember the erasure. Returns table → rows."""
        key, changes, builder = customer.customer_id, folding.changes, folding.builder
        published = [name for index, name in enumerate(folding.names) if customer.published[index].stage is not None]
        # Stages that this transaction has ended have not been published as ended yet.
        ended = [name for customer_id, name in changes.stages if customer_id == key]
        for name in dict.fromkeys([*published, *ended, *customer.unread]):
            changes.outbox.append(builder.no_stage(key, name))
        await forget_customer(tables, builder, changes.outbox, key, erased_at, now)
        changes.outbox.append(builder.erased(key, customer.incarnation, erased_at))
        removed = await tables.erasures.delete_customer(key, erased_at)
        await tables.erasures.remember(
            self._hash(key), ErasureRecord(erased_at, customer.incarnation + 1, customer.merges)
        )
        changes.forget(key)
        return removed

    async def _ask_others(
        self,
        tables: PartitionTables,
        folding: Folding,
        customer: Customer,
        root: str,
        erased_at: int,
        receipt: str | None,
    ) -> int:
        """Request the erasure of all aliases; ask linked keys of other customers to forget the link.

        Returns:
            How many further keys were asked to be erased, those included that may turn out to be another customer's.
        """
        key, sent_at = customer.customer_id, folding.builder.decided_at
        aliases = {alias for _, alias in await tables.customers.aliases_of([key])}
        links = customer.identity.links if customer.identity is not None else {}
        aliases |= {other for other, link in links.items() if link.label is not None and link.label.root == key}
        aliases -= {key, root}
        # A key that has not answered yet may be an alias of the root all the same. Its owner reads the link before this
        # request. The root is being erased with this key, so it need not forget the link.
        linked = {
            other
            for other, link in links.items()
            if other not in aliases and other != root and not is_known(other) and link.weight[0] < erased_at
        }
        for other in sorted(aliases | linked):
            data = {"erased_at": erased_at, "by": root, "receipt": receipt}
            if other in linked:
                data["linked_to"] = key
            folding.changes.outbox.append(identity_message(other, ERASE_REQUESTED, data, sent_at))
        for other in sorted(links.keys() - aliases - linked - {root}):
            data = {"other": key, "before": erased_at}
            folding.changes.outbox.append(identity_message(other, LINK_REMOVED, data, sent_at))
        return len(aliases) + len(linked)

    async def _begin_anew(
        self, tables: PartitionTables, folding: Folding, before: Customer, erased_at: int
    ) -> Customer:
        """The next incarnation: what occurred after the erasure is kept and folded again."""
        key = before.customer_id
        customer = folding.new_customer(key)
        customer.incarnation = before.incarnation + 1
        # Requests may come in another order than they were made.
        customer.erased_before = max(erased_at, before.erased_before or erased_at)
        customer.merges, customer.known = before.merges, None
        customer.touchpoints, customer.seen_at = await tables.touchpoints.count(key)
        if customer.touchpoints:
            folding.changes.customers[key] = customer
            work = Work(customer, [], from_scratch="late_touchpoint")
            await refold_all(tables, folding, [work], erased_at, caught_up_at=None)
        return customer
