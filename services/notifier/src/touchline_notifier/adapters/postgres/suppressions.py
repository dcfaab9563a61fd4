"""Suppressions and consent by hand, each recorded in the audit log. A suppressed address itself is stored nowhere."""

from datetime import datetime
from typing import Any

import asyncpg
from touchline_runtime.audit.entry import Actor, AuditEntry
from touchline_runtime.audit.postgres import append

from touchline_notifier.adapters.postgres.customers import Customers
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.application.consent import set_consent
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_notifier.core.profiles.address_suppressions import BY_HAND
from touchline_notifier.core.profiles.profile import Suppression


class PostgresConsent:
    """Implements :class:`~touchline_notifier.application.api_ports.Consent`."""

    def __init__(self, pool: asyncpg.Pool, hashes: Hashes, partitions: int) -> None:
        self._pool = pool
        self._hashes = hashes
        self._partitions = partitions

    async def change(
        self, customer_id: str, channel: str, *, given: bool, reason: str | None, actor: Actor, now: datetime
    ) -> bool:
        """Give or refuse consent for a customer; whether anything changed."""
        async with self._pool.acquire() as connection, connection.transaction():
            tx = PostgresTransaction(connection, self._hashes, self._partitions)
            changed = await set_consent(tx, self._partitions, customer_id, channel, given=given, now=now)
            if changed:
                target = f"customer/{self._hashes.customer(customer_id).hex()[:32]}"
                after = {"channel": channel, "given": given}
                await append(connection, AuditEntry(actor, "consent_set", target, None, after, reason))
        return changed


class PostgresSuppressions:
    """Implements :class:`~touchline_notifier.application.api_ports.Suppressions`."""

    def __init__(self, pool: asyncpg.Pool, hashes: Hashes) -> None:
        self._pool = pool
        self._hashes = hashes

    async def state(self, address: str) -> dict[str, Any] | None:
        """Reason, since when, and whether it is in force; None: the address was never suppressed."""
        async with self._pool.acquire() as connection:
            found = (await Customers(connection, self._hashes, 0).suppressions([address])).get(address)
        if found is None:
            return None
        reason, since = found.in_force[0] if found.in_force else (None, None)
        return {"suppressed": reason is not None, "reason": reason, "since": since}

    async def change(self, address: str, *, lifted: bool, reason: str | None, actor: Actor, now: datetime) -> None:
        """Suppress an address, or lift its suppression, as of now."""
        key = self._hashes.address(address)
        async with self._pool.acquire() as connection, connection.transaction():
            customers = Customers(connection, self._hashes, 0)
            found = (await customers.suppressions([address])).get(address)
            before = found is not None and bool(found.in_force)
            at = found.after(now) if found is not None else now
            await customers.save_suppressions([Suppression(address, BY_HAND, at, lifted)])
            action = "suppression_lifted" if lifted else "address_suppressed"
            target = f"address/{key.hex()[:32]}"
            values = ({"suppressed": before}, {"suppressed": not lifted})
            await append(connection, AuditEntry(actor, action, target, *values, reason))
