"""The record of every attempt, written in the transaction that concludes it."""

from datetime import datetime
from uuid import UUID

from touchline_notifier.adapters.postgres.outbox import Connection
from touchline_notifier.core.delivery.channel import Attempt, Delivered, Delivery
from touchline_notifier.core.delivery.conclusion import Conclusion, result_of

INSERT = """
INSERT INTO delivery_attempts (delivery_id, at, attempt, endpoint, result, status, milliseconds, error, answer)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT DO NOTHING
"""
MOST_MILLISECONDS = 2**31 - 1


async def record_attempt(
    connection: Connection,
    delivery: Delivery,
    attempt: Attempt,
    conclusion: Conclusion,
    now: datetime,
    seconds: float | None,
) -> None:
    """Write one attempt down."""
    error, answer = None, None
    if not isinstance(attempt, Delivered):
        error, answer = attempt.why, attempt.excerpt or None
    milliseconds = None if seconds is None else min(round(seconds * 1000), MOST_MILLISECONDS)
    facts = (result_of(conclusion), attempt.status, milliseconds, error, answer)
    await connection.execute(INSERT, UUID(delivery.id), now, delivery.attempts, delivery.endpoint, *facts)
