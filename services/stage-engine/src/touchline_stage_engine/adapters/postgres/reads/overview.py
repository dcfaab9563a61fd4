"""Read key figures over all lifecycles, the latest facts, and the state of the partitions."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.sql.elements import TextClause
from touchline_schemas.times import to_wire

from touchline_stage_engine.adapters.postgres.reads.statements import Reads, wire_time, wire_time_or_none

# Customers: all, new ones in the span and in the span before, and recently active ones.
PEOPLE = text("""
    SELECT count(*) AS customers,
           count(*) FILTER (WHERE first_at >= :since AND first_at < :until) AS new_customers,
           count(*) FILTER (WHERE first_at >= :before AND first_at < :since) AS new_customers_before,
           count(*) FILTER (WHERE active_at >= :active_since) AS active
    FROM customer_summaries
""")

# Moves in the span and in the span before, without entries.
MOVES = text("""
    SELECT count(*) FILTER (WHERE h.occurred_at >= :since) AS moves,
           count(*) FILTER (WHERE h.occurred_at < :since) AS moves_before,
           count(*) FILTER (WHERE h.occurred_at >= :since AND h.move IN ('regress', 'lapse')) AS moves_back,
           count(*) FILTER (WHERE h.occurred_at < :since AND h.move IN ('regress', 'lapse')) AS moves_back_before
    FROM lifecycles l JOIN history h ON h.lifecycle = l.name
    WHERE l.running AND l.version = (SELECT max(n.version) FROM lifecycles n WHERE n.name = l.name AND n.running)
      AND h.occurred_at >= :before AND h.occurred_at < :until
      AND h.fact = 'move' AND h.move <> 'enter'
""")

# Customers who are stalled in any lifecycle now, and who were at an earlier instant, by the last fact before it.
STALLED = text("""
    SELECT count(*) AS stalled
    FROM (
        SELECT DISTINCT st.customer_id
        FROM stages st
        WHERE st.stalled_level > 0 AND EXISTS (SELECT FROM lifecycles l WHERE l.name = st.lifecycle AND l.running)
    ) AS customers
""")
# Of each customer and lifecycle the first fact at or after the instant decides, with its kind in the last two bits: who
# has a recovery or a further level of a stall (1) was stalled before, who has a first level (2) was not; of a move (0)
# the fact before it decides. Where there is no such fact, nothing has changed since.
STALLED_BEFORE = text("""
    WITH later AS (
        SELECT h.customer_id, h.lifecycle,
               min(CAST(h.no AS bigint) * 4 + CASE WHEN h.fact = 'move' THEN 0
                                                   WHEN h.fact = 'recovery' OR h.level > 1 THEN 1
                                                   ELSE 2 END) AS first
        FROM history h
        WHERE h.occurred_at >= :at AND h.lifecycle IN (SELECT l.name FROM lifecycles l WHERE l.running)
        GROUP BY h.customer_id, h.lifecycle
    ),
    stalled AS (
        SELECT st.customer_id
        FROM stages st
        WHERE st.stalled_level > 0 AND st.lifecycle IN (SELECT l.name FROM lifecycles l WHERE l.running)
          AND NOT EXISTS (
              SELECT FROM later WHERE later.customer_id = st.customer_id AND later.lifecycle = st.lifecycle
          )
        UNION ALL
        SELECT later.customer_id
        FROM later
        WHERE later.first % 4 = 1
           OR (later.first % 4 = 0 AND later.first >= 8 AND (
               SELECT p.fact = 'stall'
               FROM history p
               WHERE p.customer_id = later.customer_id AND p.lifecycle = later.lifecycle
                 AND p.no = later.first / 4 - 1
           ))
    )
    SELECT count(*) AS stalled_before FROM (SELECT DISTINCT customer_id FROM stalled) AS customers
""")

# The past value of customers who are stalled, or whose last move was backward and recent. Each counts once.
AT_RISK = text("""
    WITH slipped AS (
        SELECT DISTINCT h.customer_id
        FROM lifecycles l JOIN history h ON h.lifecycle = l.name
        WHERE l.running AND h.occurred_at >= :slipped_since AND h.fact = 'move' AND h.move IN ('regress', 'lapse')
          AND NOT EXISTS (
              SELECT FROM history n
              WHERE n.customer_id = h.customer_id AND n.lifecycle = h.lifecycle AND n.no > h.no AND n.fact = 'move'
          )
    ),
    risk AS (
        SELECT customer_id FROM slipped
        UNION
        SELECT st.customer_id FROM stages st
        WHERE st.stalled_level > 0 AND EXISTS (SELECT FROM lifecycles l WHERE l.name = st.lifecycle AND l.running)
    )
    SELECT count(*) AS customers_at_risk, coalesce(sum(greatest(s.value, 0)), 0) AS value_at_risk,
           count(*) FILTER (WHERE s.value > 0) AS paying_at_risk
    FROM risk JOIN customer_summaries s USING (customer_id)
