"""Whether a test message may be sent, and its entry in the audit log, in PostgreSQL."""

import asyncpg
from touchline_runtime.audit.entry import Actor, AuditEntry
from touchline_runtime.audit.postgres import append

from touchline_notifier.adapters.postgres import endpoint_state
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.application.plays.testing import TESTS_PER_HOUR, Refusal, TestRecord
from touchline_notifier.core.profiles.address_hashes import Hashes

# Two tests at once are counted one after the other.
_TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended('touchline play tests ' || $1, 0))"
# Of the newest entries: the log has no index but its ids, and grows for years.
_IN_LAST_HOUR = """
SELECT count(*) FROM (SELECT actor, action, at FROM audit_log ORDER BY id DESC LIMIT 10000) newest
WHERE actor = $1 AND action = 'play_test_sent' AND at > now() - interval '1 hour'
"""


class PostgresTestLog:
    """Implements :class:`~touchline_notifier.application.plays.testing.TestLog`."""

    def __init__(self, pool: asyncpg.Pool, hashes: Hashes) -> None:
        self._pool = pool
        self._hashes = hashes

    async def admit(self, record: TestRecord, actor: Actor) -> Refusal | None:
        async with self._pool.acquire() as connection, connection.transaction():
            # Partitions matter for writes alone.
            tx = PostgresTransaction(connection, self._hashes, 1)
            if await tx.actions.sending_is_off():
                return Refusal("sending is switched off: switch it on first (PUT /v1/sending)", "sending-off")
            breaker = (await endpoint_state.not_closed(connection, [record.endpoint])).get(record.endpoint)
            if breaker is not None and breaker.state == "disabled":
                how = f"enable it first (POST /v1/endpoints/{record.endpoint}/enable)"
                return Refusal(f"endpoint {record.endpoint} is disabled: {how}", "endpoint-disabled")
            stored = await tx.customers.suppressions([record.to]) if record.to is not None else {}
            reasons = [why for found in stored.values() for why, _ in found.in_force]
            if reasons:
                how = "name another, or lift the suppression (DELETE /v1/suppressions/{address})"
                return Refusal(f"the address is suppressed ({reasons[0]}): {how}", "suppressed")
            await connection.execute(_TAKE_TURNS, actor.name)
            if await connection.fetchval(_IN_LAST_HOUR, actor.name) >= TESTS_PER_HOUR:
                how = "wait, or preview the play (POST /v1/plays/{name}/previews)"
                return Refusal(
                    f"{actor.name} has sent {TESTS_PER_HOUR} tests in the last hour: {how}", "too-many-tests"
                )
            to = None if record.to is None else f"address/{self._hashes.address(record.to).hex()[:32]}"
            after = {
                "sha256": record.sha256,
                "endpoint": record.endpoint,
                "to": to,
                "customer": f"customer/{self._hashes.customer(record.customer_id).hex()[:32]}",
            }
            await append(connection, AuditEntry(actor, "play_test_sent", f"play/{record.play}", None, after))
        return None
