"""Erasure: every row of a person goes; what stays is a keyed hash of each key, and the time."""

import hashlib
import hmac
from collections.abc import Sequence

import asyncpg
import structlog

from touchline_stage_engine.adapters import statements
from touchline_stage_engine.adapters.customers import Customer
from touchline_stage_engine.adapters.folding import Folding
from touchline_stage_engine.adapters.messages import ERASE_REQUESTED, LINK_REMOVED, Message
from touchline_stage_engine.adapters.outgoing import identity_message
from touchline_stage_engine.adapters.refolding import Work, refold_all

log = structlog.get_logger(__name__)


class Erasures:
    """The erasures of one partition."""

    def __init__(self, partition: int, secret: bytes) -> None:
        self._partition = partition
        self._secret = secret
        self._any: bool | None = None

    def _hash(self, key: str) -> bytes:
        return hmac.new(self._secret, key.encode(), hashlib.sha256).digest()

    async def find(self, connection: asyncpg.Connection, keys: Sequence[str]) -> dict[str, tuple[int, int, int]]:
        """Of these keys, those that were erased: (erased at, incarnation since, merges told)."""
        if self._any is None:
            self._any = await connection.fetchval(statements.ANY_ERASURES, self._partition)
        if not self._any or not keys:
            return {}
        by_hash = {self._hash(key): key for key in keys}
        rows = await connection.fetch(statements.FIND_ERASURES, self._partition, list(by_hash))
        return {by_hash[row["key_hash"]]: (row["erased_at"], row["incarnation"], row["merges"]) for row in rows}

    async def erase(
        self,
        connection: asyncpg.Connection,
        folding: Folding,
        message: Message,
        customer: Customer,
    ) -> Customer | None:
        """Erase the person a key belongs to. An alias passes the request on to its root, which asks all aliases.

        Returns:
            The customer's next life, to be kept in memory instead; None where the request was passed on.
        """
        key, erased_at, by = message.recipient, int(message.data["erased_at"]), message.data.get("by")
        changes, publisher = folding.changes, folding.publisher
        if customer.merged_into is not None and by is None:
            data = {"erased_at": erased_at, "by": None}
            changes.outbox.append(identity_message(customer.merged_into, ERASE_REQUESTED, data, publisher.decided_at))
            return None
        await self._ask_others(connection, folding, customer, erased_at)
        for place, name in enumerate(folding.names):
            if customer.published[place].stage is not None:
                changes.outbox.append(publisher.no_stage(key, name))
        for name in customer.unread:
            changes.outbox.append(publisher.no_stage(key, name))
        changes.outbox.append(publisher.erased(key, customer.incarnation, erased_at))
        await connection.execute(statements.DELETE_TOUCHPOINTS_BEFORE, key, erased_at)
        for statement in statements.ERASE:
            await connection.execute(statement, key)
        await connection.execute(
            statements.REMEMBER_ERASURE, self._partition, self._hash(key), erased_at, customer.incarnation + 1,
            customer.merges,
        )  # fmt: skip
        self._any = True
        changes.forget(key)
        changes.counts["erasures"] += 1
        log.info("customer_erased", partition=self._partition)
        return await self._begin_anew(connection, folding, customer, erased_at)

    async def _ask_others(
        self, connection: asyncpg.Connection, folding: Folding, customer: Customer, erased_at: int
    ) -> None:
        """Aliases are erased too; keys that were linked and belong to others forget the link."""
        key, sent_at = customer.customer_id, folding.publisher.decided_at
        aliases = {row["alias"] for row in await connection.fetch(statements.ALIASES_OF, key)}
        links = customer.identity.links if customer.identity is not None else {}
        aliases |= {other for other, link in links.items() if link.label.root == key}
        root = customer.merged_into or key
        for alias in sorted(aliases - {key, root}):
            data = {"erased_at": erased_at, "by": root}
            folding.changes.outbox.append(identity_message(alias, ERASE_REQUESTED, data, sent_at))
        # The root is being erased with this key: nothing is to be told to it.
        for other in sorted(set(links) - aliases - {root}):
            data = {"other": key, "before": erased_at}
            folding.changes.outbox.append(identity_message(other, LINK_REMOVED, data, sent_at))

    async def _begin_anew(
        self, connection: asyncpg.Connection, folding: Folding, before: Customer, erased_at: int
    ) -> Customer:
        """The next life: what occurred after the erasure stays, and is folded as a new incarnation."""
        key = before.customer_id
        customer = folding.new_customer(key)
        customer.incarnation, customer.erased_before = before.incarnation + 1, erased_at
        customer.merges, customer.known = before.merges, None
        row = await connection.fetchrow(statements.COUNT_TOUCHPOINTS, key)
        assert row is not None, "a count has a row"
        customer.touchpoints, customer.seen_at = row
        if customer.touchpoints:
            folding.changes.customers[key] = customer
            work = Work(customer, [], from_scratch="late_touchpoint")
            await refold_all(connection, folding, [work], erased_at, caught_up_at=None)
        return customer
