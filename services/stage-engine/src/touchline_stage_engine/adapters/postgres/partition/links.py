"""Links between keys, shared keys and identity conflicts in PostgreSQL."""

import asyncio
from collections.abc import Sequence

import asyncpg
import orjson

from touchline_stage_engine.application.batches.changes import YIELD_EVERY, Changes
from touchline_stage_engine.core.identity.links import KeyIdentity, Link

LINKS_OF = "SELECT key, other, link FROM links WHERE key = ANY ($1::text[])"

LINKS_BETWEEN = """
SELECT l.key, l.other, l.link
FROM unnest($1::text[], $2::text[]) AS asked (key, other)
JOIN links l USING (key, other)
"""

SAVE_LINKS = """
INSERT INTO links (partition, key, other, link)
SELECT $1, *
FROM unnest($2::text[], $3::text[], $4::bytea[])
ON CONFLICT (key, other) DO UPDATE SET link = excluded.link
"""

DELETE_LINKS = """
DELETE FROM links l
USING unnest($1::text[], $2::text[]) AS gone (key, other)
WHERE l.key = gone.key AND l.other = gone.other
"""

SAVE_SHARED_KEYS = """
INSERT INTO shared_keys (partition, key, keys, since)
SELECT $1, key, keys, $4
FROM unnest($2::text[], $3::int[]) AS s (key, keys)
ON CONFLICT (key) DO UPDATE SET keys = excluded.keys
"""

SHARED_KEYS_OF = "SELECT key FROM shared_keys WHERE partition = $1"

DELETE_SHARED_KEYS = "DELETE FROM shared_keys WHERE key = ANY ($1::text[])"

# The limit under which a partition's shared keys were last worked out.
SHARED_KEY_LIMIT = "SELECT customers FROM shared_key_limits WHERE partition = $1"

RECORD_SHARED_KEY_LIMIT = """
INSERT INTO shared_key_limits (partition, customers)
VALUES ($1, $2)
ON CONFLICT (partition) DO UPDATE SET customers = excluded.customers
"""

# Keys that more than a limit of other keys name.
KEYS_OVER_LIMIT = """
SELECT key
FROM links
WHERE partition = $1
GROUP BY key
HAVING count(*) > $2::int
ORDER BY key
"""

FORGET_CONFLICTS = """
DELETE FROM identity_conflicts c
USING unnest($1::text[], $2::text[]) AS gone (key, other)
WHERE c.key = gone.key AND c.other = gone.other
"""

ADD_CONFLICTS = """
INSERT INTO identity_conflicts (key, other, customer_a, customer_b, occurred_at, touchpoint_id, source)
SELECT *
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[])
ON CONFLICT (key, other) DO UPDATE SET
    customer_a = excluded.customer_a,
    customer_b = excluded.customer_b,
    occurred_at = excluded.occurred_at,
    touchpoint_id = excluded.touchpoint_id,
    source = excluded.source
"""


class PostgresLinks:
    """Implements `ports.LinkTable`, and what a transaction writes of links."""

    def __init__(self, connection: asyncpg.Connection, partition: int) -> None:
        self._connection = connection
        self._partition = partition

    async def load(self, all_of: Sequence[KeyIdentity], some_of: Sequence[tuple[KeyIdentity, str]] = ()) -> None:
        standings = {standing.key: standing for standing in all_of}
        rows = await self._connection.fetch(LINKS_OF, list(standings)) if standings else []
        for standing in all_of:
            standing.complete = True
        if some_of:
            standings |= {standing.key: standing for standing, _ in some_of}
            rows += await self._connection.fetch(
                LINKS_BETWEEN, [standing.key for standing, _ in some_of], [other for _, other in some_of]
            )
        for index, (key, other, link) in enumerate(rows):
            if index % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            links = standings[key].links
            # A link in memory may have changed since it was written.
            if other not in links and other not in standings[key].touched:
                links[other] = Link.load(key, other, orjson.loads(link))

    async def shared_keys(self) -> set[str]:
        return {row["key"] for row in await self._connection.fetch(SHARED_KEYS_OF, self._partition)}

    async def shared_key_limit(self) -> int | None:
        limit: int | None = await self._connection.fetchval(SHARED_KEY_LIMIT, self._partition)
        return limit

    async def record_shared_key_limit(self, limit: int) -> None:
        await self._connection.execute(RECORD_SHARED_KEY_LIMIT, self._partition, limit)

    async def keys_over(self, limit: int) -> list[str]:
        return [row["key"] for row in await self._connection.fetch(KEYS_OVER_LIMIT, self._partition, limit)]

    async def write(self, changes: Changes, now: int) -> None:
        """Write what a transaction has changed of links, shared keys and conflicts."""
        await self._write_links(changes)
        shared = {key: count for key, count in changes.shared.items() if count is not None}
        if shared:
            await self._connection.execute(SAVE_SHARED_KEYS, self._partition, list(shared), list(shared.values()), now)
        if len(shared) < len(changes.shared):
            await self._connection.execute(DELETE_SHARED_KEYS, [key for key in changes.shared if key not in shared])
        await self._write_conflicts(changes)

    async def _write_links(self, changes: Changes) -> None:
        saved, removed = [], []
        for index, (pair, link) in enumerate(changes.links.items()):
            if index % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            if link is None:
                removed.append(pair)
            else:
                saved.append((*pair, orjson.dumps(link.dump())))
        if saved:
            await self._connection.execute(SAVE_LINKS, self._partition, *map(list, zip(*saved, strict=True)))
        if removed:
            await self._connection.execute(DELETE_LINKS, [key for key, _ in removed], [other for _, other in removed])

    async def _write_conflicts(self, changes: Changes) -> None:
        removed = [pair for pair, conflict in changes.conflicts.items() if conflict is None]
        if removed:
            await self._connection.execute(
                FORGET_CONFLICTS, [key for key, _ in removed], [other for _, other in removed]
            )
        found = [conflict for conflict in changes.conflicts.values() if conflict is not None]
        if found:
            await self._connection.execute(
                ADD_CONFLICTS,
                [conflict.key for conflict in found],
                [conflict.other for conflict in found],
                [conflict.customer_a for conflict in found],
                [conflict.customer_b for conflict in found],
                [conflict.weight[0] for conflict in found],
                [conflict.weight[1] for conflict in found],
                [conflict.weight[2] for conflict in found],
            )
