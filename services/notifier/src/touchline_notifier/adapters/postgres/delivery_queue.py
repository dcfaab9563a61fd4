"""Deliveries in PostgreSQL: claimed by one worker at a time, and concluded together with what the outcome changes."""

import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import orjson
from touchline_runtime.database.faults import UNREACHABLE
from touchline_runtime.errors import Unavailable
from touchline_schemas.events.actions import Action

from touchline_notifier.adapters.postgres import delivery_statements as sql
from touchline_notifier.adapters.postgres import endpoint_state
from touchline_notifier.adapters.postgres.delivery_attempts import record_attempt
from touchline_notifier.adapters.postgres.outbox import Connection, append
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.application.ports import Claimed, PreSendCheck
from touchline_notifier.core.delivery.channel import Attempt, Delivery, Message
from touchline_notifier.core.delivery.conclusion import (
    Cancelled,
    Conclusion,
    Expired,
    Failed,
    Rescheduled,
    Sent,
    Withheld,
    conclude,
)
from touchline_notifier.core.delivery.reports import reports
from touchline_notifier.core.limits.pre_send import Asked, Deferred
from touchline_notifier.core.profiles.address_hashes import Hashes

_EXPIRE_EVERY = timedelta(seconds=10)
"""How often deliveries behind an open breaker are searched for those that became too old."""


class PostgresDeliveryQueue:
    """Implements :class:`~touchline_notifier.application.ports.DeliveryQueue`.

    Args:
        check: runs before every attempt.
        sending: false: only facts for subscribers are sent; the messages of plays wait.
    """

    def __init__(
        self, pool: asyncpg.Pool, hashes: Hashes, check: PreSendCheck, *, partitions: int, sending: bool = True
    ) -> None:
        self._pool = pool
        self._hashes = hashes
        self._check = check
        self._partitions = partitions
        self._sending = sending
        self._worker = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
        self._expire_again = datetime.min.replace(tzinfo=UTC)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        """A transaction.

        Raises:
            Unavailable: the server is away, or refused: a process that was frozen finds its transaction ended, a
                replica is read-only.
        """
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                yield connection
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error

    async def claim(
        self, room: Mapping[str, int], now: datetime, *, lease: timedelta, probe: timedelta
    ) -> list[Claimed]:
        async with self._transaction() as connection:
            special = await endpoint_state.not_closed(connection, list(room))
            opened = {endpoint: free for endpoint, free in room.items() if endpoint not in special}
            claimed = await self._claim(connection, opened, now, lease)
            # Deliveries that wait for a breaker or an operator stay as they are until they are too old.
            closed = {endpoint: room[endpoint] for endpoint in special}
            if closed and now >= self._expire_again:
                self._expire_again = now + _EXPIRE_EVERY
                claimed += await self._claim(connection, closed, now, lease, too_old=True)
            for endpoint, breaker in special.items():
                if breaker.state != "disabled" and breaker.allows(now):
                    claimed += await self._probe(connection, endpoint, now, lease, probe)
            return claimed

    async def _claim(
        self,
        connection: Connection,
        room: Mapping[str, int],
        now: datetime,
        lease: timedelta,
        *,
        too_old: bool = False,
    ) -> list[Claimed]:
        rows = await connection.fetch(
            sql.CLAIM, list(room), list(room.values()), now, self._worker, now + lease, self._sending, too_old
        )
        if not rows:
            return []
        asked = [Asked(_delivery(row), row["first_before"]) for row in rows]
        tx = PostgresTransaction(connection, self._hashes, self._partitions)
        claimed = []
        for delivery, verdict in await self._check(tx, asked, now):
            if isinstance(verdict, Deferred):
                await connection.execute(sql.PUT_BACK, UUID(delivery.id), self._worker, verdict.until, verdict.why)
            else:
                claimed.append(Claimed(delivery, now, verdict))
        return claimed

    async def put_back(self, claimed: Claimed, now: datetime) -> None:
        async with self._transaction() as connection:
            await connection.execute(sql.PUT_BACK, UUID(claimed.delivery.id), self._worker, now, None)

    async def _probe(
        self, connection: Connection, endpoint: str, now: datetime, lease: timedelta, probe: timedelta
    ) -> list[Claimed]:
        breaker = await endpoint_state.to_probe(connection, endpoint)
        if breaker is None or not breaker.allows(now):
            return []
        claimed = await self._claim(connection, {endpoint: 1}, now, lease)
        if any(item.dropped is None for item in claimed):
            await endpoint_state.save(connection, endpoint, breaker.claimed(now, now + probe), now)
        return claimed

    async def heartbeat(self, deliveries: Sequence[str], now: datetime, *, lease: timedelta) -> set[str]:
        async with self._transaction() as connection:
            ids = [UUID(delivery) for delivery in deliveries]
            rows = await connection.fetch(sql.HEARTBEAT, ids, self._worker, now + lease)
        return {str(row["id"]) for row in rows}

    async def unknown_endpoints(self, known: Sequence[str], now: datetime) -> list[str]:
        async with self._transaction() as connection:
            return [row["endpoint"] for row in await connection.fetch(sql.UNKNOWN_ENDPOINTS, list(known), now)]

    async def conclude(
        self,
        claimed: Claimed,
        attempt: Attempt,
        now: datetime,
        randomness: float,
        *,
        counts_for_endpoint: bool = True,
        seconds: float | None = None,
    ) -> Conclusion | None:
        """Record an attempt, and publish the outcome where it ends the action.

        Args:
            counts_for_endpoint: whether the attempt says something about the endpoint.
            seconds: how long the attempt took.

        Returns:
            None when the delivery belongs to this worker no longer: erased, cancelled, or taken over after the lease.
        """
        conclusion = conclude(attempt, claimed.delivery.attempts, now, randomness)
        async with self._transaction() as connection:
            written = await self._write(connection, claimed, conclusion, now)
            if written:
                await record_attempt(connection, claimed.delivery, attempt, conclusion, now, seconds)
            if counts_for_endpoint:
                delivery = claimed.delivery
                await endpoint_state.record_result(connection, delivery.endpoint, delivery.id, attempt, now)
        return conclusion if written else None

    async def drop(
        self, claimed: Claimed, conclusion: Expired | Withheld | Cancelled, now: datetime
    ) -> Conclusion | None:
        """Record that a delivery is not sent: it is too old, a limit forbids it, or it is not wanted any more."""
        async with self._transaction() as connection:
            written = await self._write(connection, claimed, conclusion, now)
        return conclusion if written else None

    async def _write(self, connection: Connection, claimed: Claimed, conclusion: Conclusion, now: datetime) -> bool:
        delivery = UUID(claimed.delivery.id)
        if isinstance(conclusion, Rescheduled):
            moved = await connection.fetchval(
                sql.RESCHEDULE, delivery, self._worker, conclusion.moment, conclusion.last_error, conclusion.status
            )
            return moved is not None
        action = None
        if claimed.delivery.action_id is not None:
            action = await connection.fetchrow(sql.LOCK_ACTION, UUID(claimed.delivery.action_id))
        finished: tuple[str, str | None, int | None]
        match conclusion:
            case Sent(status):
                finished = ("sent", None, status)
            case Failed(_, status):
                finished = ("failed", conclusion.last_error, status)
            case Expired(why) | Withheld(_, why) | Cancelled(_, why):
                finished = ("cancelled", why, None)
        if await connection.fetchval(sql.FINISH, delivery, self._worker, *finished, now) is None:
            return False
        if action is not None:
            await _finish_action(connection, claimed, action, conclusion, now)
        return True


