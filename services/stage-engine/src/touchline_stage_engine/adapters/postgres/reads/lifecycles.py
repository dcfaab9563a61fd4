"""Read running lifecycles and their versions, and stalled and slipping customers."""

from typing import Any

from sqlalchemy import text

from touchline_stage_engine.adapters.postgres.reads.pages import decode_cursor, page_of
from touchline_stage_engine.adapters.postgres.reads.recorded_definitions import recorded_definition
from touchline_stage_engine.adapters.postgres.reads.statements import Reads, wire_time, wire_time_or_none
from touchline_stage_engine.application.queries.values import Page, RunningLifecycle
from touchline_stage_engine.core.analysis.funnel import stages_by_former_name
from touchline_stage_engine.core.definitions.model import Definition

# The newest version of each running lifecycle.
NEWEST = text("""
    SELECT DISTINCT ON (name) name, version, text, effective_from, started_at, origin
    FROM lifecycles
    WHERE running AND (CAST(:name AS text) IS NULL OR name = :name)
    ORDER BY name, version DESC
""")

# Every version of a lifecycle that was ever started.
VERSIONS = text("""
    SELECT version, effective_from, started_at, running, fingerprint, text, origin, author, comment,
           running AND version = max(version) FILTER (WHERE running) OVER () AS in_force
    FROM lifecycles
    WHERE name = :name
    ORDER BY version
""")

TEXT = text("SELECT text FROM lifecycles WHERE name = :name AND version = :version")

TEXTS = text("SELECT name, version, text FROM lifecycles WHERE name = :name ORDER BY version DESC")

# Stalled customers, the longest without activity first; in all stages, or in one.
_STALLED = """
    SELECT customer_id, stage, entered_at, stalled_level, stalled_since
    FROM stages
    WHERE lifecycle = :name AND stalled_level > 0 {in_stage}
      AND (stalled_since, customer_id) > (
          coalesce(CAST(:since AS bigint), -4611686018427387904), coalesce(CAST(:after AS text), '') COLLATE "C"
      )
    ORDER BY stalled_since, customer_id
    LIMIT :limit
"""
STALLED = text(_STALLED.format(in_stage=""))
STALLED_IN_STAGE = text(_STALLED.format(in_stage="AND stage = :stage"))

# Customers who are stalled, or whose last move was backward; worst first: by level of stall, then the longest since.
# A page reads at most its own length of stalled customers and of backward moves, each by an index.
SLIPPING = text("""
    WITH stalled AS (
        SELECT customer_id, stage, entered_at, stalled_level, stalled_since
        FROM stages
        WHERE lifecycle = :name AND stalled_level > 0
          AND ((-stalled_level), stalled_since, customer_id) > (
              coalesce(CAST(:rank AS integer), -2147483647), coalesce(CAST(:since AS bigint), -4611686018427387904),
              coalesce(CAST(:after AS text), '') COLLATE "C"
          )
        ORDER BY (-stalled_level), stalled_since, customer_id
        LIMIT :limit
    ),
    slipped AS (
        SELECT s.customer_id, s.stage, s.entered_at, h.occurred_at, h.from_stage, h.move, h.reason_text
        FROM history h
        JOIN stages s ON s.customer_id = h.customer_id AND s.lifecycle = h.lifecycle AND s.stalled_level = 0
        WHERE h.lifecycle = :name AND h.move IN ('regress', 'lapse') AND h.occurred_at >= :slipped_since
          AND (h.occurred_at, h.customer_id) > (
              CASE WHEN CAST(:rank AS integer) = 0 THEN CAST(:since AS bigint) ELSE -4611686018427387904 END,
              CASE WHEN CAST(:rank AS integer) = 0 THEN CAST(:after AS text) ELSE '' END COLLATE "C"
          )
          AND NOT EXISTS (
              SELECT FROM history n
              WHERE n.customer_id = h.customer_id AND n.lifecycle = h.lifecycle AND n.no > h.no AND n.fact = 'move'
          )
        ORDER BY h.occurred_at, h.customer_id
        LIMIT :limit
    )
    SELECT s.customer_id, s.stage, s.entered_at, s.stalled_level, -s.stalled_level AS rank, s.stalled_since AS since,
           h.from_stage, h.move, h.occurred_at AS slipped_at, h.reason_text
    FROM stalled s
    LEFT JOIN LATERAL (
        SELECT *
        FROM history l
        WHERE l.customer_id = s.customer_id AND l.lifecycle = :name AND l.fact = 'move'
        ORDER BY l.no DESC
        LIMIT 1
    ) AS h ON h.move IN ('regress', 'lapse') AND h.occurred_at >= :slipped_since
    UNION ALL
    SELECT customer_id, stage, entered_at, 0, 0, occurred_at, from_stage, move, occurred_at, reason_text
    FROM slipped
    ORDER BY rank, since, customer_id
    LIMIT :limit
""")

