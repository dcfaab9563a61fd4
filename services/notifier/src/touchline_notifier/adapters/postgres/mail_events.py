"""Opens and clicks of mails in PostgreSQL, with a time limit on every access."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
from touchline_runtime.database.faults import UNREACHABLE
from touchline_runtime.errors import Unavailable
from touchline_schemas.partitions import partition_of

from touchline_notifier.adapters.postgres import decision_statements as sql
from touchline_notifier.adapters.postgres import outbox
from touchline_notifier.adapters.postgres.outbox import Connection
from touchline_notifier.core.decisions.outbox_records import touchpoint_event
from touchline_notifier.core.tracking.events import SETTLING, MailAction, MailEvent, done_by_machine, touchpoint_of

_TIMEOUT_SECONDS = 10.0
_MOST_EVENTS = 200
"""Of one action. More say nothing, and an old link may be fetched for ever."""

RECORD = """
-- Only of actions that exist: those of erased customers are gone. The order prevents deadlocks.
INSERT INTO mail_events (action_id, kind, link, window_start, machine, by_agent, name, url, occurred_at)
SELECT new.action_id, new.kind, new.link, new.window_start, new.machine, new.machine, new.name, new.url, new.at
FROM unnest($1::uuid[], $2::text[], $3::int[], $4::timestamptz[], $5::boolean[], $6::text[], $7::text[],
            $8::timestamptz[]) AS new(action_id, kind, link, window_start, machine, name, url, at)
JOIN actions USING (action_id)
WHERE (SELECT count(*) FROM mail_events AS there WHERE there.action_id = new.action_id) < $9
ORDER BY new.action_id, new.kind, new.link, new.window_start, new.machine, new.at
FOR KEY SHARE OF actions
ON CONFLICT DO NOTHING
"""

UNJUDGED = """
-- Several processes share the work. An erasure of the customer waits, or has deleted the row.
SELECT event.action_id, event.kind, event.link, event.window_start, event.machine, event.name, event.url,
       event.occurred_at, action.customer_id, action.play, action.lifecycle, action.stage, action.endpoint,
       CASE WHEN action.outcome = 'sent' THEN action.finished_at END AS accepted_at
FROM mail_events AS event
JOIN actions AS action USING (action_id)
WHERE NOT event.judged AND event.occurred_at <= $1
ORDER BY event.occurred_at, event.action_id
LIMIT $2
FOR UPDATE OF event SKIP LOCKED
FOR KEY SHARE OF action
"""

CLICKS = """
SELECT action_id, link, occurred_at FROM mail_events
WHERE action_id = ANY($1) AND kind = 'clicked' AND NOT by_agent
"""

JUDGED = """
UPDATE mail_events SET judged = true, machine = $6
WHERE action_id = $1 AND kind = $2 AND link = $3 AND window_start = $4 AND machine = $5
"""

TWIN = """
SELECT 1 FROM mail_events
WHERE action_id = $1 AND kind = $2 AND link = $3 AND window_start = $4 AND machine
"""

FORGET = """
DELETE FROM mail_events WHERE action_id = $1 AND kind = $2 AND link = $3 AND window_start = $4 AND NOT machine
"""


class PostgresMailEvents:
    """Implements :class:`~touchline_notifier.application.tracking.MailEventLog`."""

    def __init__(self, pool: asyncpg.Pool, partitions: int) -> None:
        self._pool = pool
        self._partitions = partitions

    async def record(self, events: Sequence[MailEvent]) -> None:
        columns = zip(
            *(
                (one.action_id, one.kind, one.number, one.window, one.machine, one.name, one.url, one.at)
                for one in events
            ),
            strict=True,
        )
        async with self._connection() as connection:
            await connection.execute(RECORD, *(list(column) for column in columns), _MOST_EVENTS)

    async def judge(self, now: datetime, at_most: int) -> list[tuple[MailEvent, bool]]:
        judged = []
        async with self._connection() as connection, connection.transaction():
            rows = await connection.fetch(UNJUDGED, now - SETTLING, at_most)
            clicks = await self._clicks(connection, rows)
            for row in rows:
                event, action = _event(row), _action(row)
                machine = done_by_machine(event, action, clicks.get(event.action_id, ()))
                if await self._settle(connection, event, machine=machine):
                    published = touchpoint_event(touchpoint_of(event, action, machine=machine))
                    await outbox.append(connection, partition_of(action.customer_id, self._partitions), [published])
                    judged.append((event, machine))
        return judged

    async def link_keys(self) -> list[bytes]:
        async with self._connection() as connection:
            return [bytes(row["key"]) for row in await connection.fetch(sql.LINK_KEYS)]

    async def _clicks(
        self, connection: Connection, rows: Sequence[asyncpg.Record]
    ) -> Mapping[str, list[tuple[int, datetime]]]:
        found: dict[str, list[tuple[int, datetime]]] = {}
        if rows:
            for row in await connection.fetch(CLICKS, sorted({row["action_id"] for row in rows})):
                found.setdefault(str(row["action_id"]), []).append((row["link"], row["occurred_at"]))
        return found

    async def _settle(self, connection: Connection, event: MailEvent, *, machine: bool) -> bool:
        """Note the verdict; whether the event has a touchpoint of its own.

        What is found to be a machine's makes room for a human who does the same in the same piece of the clock.
        """
        key = (event.action_id, event.kind, event.number, event.window)
        if machine and not event.machine and await connection.fetchval(TWIN, *key):
            await connection.execute(FORGET, *key)
            return False
        await connection.execute(JUDGED, *key, event.machine, machine)
        return True

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS), self._pool.acquire() as connection:
                yield connection
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            raise Unavailable(f"the database does not answer: {type(error).__name__}") from None


def _event(row: asyncpg.Record) -> MailEvent:
    return MailEvent(
        str(row["action_id"]), row["kind"], row["occurred_at"], row["machine"], row["link"], row["name"], row["url"]
    )


def _action(row: asyncpg.Record) -> MailAction:
    return MailAction(
        row["customer_id"], row["play"], row["lifecycle"], row["stage"], row["endpoint"], row["accepted_at"]
    )
