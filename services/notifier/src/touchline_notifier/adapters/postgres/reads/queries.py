"""What the API and the pages read, a page at a time, the newest first."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from touchline_schemas.times import to_wire

from touchline_notifier.application.api_ports import BadCursorError, Page
from touchline_notifier.core.decisions.action import reason_text
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.limits.hold_out import Group

_ACTION = """
SELECT action_id, play, nullif(play_version, 0) AS play_version, fact_id, fact_type, customer_id, lifecycle, stage,
       channel, endpoint, outcome, reason_code, reason, fact_at, decide_at, decided_at, finished_at, recovered_at,
       returned_at, converted_at, run_id, step
FROM actions
"""

ACTIONS = (
    _ACTION
    + """WHERE {conditions}
ORDER BY decided_at DESC, action_id DESC
LIMIT $1
"""
)

ACTION = f"{_ACTION}WHERE action_id = $1"

DELIVERIES = """
SELECT id, kind, action_id, fact_id, customer_id, channel, endpoint, status, attempts, next_attempt_at, first_before,
       last_error, last_status, created_at, finished_at
FROM deliveries
WHERE {conditions}
ORDER BY created_at DESC, id DESC
LIMIT $1
"""

DELIVERY = """
SELECT id, kind, action_id, fact_id, customer_id, channel, endpoint, status, attempts, next_attempt_at, first_before,
       last_error, last_status, created_at, finished_at, message
FROM deliveries
WHERE id = $1
"""

OUTCOMES = """
SELECT play, outcome, coalesce(reason_code, '') AS reason_code, count(*) AS actions
FROM actions
WHERE ($1::text IS NULL OR play = $1)
GROUP BY play, outcome, reason_code
ORDER BY play, outcome, reason_code
"""

RESULTS = """
-- By assignment, whatever the outcome of the actions (intention to treat). A
-- customer counts once for a play, from their first action on: what came later may be due to it.
SELECT held_out,
       count(*)                                   AS customers,
       count(*) FILTER (WHERE recovered)          AS recovered,
       count(*) FILTER (WHERE returned)           AS returned,
       count(*) FILTER (WHERE converted)          AS converted
FROM (
    SELECT customer_id,
           bool_and(held_out)                                                         AS held_out,
           bool_or(coalesce(recovered_at <= decided_at + $2::interval, false))        AS recovered,
           bool_or(coalesce(returned_at <= decided_at + $2::interval, false))         AS returned,
           bool_or(coalesce(converted_at <= decided_at + $2::interval, false))        AS converted
    FROM (
        SELECT customer_id, held_out, decided_at, recovered_at, returned_at, converted_at
        FROM actions
        WHERE play = $1 AND held_out IS NOT NULL AND ($3::timestamptz IS NULL OR decided_at >= $3)
        UNION ALL
        -- Of a sequence from the beginning of the run on, for both groups.
        SELECT customer_id, held_out, started_at, recovered_at, returned_at, converted_at
        FROM sequence_runs
        WHERE play = $1 AND ($3::timestamptz IS NULL OR started_at >= $3)
    ) AS assigned
    GROUP BY customer_id
) AS customers
GROUP BY held_out
"""

ENDPOINTS = """
SELECT endpoint, disabled_at, disabled_reason,
       CASE WHEN disabled_at IS NULL THEN breaker ELSE 'disabled' END AS breaker,
       failures, failing_since, retry_after, last_error, last_error_at, updated_at
FROM endpoint_state
ORDER BY endpoint
"""

PENDING = """
SELECT endpoint, count(*) AS pending
FROM deliveries
WHERE status IN ('pending', 'delivering')
GROUP BY endpoint
"""


def _cursor(moment: datetime, ident: UUID) -> str:
    return base64.urlsafe_b64encode(f"{moment.isoformat()}|{ident}".encode()).decode()


def after_cursor(cursor: str) -> tuple[datetime, UUID]:
    """What a page begins after.

    Raises:
        BadCursorError: it was not made here.
    """
    try:
        moment, ident = base64.urlsafe_b64decode(cursor.encode()).decode().split("|")
        return datetime.fromisoformat(moment).astimezone(UTC), UUID(ident)
    except (ValueError, binascii.Error, UnicodeDecodeError):
        raise BadCursorError("cursor: take it from `next` of the page before, unchanged") from None


def page_of(rows: Sequence[asyncpg.Record], limit: int, moment: str, ident: str) -> Page:
    """A page of rows, of which one more than ``limit`` was asked for; the columns that they are in order of."""
    shown = rows[:limit]
    following = _cursor(shown[-1][moment], shown[-1][ident]) if len(rows) > limit else None
    return Page([plain(row) for row in shown], following)


def plain(row: asyncpg.Record) -> dict[str, Any]:
    """A row as JSON has it; an action's reason as it is published."""
    values = {name: _plain(value) for name, value in row.items()}
    if "reason_code" in values:
        values["reason"] = reason_text(values.pop("reason_code"), values["reason"])
    if "message" in values:
        values["message"] = orjson.loads(values["message"])
        if "unsubscribe_url" in values["message"]:
            # Anyone who has the link can use it.
            values["message"]["unsubscribe_url"] = values["message"]["unsubscribe_url"].rpartition("/")[0] + "/…"
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_wire(value)
    return str(value) if isinstance(value, UUID) else value


