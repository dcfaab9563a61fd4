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

from touchline_notifier.core.book import said
from touchline_notifier.core.endpoints import Endpoint
from touchline_notifier.core.hold_out import Group
from touchline_notifier.core.ports import BadCursorError, Page

ACTIONS = """
SELECT action_id, play, fact_id, fact_type, customer_id, lifecycle, stage, channel, endpoint, outcome, reason_code,
       reason, fact_at, decide_at, decided_at, finished_at, recovered_at, returned_at, converted_at
FROM actions
WHERE ($1::text IS NULL OR customer_id = $1)
  AND ($2::text IS NULL OR play = $2)
  AND ($3::text IS NULL OR outcome = $3)
  AND ($4::text IS NULL OR reason_code = $4)
  AND ($5::text IS NULL OR lifecycle = $5)
  AND ($6::timestamptz IS NULL OR (decided_at, action_id) < ($6, $7::uuid))
ORDER BY decided_at DESC, action_id DESC
LIMIT $8
"""

ACTION = """
SELECT action_id, play, fact_id, fact_type, customer_id, lifecycle, stage, channel, endpoint, outcome, reason_code,
       reason, fact_at, decide_at, decided_at, finished_at, recovered_at, returned_at, converted_at
FROM actions
WHERE action_id = $1
"""

DELIVERIES = """
SELECT id, kind, action_id, fact_id, customer_id, channel, endpoint, status, attempts, next_attempt_at, first_before,
       last_error, last_status, created_at, finished_at
FROM deliveries
WHERE ($1::text IS NULL OR customer_id = $1)
  AND ($2::text IS NULL OR status = $2)
  AND ($3::text IS NULL OR endpoint = $3)
  AND ($4::uuid IS NULL OR action_id = $4)
  AND ($5::timestamptz IS NULL OR (created_at, id) < ($5, $6::uuid))
ORDER BY created_at DESC, id DESC
LIMIT $7
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
-- A customer counts once for a play, from their first action on: what came later may be due to it.
SELECT held_out,
       count(*)                                   AS customers,
       count(*) FILTER (WHERE recovered)          AS recovered,
       count(*) FILTER (WHERE returned)           AS returned,
       count(*) FILTER (WHERE converted)          AS converted
FROM (
    SELECT customer_id,
           bool_or(outcome = 'held_out')                                              AS held_out,
           bool_or(coalesce(recovered_at <= decided_at + $2::interval, false))        AS recovered,
           bool_or(coalesce(returned_at <= decided_at + $2::interval, false))         AS returned,
           bool_or(coalesce(converted_at <= decided_at + $2::interval, false))        AS converted
    FROM actions
    WHERE play = $1 AND outcome IN ('sent', 'held_out') AND ($3::timestamptz IS NULL OR decided_at >= $3)
    GROUP BY customer_id
) AS customers
GROUP BY held_out
"""

ENDPOINTS = """
SELECT endpoint, disabled_at, disabled_reason, breaker, failures, failing_since, retry_after, updated_at
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


def _after(cursor: str | None) -> tuple[datetime | None, UUID | None]:
    if cursor is None:
        return None, None
    try:
        moment, ident = base64.urlsafe_b64decode(cursor.encode()).decode().split("|")
        return datetime.fromisoformat(moment).astimezone(UTC), UUID(ident)
    except (ValueError, binascii.Error, UnicodeDecodeError):
        raise BadCursorError("cursor: take it from `next` of the page before, unchanged") from None


def _page(rows: Sequence[asyncpg.Record], limit: int, moment: str, ident: str) -> Page:
    shown = rows[:limit]
    following = _cursor(shown[-1][moment], shown[-1][ident]) if len(rows) > limit else None
    return Page([plain(row) for row in shown], following)


def plain(row: asyncpg.Record) -> dict[str, Any]:
    """A row as JSON has it; an action's reason as it is published."""
    values = {name: _plain(value) for name, value in row.items()}
    if "reason_code" in values:
        values["reason"] = said(values.pop("reason_code"), values["reason"])
    if "message" in values:
        values["message"] = orjson.loads(values["message"])
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_wire(value)
    return str(value) if isinstance(value, UUID) else value


class Queries:
    """Reads of the notifier's tables."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

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
        """Actions, the newest decision first."""
        rows = await self._pool.fetch(
            ACTIONS, customer_id, play, outcome, reason, lifecycle, *_after(cursor), limit + 1
        )
        return _page(rows, limit, "decided_at", "action_id")

    async def action(self, ident: UUID) -> dict[str, Any] | None:
        """One action with its deliveries."""
        row = await self._pool.fetchrow(ACTION, ident)
        if row is None:
            return None
        deliveries = await self._pool.fetch(DELIVERIES, None, None, None, ident, None, None, 100)
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
        """Deliveries, the newest first."""
        rows = await self._pool.fetch(DELIVERIES, customer_id, status, endpoint, None, *_after(cursor), limit + 1)
        return _page(rows, limit, "created_at", "id")

    async def delivery(self, ident: UUID) -> dict[str, Any] | None:
        """One delivery with its message."""
        row = await self._pool.fetchrow(DELIVERY, ident)
        return None if row is None else plain(row)

    async def outcomes(self, play: str | None = None) -> dict[str, dict[str, Any]]:
        """play → how many actions of each outcome, and of those held back by reason."""
        found: dict[str, dict[str, Any]] = {}
        for row in await self._pool.fetch(OUTCOMES, play):
            counts = found.setdefault(row["play"], {"outcomes": {}, "reasons": {}})
            counts["outcomes"][row["outcome"]] = counts["outcomes"].get(row["outcome"], 0) + row["actions"]
            if row["reason_code"] and row["outcome"] in ("held", "cancelled", "failed"):
                counts["reasons"][row["reason_code"]] = counts["reasons"].get(row["reason_code"], 0) + row["actions"]
        return found

    async def results(self, play: str, within: timedelta, since: datetime | None) -> dict[str, dict[str, Group]]:
        """measure (recovered, returned, converted) → treated and held_out."""
        rows = {row["held_out"]: row for row in await self._pool.fetch(RESULTS, play, within, since)}
        found: dict[str, dict[str, Group]] = {}
        for measure in ("recovered", "returned", "converted"):
            found[measure] = {
                name: Group(rows[held_out]["customers"], rows[held_out][measure]) if held_out in rows else Group(0, 0)
                for name, held_out in (("treated", False), ("held_out", True))
            }
        return found

    async def endpoints(self, configured: Mapping[str, Endpoint]) -> list[dict[str, Any]]:
        """Every endpoint that is configured or known from before: what was learnt about it, and how much waits."""
        states = await self.endpoint_states()
        return [
            {
                "endpoint": name,
                "type": configured[name].type if name in configured else None,
                "configured": name in configured,
                "breaker": "closed",
                "disabled_at": None,
                "pending": 0,
                **states.get(name, {}),
            }
            for name in sorted({*configured, *states})
        ]

    async def endpoint_states(self) -> dict[str, dict[str, Any]]:
        """endpoint → what was learnt about it, and how much waits for it."""
        states = {row["endpoint"]: plain(row) for row in await self._pool.fetch(ENDPOINTS)}
        for row in await self._pool.fetch(PENDING):
            states.setdefault(row["endpoint"], {"endpoint": row["endpoint"]})["pending"] = row["pending"]
        return states
