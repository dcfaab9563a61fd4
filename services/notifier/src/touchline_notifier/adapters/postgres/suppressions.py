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
from touchline_notifier.core.profiles.profile import Suppression

BY_HAND = "suppressed_by_hand"

STATE = """
SELECT reason, since, lifted_at, (lifted_at IS NULL OR lifted_at <= since) AS suppressed
FROM suppressions
WHERE address_hash = $1
"""


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
        row = await self._pool.fetchrow(STATE, self._hashes.address(address))
        return None if row is None else dict(row)

    async def change(self, address: str, *, lifted: bool, reason: str | None, actor: Actor, now: datetime) -> None:
        """Suppress an address, or lift its suppression, as of now."""
        key = self._hashes.address(address)
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(STATE, key)
            before = row is not None and bool(row["suppressed"])
            await Customers(connection, self._hashes, 0).save_suppressions([Suppression(address, BY_HAND, now, lifted)])
            action = "suppression_lifted" if lifted else "address_suppressed"
            target = f"address/{key.hex()[:32]}"
            values = ({"suppressed": before}, {"suppressed": not lifted})
            await append(connection, AuditEntry(actor, action, target, *values, reason))