class PostgresQueries:
    """Implements :class:`~touchline_notifier.application.api_ports.Queries`: reads of the notifier's tables."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def _listed(
        self, statement: str, filters: Mapping[str, Any], order: tuple[str, str], cursor: str | None, limit: int
    ) -> list[asyncpg.Record]:
        """A list's rows, by the filters that are given alone: PostgreSQL then plans by their indexes, every time."""
        values: list[Any] = [limit]
        conditions = ["true"]
        for column, value in filters.items():
            if value is not None:
                values.append(value)
                conditions.append(f"{column} = ${len(values)}")
        if cursor is not None:
            values += after_cursor(cursor)
            conditions.append(f"({order[0]}, {order[1]}) < (${len(values) - 1}, ${len(values)})")
        return list(await self._pool.fetch(statement.format(conditions=" AND ".join(conditions)), *values))

    async def actions(
        self,
        *,
        customer_id: str | None = None,
        play: str | None = None,
        outcome: str | None = None,
        reason: str | None = None,
        lifecycle: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        filters = {
            "customer_id": customer_id, "play": play, "outcome": outcome, "reason_code": reason, "lifecycle": lifecycle,
        }  # fmt: skip
        rows = await self._listed(ACTIONS, filters, ("decided_at", "action_id"), cursor, limit + 1)
        return page_of(rows, limit, "decided_at", "action_id")

    async def action(self, ident: UUID) -> dict[str, Any] | None:
        row = await self._pool.fetchrow(ACTION, ident)
        if row is None:
            return None
        deliveries = await self._listed(DELIVERIES, {"action_id": ident}, ("created_at", "id"), None, 100)
        return {**plain(row), "deliveries": [plain(delivery) for delivery in deliveries]}

    async def deliveries(
        self,
        *,
        customer_id: str | None = None,
        status: str | None = None,
        endpoint: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        filters = {"customer_id": customer_id, "status": status, "endpoint": endpoint}
        rows = await self._listed(DELIVERIES, filters, ("created_at", "id"), cursor, limit + 1)
        return page_of(rows, limit, "created_at", "id")

    async def delivery(self, ident: UUID) -> dict[str, Any] | None:
        row = await self._pool.fetchrow(DELIVERY, ident)
        return None if row is None else plain(row)

    async def outcomes(self, play: str | None = None) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for row in await self._pool.fetch(OUTCOMES, play):
            counts = found.setdefault(row["play"], {"outcomes": {}, "reasons": {}})
            counts["outcomes"][row["outcome"]] = counts["outcomes"].get(row["outcome"], 0) + row["actions"]
            if row["reason_code"] and row["outcome"] in ("held", "cancelled", "failed"):
                counts["reasons"][row["reason_code"]] = counts["reasons"].get(row["reason_code"], 0) + row["actions"]
        return found

    async def results(self, play: str, within: timedelta, since: datetime | None) -> dict[str, dict[str, Group]]:
        rows = {row["held_out"]: row for row in await self._pool.fetch(RESULTS, play, within, since)}
        found: dict[str, dict[str, Group]] = {}
        for measure in ("recovered", "returned", "converted"):
            found[measure] = {
                name: Group(rows[held_out]["customers"], rows[held_out][measure]) if held_out in rows else Group(0, 0)
                for name, held_out in (("treated", False), ("held_out", True))
            }
        return found

    async def endpoints(self, configured: Mapping[str, Endpoint]) -> list[dict[str, Any]]:
        states = await self.endpoint_states()
        return [
            {
                "endpoint": name,
                "type": configured[name].type if name in configured else None,
                "configured": name in configured,
                "breaker": "closed",
                "disabled_at": None,
                "retry_after": None,
                "failures": 0,
                "last_error": None,
                "last_error_at": None,
                "pending": 0,
                **states.get(name, {}),
            }
            for name in sorted({*configured, *states})
        ]

    async def endpoint_states(self) -> dict[str, dict[str, Any]]:
        states = {row["endpoint"]: plain(row) for row in await self._pool.fetch(ENDPOINTS)}
        for row in await self._pool.fetch(PENDING):
            states.setdefault(row["endpoint"], {"endpoint": row["endpoint"]})["pending"] = row["pending"]
        return states