""")

# The latest facts of a lifecycle, by its index.
RECENT = text("""
    SELECT customer_id, lifecycle, fact, occurred_at, stage, from_stage, move, reason_kind, reason_text, touchpoint_id,
           level, stalled_seconds, sequence, version, backfill
    FROM history
    WHERE lifecycle = :name AND occurred_at <= :until
    ORDER BY occurred_at DESC
    LIMIT :limit
""")
RUNNING = text("SELECT DISTINCT name FROM lifecycles WHERE running ORDER BY name")

# The newest row of each partition: its owner, and how far it is read, folded and published.
PARTITIONS = text("""
    SELECT DISTINCT ON (partition) partition, owner, epoch, claimed_at, next_offset, last_outbox_id, relayed_through,
           folded, duplicates, conflicts, dead_letters, erased
    FROM partitions
    ORDER BY partition, claimed_at DESC NULLS LAST
""")
TIMERS = text("""
    SELECT partition, count(*) AS waiting, min(wake_at) AS next_wake_at,
           count(*) FILTER (WHERE wake_at <= :now) AS due
    FROM customers WHERE wake_at IS NOT NULL GROUP BY partition
""")


class OverviewReads(Reads):
    """Implements the port `OverviewQueries`."""

    async def figures(self, since: int, until: int, now: int, active_since: int, slipped_since: int) -> dict[str, Any]:
        """The key figures of a span; ``…_before`` are those of the span of the same length before it."""
        before = since - (until - since)
        span = {"since": since, "until": until, "before": before}
        people = await self._counted(PEOPLE, **span, active_since=active_since)
        moves = await self._counted(MOVES, **span)
        stalled = await self._counted(STALLED)
        stalled_before = await self._counted(STALLED_BEFORE, at=since)
        risk = await self._counted(AT_RISK, slipped_since=slipped_since)
        return people | moves | stalled | stalled_before | risk | {"value_at_risk": float(risk["value_at_risk"])}

    async def recent(self, lifecycle: str | None, until: int, limit: int) -> list[dict[str, Any]]:
        """The latest facts, the newest first."""
        names = [lifecycle] if lifecycle else [row["name"] for row in await self._rows(RUNNING)]
        rows: list[dict[str, Any]] = []
        for name in names:
            rows += await self._rows(RECENT, name=name, until=until, limit=limit)
        rows.sort(key=lambda row: (-row["occurred_at"], row["customer_id"], row["lifecycle"]))
        return [_fact(row) for row in rows[:limit]]

    async def partitions(self) -> list[dict[str, Any]]:
        """One item for each partition."""
        rows = await self._rows(PARTITIONS)
        return [
            {
                "partition": row["partition"],
                "owner": row["owner"],
                "epoch": row["epoch"],
                "claimed_at": None if row["claimed_at"] is None else to_wire(row["claimed_at"]),
                "next_offset": row["next_offset"],
                "outbox_waiting": max(0, row["last_outbox_id"] - row["relayed_through"]),
                "folded": row["folded"],
                "duplicates": row["duplicates"],
                "conflicts": row["conflicts"],
                "dead_letters": row["dead_letters"],
                "erased": row["erased"],
            }
            for row in rows
        ]

    async def timers(self, now: int) -> dict[int, dict[str, Any]]:
        """Partition → customers that wait for a timer, and how many timers are due."""
        return {
            row["partition"]: {
                "waiting": row["waiting"],
                "due": row["due"],
                "next_at": wire_time_or_none(row["next_wake_at"]),
            }
            for row in await self._rows(TIMERS, now=now)
        }

    async def _counted(self, statement: TextClause, **parameters: Any) -> dict[str, Any]:
        return (await self._rows_over_all(statement, **parameters))[0]


def _fact(row: dict[str, Any]) -> dict[str, Any]:
    common = {
        "customer_id": row["customer_id"],
        "lifecycle": row["lifecycle"],
        "fact": row["fact"],
        "occurred_at": wire_time(row["occurred_at"]),
        "backfill": row["backfill"],
    }
    if row["fact"] == "move":
        reason = {"kind": row["reason_kind"], "text": row["reason_text"], "touchpoint_id": row["touchpoint_id"]}
        return common | {
            "move": row["move"],
            "from_stage": row["from_stage"],
            "to_stage": row["stage"],
            "reason": reason,
        }
    more = {"level": row["level"]} if row["fact"] == "stall" else {"stalled_seconds": row["stalled_seconds"]}
    return common | {"stage": row["stage"]} | more