_ENDS: dict[type[Conclusion], tuple[str, str | None, frozenset[str]]] = {
    # conclusion → the action's outcome, its reason's code, and the outcomes that it may replace.
    Sent: ("sent", None, frozenset({"decided", "failed", "cancelled", "held"})),
    Failed: ("failed", "delivery_failed", frozenset({"decided"})),
    Expired: ("cancelled", "too_old", frozenset({"decided"})),
    Withheld: ("held", None, frozenset({"decided"})),
    Cancelled: ("cancelled", None, frozenset({"decided"})),
}


async def _finish_action(
    connection: Connection, claimed: Claimed, action: asyncpg.Record, conclusion: Conclusion, now: datetime
) -> None:
    outcome, code, replaced = _ENDS[type(conclusion)]
    if isinstance(conclusion, Withheld | Cancelled):
        code = conclusion.code
    if action["outcome"] not in replaced:  # a replay adds nothing
        return
    text = None if isinstance(conclusion, Sent) else conclusion.why
    sequence = await connection.fetchval(sql.FINISH_ACTION, action["action_id"], outcome, code, text, now)
    event = Action.model_validate(
        {
            **{name: action[name] for name in ("play", "fact_id", "customer_id", "lifecycle", "stage", "channel")},
            "action_id": str(action["action_id"]),
            "endpoint": action["endpoint"],
            "outcome": outcome,
            "reason": f"{code}: {text}" if code else None,
            "decided_at": action["decided_at"],
            "sequence": sequence,
            "run_id": None if action["run_id"] is None else str(action["run_id"]),
            "step": action["step"],
        }
    )
    # The action's own partition and customer, not the claim's: a merge may have moved both meanwhile.
    await append(connection, action["partition"], reports(event, claimed.delivery.id, now))


def _delivery(row: asyncpg.Record) -> Delivery:
    return Delivery(
        id=str(row["id"]),
        kind=row["kind"],
        action_id=str(row["action_id"]) if row["action_id"] is not None else None,
        customer_id=row["customer_id"],
        channel=row["channel"],
        endpoint=row["endpoint"],
        message=Message.from_row(orjson.loads(row["message"])),
        attempts=row["attempts"],
        created_at=row["created_at"],
    )
