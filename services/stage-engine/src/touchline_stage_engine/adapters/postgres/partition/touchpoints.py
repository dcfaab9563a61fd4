"""Stored touchpoints, copies of conflicting contents, and outcomes in PostgreSQL."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any

import asyncpg

from touchline_stage_engine.adapters.postgres.partition.row_copies import RowCopies
from touchline_stage_engine.application.batches.changes import (
    TOUCHPOINT_COLUMNS,
    read_arrival,
    read_touchpoint,
    touchpoint_row,
)
from touchline_stage_engine.application.batches.conflicting_contents import content
from touchline_stage_engine.application.batches.folding import END, START
from touchline_stage_engine.application.batches.touchpoint_outcomes import NotedOutcome, Outcome
from touchline_stage_engine.application.values import READ_AT_ONCE, LinkingTouchpoint, TouchpointRange
from touchline_stage_engine.core.decoding import Arrival
from touchline_stage_engine.core.touchpoint import Order, Touchpoint

# Which of these are stored already, with everything needed to compare contents.
FIND_TOUCHPOINTS = """
SELECT t.*
FROM unnest($1::bigint[], $2::text[]) AS asked (hash, customer_id)
JOIN touchpoints t USING (hash, customer_id)
"""

DELETE_TOUCHPOINTS = """
DELETE FROM touchpoints t
USING unnest($1::bigint[], $2::text[]) AS gone (hash, customer_id)
WHERE t.hash = gone.hash AND t.customer_id = gone.customer_id
"""

COUNT_TOUCHPOINTS = "SELECT count(*), max(occurred_at) FROM touchpoints WHERE customer_id = $1"

LAST_TOUCHPOINT = """
SELECT occurred_at, id, source
FROM touchpoints
WHERE customer_id = $1 AND flags & 1 = 0
ORDER BY occurred_at DESC, id DESC, source DESC
LIMIT 1
"""

# A customer's touchpoints in order, after one place in it and up to another.
TOUCHPOINTS_BETWEEN = """
SELECT occurred_at, id, source, hash, type, channel, flags, received_at, properties, identifiers, original_key
FROM touchpoints
WHERE customer_id = $1
  AND occurred_at >= $2
  AND (occurred_at, id, source) > ($2, $3, $4)
  AND occurred_at <= $5
  AND (occurred_at, id, source) <= ($5, $6, $7)
ORDER BY occurred_at, id, source
LIMIT $8
"""

# The same for several customers at once, no more than a chunk of each.
TOUCHPOINTS_BETWEEN_OF_MANY = """
SELECT t.*
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[]) WITH ORDINALITY
    AS asked (customer_id, after_at, after_id, after_source, at, id, source, no)
JOIN LATERAL (
    SELECT *
    FROM touchpoints
    WHERE customer_id = asked.customer_id
      AND occurred_at >= asked.after_at
      AND (occurred_at, id, source) > (asked.after_at, asked.after_id, asked.after_source)
      AND occurred_at <= asked.at
      AND (occurred_at, id, source) <= (asked.at, asked.id, asked.source)
    ORDER BY occurred_at, id, source
    LIMIT $8
) t ON true
ORDER BY asked.no, t.occurred_at, t.id, t.source
"""

# The identifiers in a key's own contents, including those where another key's content counts.
LINKS_MADE = """
SELECT occurred_at, id, source, identifiers, received_at,
       CASE WHEN type = 'aliased' THEN properties ->> 'previous_id' END AS previous_id
FROM touchpoints
WHERE customer_id = $1 AND original_key IS NULL AND identifiers IS NOT NULL AND flags & 1 = 0
UNION ALL
SELECT c.occurred_at, c.id, c.source, c.identifiers, c.received_at,
       CASE WHEN c.type = 'aliased' THEN c.properties ->> 'previous_id' END
FROM copies c
WHERE c.customer_id = $1 AND c.original_key = $1 AND c.identifiers IS NOT NULL AND c.flags & 1 = 0
  AND NOT EXISTS (
      SELECT FROM touchpoints t WHERE t.hash = c.hash AND t.customer_id = $1 AND t.original_key IS NULL
  )
