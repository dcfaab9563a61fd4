"""The members of audiences on one partition, through its owner's connection."""

from collections.abc import Sequence

import asyncpg

from touchline_stage_engine.adapters.postgres.audiences.standings import STANDINGS, standing_of, statement_of
from touchline_stage_engine.application.audiences.values import Described, Membership, Standing
from touchline_stage_engine.core.audiences.audience import Audience

SAVE_MEMBERS = """
INSERT INTO audience_members (partition, audience, customer_id, incarnation, change_no, member, changed_at)
SELECT $1, m.*
FROM unnest($2::bigint[], $3::text[], $4::integer[], $5::integer[], $6::boolean[], $7::bigint[]) AS m
ON CONFLICT (partition, audience, customer_id) DO UPDATE SET
    incarnation = excluded.incarnation,
    change_no = excluded.change_no,
    member = excluded.member,
    changed_at = excluded.changed_at
"""

COUNT = """
INSERT INTO audience_progress (partition, audience, members, through)
VALUES ($1, $2, $3, $4)
ON CONFLICT (partition, audience) DO UPDATE SET
    members = audience_progress.members + excluded.members,
    through = greatest(audience_progress.through, excluded.through)
"""
MARK_EVALUATED = """
INSERT INTO audience_progress (partition, audience, version)
VALUES ($1, $2, $3)
ON CONFLICT (partition, audience) DO UPDATE SET version = excluded.version
"""

RECORDED = """
SELECT audience, customer_id, incarnation, change_no, member, changed_at
FROM audience_members
WHERE partition = $1 AND audience = $2
ORDER BY customer_id
LIMIT $3
"""
REMOVE_MEMBERS = """
DELETE FROM audience_members
WHERE partition = $1 AND audience = $2 AND customer_id = ANY ($3::text[])
"""
REMOVE_PROGRESS = "DELETE FROM audience_progress WHERE partition = $1 AND audience = $2"

MEMBERSHIPS_OF = """
SELECT a.name, a.incarnation AS of_name, a.version, m.audience, m.customer_id, m.incarnation, m.change_no, m.member,
       m.changed_at
FROM audience_members m
JOIN audiences a ON a.id = m.audience
WHERE m.partition = $1 AND m.customer_id = $2 AND m.member
ORDER BY m.audience
"""


class PostgresAudiences:
    """Implements `ports.AudienceTable`."""

    def __init__(self, connection: asyncpg.Connection, partition: int) -> None:
        self._connection = connection
        self._partition = partition

    async def standings(self, audience: Audience, customers: Sequence[str]) -> list[Standing]:
        statement, arguments = statement_of(STANDINGS, self._partition, audience, customers)
        rows = await self._connection.fetch(statement + "ORDER BY customer_id", *arguments)
        return [standing_of(row) for row in rows]

    async def save(self, memberships: Sequence[Membership]) -> None:
        await self._connection.execute(SAVE_MEMBERS, self._partition, *map(list, zip(*memberships, strict=True)))

    async def count(self, audience: int, more: int, through: int) -> None:
        await self._connection.execute(COUNT, self._partition, audience, more, through)

    async def mark_evaluated(self, audience: int, version: int) -> None:
        await self._connection.execute(MARK_EVALUATED, self._partition, audience, version)

    async def recorded(self, audience: int, limit: int) -> list[Membership]:
        rows = await self._connection.fetch(RECORDED, self._partition, audience, limit)
        return [Membership(*row) for row in rows]

    async def remove(self, audience: int, customers: Sequence[str]) -> None:
        await self._connection.execute(REMOVE_MEMBERS, self._partition, audience, list(customers))

    async def remove_progress(self, audience: int) -> None:
        await self._connection.execute(REMOVE_PROGRESS, self._partition, audience)

    async def memberships_of(self, customer_id: str) -> list[tuple[Described, Membership]]:
        rows = await self._connection.fetch(MEMBERSHIPS_OF, self._partition, customer_id)
        return [(Described(*row[:3]), Membership(*row[3:])) for row in map(tuple, rows)]
