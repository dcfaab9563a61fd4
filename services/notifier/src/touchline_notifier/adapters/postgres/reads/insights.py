"""Figures about actions and deliveries, and what is known about one customer."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from touchline_schemas.times import to_wire

from touchline_notifier.adapters.postgres.customers import Customers
from touchline_notifier.adapters.postgres.reads.queries import plain
from touchline_notifier.adapters.postgres.reads.sequences import sequences_of
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_notifier.core.profiles.profile import Profile
from touchline_notifier.core.profiles.sending_rule import Person, Way, objections

# Actions by outcome, in a span and in the one before it.
TOTALS = """
SELECT outcome, count(*) FILTER (WHERE decided_at >= $2) AS actions, count(*) FILTER (WHERE decided_at < $2) AS before
FROM actions
WHERE decided_at >= $1 AND decided_at < $3
GROUP BY outcome
"""
REASONS = """
SELECT reason_code, count(*) AS actions
FROM actions
WHERE decided_at >= $1 AND decided_at < $2 AND outcome IN ('held', 'cancelled', 'failed') AND reason_code IS NOT NULL
GROUP BY reason_code
ORDER BY actions DESC, reason_code
"""

# One play: how many facts concerned it, and what became of them, in a span.
PLAY = """
SELECT count(*) AS facts,
       count(*) FILTER (WHERE outcome IN ('decided', 'sent', 'failed')) AS decided,
       count(*) FILTER (WHERE outcome = 'sent') AS sent,
       count(*) FILTER (WHERE outcome = 'sent' AND recovered_at IS NOT NULL) AS recovered,
       count(*) FILTER (WHERE outcome = 'sent' AND returned_at IS NOT NULL) AS returned,
       count(*) FILTER (WHERE outcome = 'sent' AND converted_at IS NOT NULL) AS converted
FROM actions
WHERE play = $1 AND decided_at >= $2 AND decided_at < $3
"""
# What was done with its mails: actions that humans, and machines, opened or clicked in.
PLAY_MAILS = """
SELECT event.kind, event.machine, count(DISTINCT event.action_id) AS actions
FROM mail_events AS event JOIN actions AS action USING (action_id)
WHERE event.judged AND action.play = $1 AND action.decided_at >= $2 AND action.decided_at < $3
GROUP BY event.kind, event.machine
"""
PLAY_LINKS = """
SELECT event.link AS number, event.name, count(DISTINCT event.action_id) AS clicked
FROM mail_events AS event JOIN actions AS action USING (action_id)
WHERE event.judged AND NOT event.machine AND event.kind = 'clicked'
  AND action.play = $1 AND action.decided_at >= $2 AND action.decided_at < $3
GROUP BY event.link, event.name
ORDER BY clicked DESC, number, event.name
LIMIT 50
"""
PLAY_RUNS = """
-- Of a sequence, what came of its runs.
SELECT count(*) FILTER (WHERE recovered_at IS NOT NULL) AS recovered,
       count(*) FILTER (WHERE returned_at IS NOT NULL) AS returned,
       count(*) FILTER (WHERE converted_at IS NOT NULL) AS converted
FROM sequence_runs
WHERE play = $1 AND started_at >= $2 AND started_at < $3 AND end_code IS DISTINCT FROM 'hold_out'
"""
PLAY_REASONS = """
SELECT outcome, reason_code, count(*) AS actions
FROM actions
WHERE play = $1 AND decided_at >= $2 AND decided_at < $3 AND reason_code IS NOT NULL
GROUP BY outcome, reason_code
ORDER BY actions DESC, reason_code
"""
PLAY_DAYS = """
SELECT to_char(decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, count(*) FILTER (WHERE outcome = 'sent') AS sent,
       count(*) FILTER (WHERE outcome = 'held') AS held
FROM actions
WHERE play = $1 AND decided_at >= $2 AND decided_at < $3
GROUP BY 1
ORDER BY 1
"""

ATTEMPTS = """
SELECT attempt, at, endpoint, result, status, milliseconds, error, answer
FROM delivery_attempts WHERE delivery_id = $1 ORDER BY at
"""

# How endpoints answered in a span.
ENDPOINTS = """
SELECT endpoint, count(*) AS attempts, count(*) FILTER (WHERE result = 'sent') AS succeeded,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY milliseconds) AS median_milliseconds,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY milliseconds) AS p95_milliseconds, max(at) AS last_at
FROM delivery_attempts
WHERE at >= $1
GROUP BY endpoint
"""
ENDPOINT_FAILURES = """
SELECT endpoint, coalesce(status::text, error) AS reason, count(*) AS attempts
FROM delivery_attempts
WHERE at >= $1 AND result <> 'sent'
GROUP BY endpoint, reason
ORDER BY attempts DESC
LIMIT 200
"""

PROFILE = """
SELECT p.customer_id, p.profile, p.updated_at
FROM profiles p
WHERE p.customer_id = coalesce((SELECT a.customer_id FROM aliases a WHERE a.old_key = $1), $1)
"""

POSITIONS = """
SELECT stream, partition, epoch, next_touchpoint, next_fact, owner_started FROM positions ORDER BY stream, partition
"""
WAITING = """
SELECT (SELECT count(*) FROM outbox) AS outbox_waiting,
       (SELECT count(*) FROM deliveries WHERE status IN ('pending', 'delivering')) AS deliveries_pending,
       (SELECT count(*) FROM deliveries WHERE status IN ('pending', 'delivering') AND next_attempt_at <= now())
           AS deliveries_due,
       (SELECT count(*) FROM actions WHERE decide_at IS NOT NULL) AS actions_waiting