FEEDBACK = ["survey_answered", "review_posted", "testimonial_given", "complaint_made"]
"""Types of touchpoint with feedback."""


def _managed_by(row: dict[str, Any]) -> str:
    return "file" if row["origin"] == "file" else "api"


class LifecycleReads(Reads):
    """Implements the port `LifecycleQueries`."""

    async def running(self, name: str | None = None) -> list[RunningLifecycle]:
        """The running lifecycles by name; with ``name``, that one or none."""
        return [
            RunningLifecycle(
                recorded_definition(row["text"], row["name"]),
                row["text"],
                row["effective_from"],
                row["started_at"],
                _managed_by(row),
            )
            for row in await self._rows(NEWEST, name=name)
        ]

    async def versions(self, name: str) -> list[dict[str, Any]]:
        """Every version of a lifecycle that was ever started, oldest first."""
        return [
            {
                "version": row["version"],
                "effective_from": wire_time_or_none(row["effective_from"]),
                "started_at": wire_time(row["started_at"]),
                "on_change": recorded_definition(row["text"], name).on_change,
                "running": row["running"],
                "in_force": row["in_force"],
                "managed_by": _managed_by(row),
                "author": row["author"],
                "comment": row["comment"],
                "sha256": row["fingerprint"],
            }
            for row in await self._rows(VERSIONS, name=name)
        ]

    async def text_of(self, name: str, version: int) -> str | None:
        """The YAML of one version; None when there is none."""
        rows = await self._rows(TEXT, name=name, version=version)
        return rows[0]["text"] if rows else None

    async def stages(self, definition: Definition) -> list[str]:
        """The stages of a lifecycle, including those of earlier versions, in which customers may still be."""
        versions = [definition, *await self._earlier(definition)]
        return list(dict.fromkeys(stage.name for version in versions for stage in version.every_stage))

    async def _earlier(self, definition: Definition) -> list[Definition]:
        rows = await self._rows(TEXTS, name=definition.lifecycle)
        return [recorded_definition(row["text"], row["name"]) for row in rows if row["version"] != definition.version]

    async def meant(self, definition: Definition) -> dict[str, list[str]]:
        """Names of stages of earlier versions, and their present names: customers may be in an earlier version."""
        meant = stages_by_former_name(definition, await self._earlier(definition))
        return {"names": list(meant), "meant": list(meant.values())}

    async def stalled(self, name: str, stage: str | None, limit: int, cursor: str | None) -> Page:
        """Stalled customers, the longest inactive first."""
        since, after = decode_cursor(cursor, int, str) or (None, None)
        page = {"since": since, "after": after, "limit": limit + 1}
        if stage is None:
            rows = await self._rows(STALLED, name=name, **page)
        else:
            rows = await self._rows(STALLED_IN_STAGE, name=name, stage=stage, **page)
        items = [
            {
                "customer_id": row["customer_id"],
                "stage": row["stage"],
                "entered_at": wire_time(row["entered_at"]),
                "stalled_level": row["stalled_level"],
                "since": wire_time(row["stalled_since"]),
                "_since": row["stalled_since"],
                "_customer": row["customer_id"],
            }
            for row in rows
        ]
        return page_of(items, limit, ("_since", "_customer"))

    async def slipping(self, name: str, slipped_since: int, limit: int, cursor: str | None) -> Page:
        """Stalled customers, and those whose last move was backward at or after an instant; worst first."""
        rank, since, after = decode_cursor(cursor, int, int, str) or (None, None, None)
        rows = await self._rows(
            SLIPPING, name=name, slipped_since=slipped_since, rank=rank, since=since, after=after, limit=limit + 1
        )
        items = [
            {
                "customer_id": row["customer_id"],
                "stage": row["stage"],
                "entered_at": wire_time(row["entered_at"]),
                "stalled_level": row["stalled_level"],
                "since": wire_time(row["since"]),
                "slipped_from": row["from_stage"],
                "slipped_by": row["move"],
                "slipped_at": wire_time_or_none(row["slipped_at"]),
                "reason": row["reason_text"],
                "_rank": row["rank"],
                "_since": row["since"],
                "_customer": row["customer_id"],
            }
            for row in rows
        ]
        return page_of(items, limit, ("_rank", "_since", "_customer"))