"""

# What keys have handed over to customers: pairs of them.
FIND_TOUCHPOINTS_OF_KEYS = """
SELECT t.hash, t.customer_id
FROM unnest($1::text[], $2::text[]) AS gone (customer_id, alias)
JOIN touchpoints t ON t.customer_id = gone.customer_id AND t.original_key = gone.alias
"""

DELETE_TOUCHPOINTS_OF_KEYS = """
DELETE FROM touchpoints t
USING unnest($1::text[], $2::text[]) AS gone (customer_id, alias)
WHERE t.customer_id = gone.customer_id AND t.original_key = gone.alias
RETURNING t.customer_id
"""

FIND_COPIES = """
SELECT c.*
FROM unnest($1::bigint[], $2::text[]) AS asked (hash, customer_id)
JOIN copies c USING (hash, customer_id)
"""

# A key's own contents where another key's counts.
OWN_COPIES = """
SELECT c.*
FROM copies c
WHERE c.customer_id = $1 AND c.original_key = $1
  AND NOT EXISTS (
      SELECT FROM touchpoints t WHERE t.hash = c.hash AND t.customer_id = $1 AND t.original_key IS NULL
  )
"""

SAVE_COPIES = """
INSERT INTO copies (
    customer_id, hash, original_key, digest, occurred_at, id, source, type, channel, flags, received_at, properties,
    identifiers
)
SELECT *
FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::bytea[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::smallint[], $11::bigint[], $12::json[], $13::json[]
)
ON CONFLICT (customer_id, hash, original_key) DO UPDATE SET
    digest = excluded.digest,
    occurred_at = excluded.occurred_at,
    type = excluded.type,
    channel = excluded.channel,
    flags = excluded.flags,
    received_at = excluded.received_at,
    properties = excluded.properties,
    identifiers = excluded.identifiers
WHERE (excluded.occurred_at, excluded.digest) < (copies.occurred_at, copies.digest)
"""

DELETE_COPIES_OF_KEYS = """
DELETE FROM copies c
USING unnest($1::text[], $2::text[]) AS gone (customer_id, alias)
WHERE c.customer_id = gone.customer_id AND c.original_key = gone.alias
"""

REMOVE_ALIASES = """
DELETE FROM aliases a
USING unnest($1::text[], $2::text[]) AS gone (customer_id, alias)
WHERE a.customer_id = gone.customer_id AND a.alias = gone.alias
"""

SAVE_OUTCOMES = """
INSERT INTO touchpoint_outcomes (partition, hash, outcome, times, at, reason, fields, origin)
SELECT $1, hash, outcome, times, $2, reason, fields, origin
FROM unnest($3::bigint[], $4::text[], $5::int[], $6::text[], $7::text[], $8::text[])
    AS o (hash, outcome, times, reason, fields, origin)
ON CONFLICT (hash, outcome, partition) DO UPDATE SET
    times = touchpoint_outcomes.times + excluded.times,
    at = excluded.at,
    reason = excluded.reason,
    fields = excluded.fields,
    origin = excluded.origin
