"""Deliveries in PostgreSQL: put down, claimed by one worker at a time, and concluded together with what they caused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import orjson
from touchline_schemas.actions import Action

from touchline_notifier.adapters import delivery_sql as sql
from touchline_notifier.adapters import endpoint_state
from touchline_notifier.adapters.hashes import Hashes
from touchline_notifier.adapters.last_word import objections
from touchline_notifier.adapters.outbox import Connection, append
from touchline_notifier.core.channel import Attempt, Delivery, Message
from touchline_notifier.core.delivery.conclusion import (
    Conclusion,
    Expired,
    Failed,
    Rescheduled,
    Sent,
    Withheld,
    conclude,
)
from touchline_notifier.core.delivery.reports import reports
from touchline_notifier.core.delivery.subscriptions import Planned


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery in this worker's hands.

    Attributes:
        delivery: its ``attempts`` counts the one that is about to be made.
        expired: it waited past ``first_before`` for its first attempt.
        disabled: why its endpoint gets nothing, if it doesn't.
        withheld: the customer, or the address, has said no since it was decided.
    """

    delivery: Delivery
    expired: bool = False
    disabled: str | None = None
    withheld: Withheld | None = None


async def put(
    connection: Connection,
    partition: int,
    planned: Sequence[Planned],
    *,
    due: datetime,
    now: datetime,
) -> None:
    """Write deliveries down, inside the transaction that decides them. What is there already stays as it is.

    Args:
        due: when they are tried first.
    """
    if not planned:
        return
    rows = [
        {
            "id": one.id,
            "action_id": one.action_id,
            "fact_id": one.fact_id,
            "customer_id": one.customer_id,
            "channel": one.channel,
            "endpoint": one.endpoint,
            "message": one.message.to_row(),
            "first_before": one.first_before,
        }
        for one in planned
    ]
    await connection.execute(sql.INSERT, partition, orjson.dumps(rows).decode(), due, now)


async def replay(connection: Connection, delivery: UUID, now: datetime) -> str | None:
    """Try a delivery again from the start of the schedule, under the same id.

    Returns:
        Its status: ``pending`` when it will be tried, ``delivering`` when it is under way and was left alone, None
        when there is no such delivery.
    """
    if await connection.fetchval(sql.REPLAY, delivery, now) is not None:
        return "pending"
    status: str | None = await connection.fetchval(sql.DELIVERY_STATUS, delivery)
    return status


class DeliveryQueue:
    """One worker's view of the deliveries."""

    def __init__(self, pool: asyncpg.Pool, hashes: Hashes, worker: str, *, sending: bool = True) -> None:
        self._pool = pool
        self._hashes = hashes
        self._worker = worker
        self._sending = sending

    async def claim(
        self, room: Mapping[str, int], now: datetime, *, lease: timedelta, probe: timedelta
    ) -> list[Claimed]:
        """Take what is due.

        Args:
            room: endpoint → how many deliveries to it may be added to those under way here.
            lease: how long they are ours without a heartbeat.
            probe: how long an endpoint out of a pause may take over its one delivery.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            special = await endpoint_state.not_closed(connection, list(room))
            opened = {endpoint: free for endpoint, free in room.items() if endpoint not in special}
            disabled: dict[str, str] = {}
            for endpoint, breaker in special.items():
                if breaker.state == "disabled":
                    disabled[endpoint] = f"the endpoint is disabled: {breaker.reason}"
                    opened[endpoint] = room[endpoint]
            claimed = await self._claim(connection, opened, now, lease, disabled)
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
        disabled: Mapping[str, str],
    ) -> list[Claimed]:
        rows = await connection.fetch(
            sql.CLAIM, list(room), list(room.values()), now, self._worker, now + lease, self._sending
        )
        deliveries = [_delivery(row) for row in rows]
        withheld = await objections(connection, deliveries, self._hashes)
        return [
            Claimed(
                delivery,
                expired=row["attempts"] == 1 and row["first_before"] is not None and row["first_before"] < now,
                disabled=disabled.get(row["endpoint"]),
                withheld=withheld.get(delivery.id),
            )
            for row, delivery in zip(rows, deliveries, strict=True)
        ]

    async def _probe(
        self, connection: Connection, endpoint: str, now: datetime, lease: timedelta, probe: timedelta
    ) -> list[Claimed]:
        breaker = await endpoint_state.to_probe(connection, endpoint)
        if breaker is None or not breaker.allows(now):
            return []
        claimed = await self._claim(connection, {endpoint: 1}, now, lease, {})
        if claimed:
            await endpoint_state.save(connection, endpoint, breaker.claimed(now, now + probe), now)
        return claimed

    async def heartbeat(self, deliveries: Sequence[str], now: datetime, *, lease: timedelta) -> None:
        """Keep what is being delivered."""
        async with self._pool.acquire() as connection:
            await connection.execute(sql.HEARTBEAT, [UUID(one) for one in deliveries], self._worker, now + lease)

    async def strangers(self, known: Sequence[str], now: datetime) -> list[str]:
        """Endpoints that something is due for and that nobody knows."""
        async with self._pool.acquire() as connection:
            return [row["endpoint"] for row in await connection.fetch(sql.UNKNOWN_ENDPOINTS, list(known), now)]

    async def conclude(
        self, claimed: Claimed, attempt: Attempt, now: datetime, randomness: float, *, teach: bool = True
    ) -> Conclusion | None:
        """Write down what became of an attempt, and publish it where that ends an action.

        Args:
            teach: whether the attempt says something about the endpoint.

        Returns:
            None when the delivery is not ours any more: erased, cancelled, or taken over after the lease.
        """
        conclusion = conclude(attempt, claimed.delivery.attempts, now, randomness)
        async with self._pool.acquire() as connection, connection.transaction():
            written = await self._write(connection, claimed, conclusion, now)
            if teach:
                await endpoint_state.teach(connection, claimed.delivery.endpoint, attempt, now)
        return conclusion if written else None

    async def drop(self, claimed: Claimed, conclusion: Expired | Withheld, now: datetime) -> Conclusion | None:
        """Give up what is not to be tried: it waited too long for its first attempt, or somebody has said no."""
        async with self._pool.acquire() as connection, connection.transaction():
            written = await self._write(connection, claimed, conclusion, now)
        return conclusion if written else None

    async def _write(self, connection: Connection, claimed: Claimed, conclusion: Conclusion, now: datetime) -> bool:
        delivery = UUID(claimed.delivery.id)
        if isinstance(conclusion, Rescheduled):
            moved = await connection.fetchval(
                sql.RESCHEDULE, delivery, self._worker, conclusion.moment, conclusion.why, conclusion.status
            )
            return moved is not None
        action = None
        if claimed.delivery.action_id is not None:
            action = await connection.fetchrow(sql.LOCK_ACTION, UUID(claimed.delivery.action_id))
        finished: tuple[str, str | None, int | None]
        match conclusion:
            case Sent(status):
                finished = ("sent", None, status)
            case Failed(why, status):
                finished = ("failed", why, status)
            case Expired(why) | Withheld(_, why):
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
}


async def _finish_action(
    connection: Connection, claimed: Claimed, action: asyncpg.Record, conclusion: Conclusion, now: datetime
) -> None:
    outcome, code, replaced = _ENDS[type(conclusion)]
    if isinstance(conclusion, Withheld):
        code = conclusion.code
    if action["outcome"] not in replaced:  # a replay tells nothing new
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
