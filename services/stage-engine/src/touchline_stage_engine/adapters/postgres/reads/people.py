"""Search, filter and sort customers by their summaries."""

from typing import Any

from sqlalchemy import text

from touchline_stage_engine.adapters.postgres.reads.customer_conditions import LAST_MOVE, RUNS, conditions_of, table_of
from touchline_stage_engine.adapters.postgres.reads.pages import decode_cursor, page_of
from touchline_stage_engine.adapters.postgres.reads.statements import Reads, wire_time, wire_time_or_none
from touchline_stage_engine.application.queries.values import Page
from touchline_stage_engine.core.audiences.customer_filter import SLIPPED_WITHIN, CustomerFilter

MOST_COUNTED = 10_000
MOST_COUNTED_BY_STAGE = 1_000
"""Where every customer's stages have to be looked at to count."""

SORTS: dict[str, tuple[str, type, str]] = {
    "value": ("s.value", float, "DESC"),
    "last_seen": ("coalesce(s.active_at, 0)", int, "DESC"),
    "first_seen": ("coalesce(s.first_at, 0)", int, "DESC"),
    "name": ("coalesce(lower(s.name), '') COLLATE \"C\"", str, "ASC"),
    "id": ("s.customer_id", str, "ASC"),
    "entered": ("st.entered_at", int, "DESC"),
}
"""Sort order → expression, type of the value, and default direction."""

# The stages of the customers of a page in every running lifecycle, and their last move in each.
STAGES = text(f"""
    SELECT st.customer_id, st.lifecycle, st.stage, st.entered_at, st.stalled_level, st.stalled_since,
           last.move, last.from_stage, last.occurred_at AS moved_at, last.reason_text
    FROM stages st
    LEFT JOIN LATERAL (SELECT h.move, h.from_stage, h.occurred_at, h.reason_text {LAST_MOVE}) AS last ON true
    WHERE st.customer_id = ANY (:customers) AND {RUNS}
    ORDER BY st.lifecycle
""")  # noqa: S608


class CustomerListReads(Reads):
    """Implements the port `CustomerListQueries`."""

    async def listed(
        self, wanted: CustomerFilter, sort: str, descending: bool | None, limit: int, cursor: str | None
    ) -> tuple[Page, int, bool]:
        """A page of customers, the total, and whether the total is exact."""
        expression, kind, usual = SORTS[sort]
        down = usual == "DESC" if descending is None else descending
        # A customer has at most one stage in a lifecycle: a join lets PostgreSQL begin with the stages' index.
        source = table_of(wanted)
        where, parameters = conditions_of(wanted)
        key = decode_cursor(cursor, kind, str)
        order = "DESC" if down else "ASC"
        page_where = where
        if key is not None:
            comparison = "<" if down else ">"
            page_where = f"{where} AND ({expression}, s.customer_id) {comparison} (:key_value, :key_id)"
        # The keys first: where many customers have to be passed over, they are passed over in an index.
        statement = text(f"""
            SELECT s.*, page.sort_key
            FROM (
                SELECT s.customer_id, {expression} AS sort_key
                FROM {source}
                WHERE {page_where}
                ORDER BY {expression} {order}, s.customer_id {order}
                LIMIT :limit
            ) AS page
            JOIN customer_summaries s ON s.customer_id = page.customer_id
            ORDER BY page.sort_key {order}, page.customer_id {order}
        """)  # noqa: S608
        count = text(f"SELECT count(*) FROM (SELECT 1 FROM {source} WHERE {where} LIMIT :most) AS found")  # noqa: S608
        keys = {} if key is None else {"key_value": key[0], "key_id": key[1]}
        rows = await self._rows(statement, **parameters, **keys, limit=limit + 1)
        most = MOST_COUNTED_BY_STAGE if wanted.asks_for_stages else MOST_COUNTED
        total = (await self._rows(count, **parameters, most=most + 1))[0]["count"]
        stages = await self._stages([row["customer_id"] for row in rows[:limit]], wanted.span_end(SLIPPED_WITHIN))
        items = [
            summary_of(row)
            | {"stages": stages.get(row["customer_id"], {}), "_key": kind(row["sort_key"]), "_id": row["customer_id"]}
            for row in rows
        ]
        return page_of(items, limit, ("_key", "_id")), min(total, most), total <= most

    async def summaries(self, customers: list[str]) -> dict[str, dict[str, Any]]:
        """Customer → summary, of the customers that have one."""
        rows = await self._rows(
            text("SELECT s.* FROM customer_summaries s WHERE s.customer_id = ANY (:customers)"),
            customers=customers,
        )
        return {row["customer_id"]: summary_of(row) for row in rows}

    async def _stages(self, customers: list[str], slipped_since: int) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for row in await self._rows(STAGES, customers=customers):
            slipped = row["move"] in ("regress", "lapse") and row["moved_at"] >= slipped_since
            found.setdefault(row["customer_id"], {})[row["lifecycle"]] = {
                "stage": row["stage"],
                "entered_at": wire_time(row["entered_at"]),
                "stalled_level": row["stalled_level"],
                "stalled_since": wire_time_or_none(row["stalled_since"]),
                "slipped_from": row["from_stage"] if slipped else None,
                "slipped_by": row["move"] if slipped else None,
                "slipped_at": wire_time_or_none(row["moved_at"]) if slipped else None,
                "reason": row["reason_text"],
            }
        return found


def summary_of(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `customer_summaries` as an item."""
    return {
        "customer_id": row["customer_id"],
        "name": row["name"],
        "email": row["email"],
        "traits": row["traits"],
        "touchpoints": row["touchpoints"],
        "value": row["value"],
        "purchases": row["purchases"],
        "last_purchase_at": wire_time_or_none(row["last_purchase_at"]),
        "last_seen_at": wire_time_or_none(row["active_at"]),
        "first_seen_at": wire_time_or_none(row["first_at"]),
        "first_channel": row["first_channel"],
        "first_source": row["first_source"],
    }