"""

# Old outcomes, some at a time. They say nothing that a successor could need, so this needs no fence.
TRIM_OUTCOMES = """
DELETE FROM touchpoint_outcomes
WHERE ctid = ANY (ARRAY(SELECT ctid FROM touchpoint_outcomes WHERE partition = $1 AND at < $2 ORDER BY at LIMIT $3))
"""


class PostgresTouchpoints:
    """Implements `ports.TouchpointTable`."""

    def __init__(self, connection: asyncpg.Connection, copies: RowCopies, partition: int) -> None:
        self._connection = connection
        self._copies = copies
        self._partition = partition

    async def find(self, pairs: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Arrival]:
        if not pairs:
            return {}
        rows = await self._connection.fetch(FIND_TOUCHPOINTS, *_columns(pairs))
        return {(row["hash"], row["customer_id"]): read_arrival(row, row["customer_id"]) for row in rows}

    async def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            await self._copies.copy("touchpoints", rows, TOUCHPOINT_COLUMNS)

    async def delete(self, pairs: Sequence[tuple[int, str]]) -> None:
        if pairs:
            await self._connection.execute(DELETE_TOUCHPOINTS, *_columns(pairs))

    async def count(self, customer_id: str) -> tuple[int, int | None]:
        row = await self._connection.fetchrow(COUNT_TOUCHPOINTS, customer_id)
        assert row is not None, "a count has a row"
        return row[0], row[1]

    async def last_order(self, customer_id: str) -> Order | None:
        row = await self._connection.fetchrow(LAST_TOUCHPOINT, customer_id)
        return None if row is None else (row["occurred_at"], row["id"], row["source"])

    async def first_of(self, ranges: Sequence[TouchpointRange]) -> dict[str, list[Touchpoint]]:
        rows = await self._connection.fetch(
            TOUCHPOINTS_BETWEEN_OF_MANY,
            [asked.customer_id for asked in ranges],
            [asked.after[0] for asked in ranges],
            [asked.after[1] for asked in ranges],
            [asked.after[2] for asked in ranges],
            [asked.through[0] for asked in ranges],
            [asked.through[1] for asked in ranges],
            [asked.through[2] for asked in ranges],
            READ_AT_ONCE,
        )
        found: dict[str, list[Touchpoint]] = {}
        for row in rows:
            found.setdefault(row["customer_id"], []).append(read_touchpoint(row))
        return found

    async def between(self, asked: TouchpointRange) -> AsyncGenerator[list[Touchpoint], None]:
        async for rows in self._rows(asked):
            yield [read_touchpoint(row) for row in rows]

    async def filed_under(self, key: str) -> AsyncGenerator[list[Arrival], None]:
        async for rows in self._rows(TouchpointRange(key, START, END)):
            yield [read_arrival(row, key) for row in rows if row["original_key"] is None]

    async def _rows(self, asked: TouchpointRange) -> AsyncGenerator[list[Any], None]:
        customer_id, after, through = asked
        while True:
            rows = await self._connection.fetch(TOUCHPOINTS_BETWEEN, customer_id, *after, *through, READ_AT_ONCE)
            if rows:
                yield rows
                last = rows[-1]
                after = (last["occurred_at"], last["id"], last["source"])
            if len(rows) < READ_AT_ONCE:
                return

    async def linking(self, key: str) -> list[LinkingTouchpoint]:
        return [LinkingTouchpoint(*row) for row in await self._connection.fetch(LINKS_MADE, key)]

    async def find_transferred(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[int, str]]:
        rows = await self._connection.fetch(FIND_TOUCHPOINTS_OF_KEYS, *_columns(pairs))
        return [(row["hash"], row["customer_id"]) for row in rows]

    async def find_copies(self, touchpoints: Iterable[tuple[int, str]]) -> list[tuple[str, Arrival]]:
        rows = await self._connection.fetch(FIND_COPIES, *_columns(touchpoints))
        return [(row["customer_id"], read_arrival(row, row["customer_id"])) for row in rows]

    async def delete_transferred(self, pairs: Iterable[tuple[str, str]]) -> list[str]:
        columns = _columns(pairs)
        deleted = await self._connection.fetch(DELETE_TOUCHPOINTS_OF_KEYS, *columns)
        await self._connection.execute(DELETE_COPIES_OF_KEYS, *columns)
        await self._connection.execute(REMOVE_ALIASES, *columns)
        return [row["customer_id"] for row in deleted]

    async def save_copies(self, copies: Mapping[tuple[str, int, str], Arrival]) -> None:
        if copies:
            rows = [(*key, content(arrival)[1], *_copy_columns(arrival)) for key, arrival in copies.items()]
            await self._connection.execute(SAVE_COPIES, *map(list, zip(*rows, strict=True)))

    async def own_copies(self, key: str) -> list[Arrival]:
        return [read_arrival(row, key) for row in await self._connection.fetch(OWN_COPIES, key)]

    async def save_outcomes(self, outcomes: Mapping[tuple[int, Outcome], NotedOutcome], now: int) -> None:
        if outcomes:
            rows = [(*key, *noted) for key, noted in outcomes.items()]
            columns = map(list, zip(*rows, strict=True))
            await self._connection.execute(SAVE_OUTCOMES, self._partition, now, *columns)

    async def trim_outcomes(self, before: int, limit: int) -> int:
        status = await self._connection.execute(TRIM_OUTCOMES, self._partition, before, limit)
        # "DELETE 3"
        return int(status.rpartition(" ")[2])


def _columns(pairs: Iterable[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    pairs = list(pairs)
    return [first for first, _ in pairs], [second for _, second in pairs]


def _copy_columns(arrival: Arrival) -> Sequence[object]:
    _, at, id_, source, _, type_, channel, flags, received_at, properties, identifiers, _ = touchpoint_row("", arrival)
    return (at, id_, source, type_, channel, flags, received_at, properties, identifiers)