"""


class PostgresInsights:
    """Reads of the notifier's tables.

    Args:
        topics: the consent channels of the plays in force, and the ways of their messages.
    """

    def __init__(
        self, pool: asyncpg.Pool, hashes: Hashes, topics: Callable[[], Mapping[str, frozenset[Way]]] = dict
    ) -> None:
        self._pool = pool
        self._hashes = hashes
        self._topics = topics

    async def totals(self, since: datetime, until: datetime) -> dict[str, Any]:
        """Actions by outcome; ``before``: in the span of the same length before."""
        before = max(since - (until - since), datetime.min.replace(tzinfo=since.tzinfo))
        rows = await self._pool.fetch(TOTALS, before, since, until)
        outcomes = {row["outcome"]: row["actions"] for row in rows}
        earlier = {row["outcome"]: row["before"] for row in rows}
        reasons = {row["reason_code"]: row["actions"] for row in await self._pool.fetch(REASONS, since, until)}
        names = ("decided", "sent", "held", "held_out", "failed", "cancelled")
        return {
            **{name: outcomes.get(name, 0) for name in names},
            **{f"{name}_before": earlier.get(name, 0) for name in names},
            "reasons": reasons,
        }

    async def play(self, name: str, since: datetime, until: datetime) -> dict[str, Any]:
        """A play's funnel, what was done with its mails, what held its actions back, and its days."""
        row = await self._pool.fetchrow(PLAY, name, since, until)
        runs = await self._pool.fetchrow(PLAY_RUNS, name, since, until)
        funnel = {} if row is None else dict(row.items())
        for measure, people in runs.items() if runs is not None else ():
            funnel[measure] = funnel.get(measure, 0) + people
        reasons = await self._pool.fetch(PLAY_REASONS, name, since, until)
        days = await self._pool.fetch(PLAY_DAYS, name, since, until)
        events = await self._pool.fetch(PLAY_MAILS, name, since, until)
        mails = {(one["kind"], one["machine"]): one["actions"] for one in events}
        links = await self._pool.fetch(PLAY_LINKS, name, since, until)
        return {
            "funnel": funnel,
            "mails": {
                **{kind: mails.get((kind, False), 0) for kind in ("opened", "clicked")},
                "machines": {kind: mails.get((kind, True), 0) for kind in ("opened", "clicked")},
                "links": [dict(one.items()) for one in links],
            },
            "reasons": [dict(one.items()) for one in reasons],
            "days": [dict(day.items()) for day in days],
        }

    async def attempts(self, delivery: UUID) -> list[dict[str, Any]]:
        """Every attempt of a delivery, in order."""
        return [plain(row) for row in await self._pool.fetch(ATTEMPTS, delivery)]

    async def endpoints(self, since: datetime, configured: Mapping[str, Endpoint]) -> list[dict[str, Any]]:
        """How each endpoint answered since an instant."""
        rows = {row["endpoint"]: plain(row) for row in await self._pool.fetch(ENDPOINTS, since)}
        failures: dict[str, list[dict[str, Any]]] = {}
        for row in await self._pool.fetch(ENDPOINT_FAILURES, since):
            failures.setdefault(row["endpoint"], []).append({"reason": row["reason"], "attempts": row["attempts"]})
        nothing = {
            "attempts": 0, "succeeded": 0, "median_milliseconds": None, "p95_milliseconds": None, "last_at": None,
        }  # fmt: skip
        return [
            {"endpoint": name, **nothing, **rows.get(name, {}), "failures": failures.get(name, [])}
            for name in sorted({*configured, *rows})
        ]

    async def profile(self, key: str) -> dict[str, Any] | None:
        """Traits, consent and suppressions of the customer a key belongs to, and what they get; None where nothing is
        known.
        """
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow(PROFILE, key)
            if row is None:
                return None
            profile = Profile.from_row(orjson.loads(row["profile"]), row["customer_id"])
            customers, address = Customers(connection, self._hashes, 0), profile.email
            stored = (await customers.suppressions([address])).get(address) if address is not None else None
            sequences = await sequences_of(connection, row["customer_id"])
        person = Person(profile, address, stored)
        view = profile.view()
        channels = sorted(name[8:] for name in profile.values if name.startswith("consent."))
        return {
            "customer_id": row["customer_id"],
            "email": view["email"],
            "time_zone": view["time_zone"],
            "locale": view["locale"],
            "traits": view["traits"],
            "consent": {channel: bool(profile.consent(channel)) for channel in channels},
            "suppressions": _suppressions(person),
            "messages": [_message(person, way) for of in self._topics().values() for way in sorted(of)],
            "sequences": sequences,
            "updated_at": plain(row)["updated_at"],
        }

    async def waiting(self) -> dict[str, Any]:
        """What waits, and how far each partition has been read."""
        row = await self._pool.fetchrow(WAITING)
        positions = [plain(one) for one in await self._pool.fetch(POSITIONS)]
        return {**(dict(row.items()) if row is not None else {}), "partitions": positions}


def _suppressions(person: Person) -> list[dict[str, Any]]:
    """What stands against the customer's address, the first reason first."""
    found = person.suppressions.in_force if person.suppressions is not None else []
    reasons: dict[str, datetime | None] = dict(found)
    if person.block is not None:
        reasons.setdefault(person.block, person.profile.trouble_at)
    return [
        {"address": person.address, "reason": reason, "since": to_wire(since) if since is not None else None}
        for reason, since in reasons.items()
    ]


def _message(person: Person, way: Way) -> dict[str, Any]:
    """Whether messages that go a way are sent to the customer, and why not."""
    objection = next(objections(person, way), None)
    return {
        "topic": way.topic,
        "channel": way.carrier or None,
        "consent": "required" if way.required else "not_refused",
        "sent": objection is None,
        "reason": None if objection is None else f"{objection.code}: {objection.text}",
    }
