"""Search, filter and sort customers by their summaries."""

import re
from typing import Any

import orjson
from sqlalchemy import text

from touchline_stage_engine.adapters.postgres.reads.pages import decode_cursor, page_of
from touchline_stage_engine.adapters.postgres.reads.statements import Reads, wire_time, wire_time_or_none
from touchline_stage_engine.application.queries.values import CustomerFilter, Page
from touchline_stage_engine.core.analysis.search_terms import after_prefix, search_words

_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")

MAX_FOUND = 5000
"""Customers that a search looks at: the first by the longest word."""
MOST_COUNTED = 10_000
MOST_COUNTED_BY_STAGE = 1_000
"""Where every customer's stages have to be looked at to count."""

_RUNS = "EXISTS (SELECT FROM lifecycles l WHERE l.name = st.lifecycle AND l.running)"
_LAST_MOVE = """
    FROM history h WHERE h.customer_id = st.customer_id AND h.lifecycle = st.lifecycle AND h.fact = 'move'
    ORDER BY h.no DESC LIMIT 1
"""
_AT_RISK = f"""
    (st.stalled_level > 0
     OR (SELECT h.move IN ('regress', 'lapse') AND h.occurred_at >= :slipped_since {_LAST_MOVE}))
"""

# Filter → condition. The conditions are constants.
_CONDITIONS = {
    "min_value": "s.value >= :min_value",
    "max_value": "s.value <= :max_value",
    "seen_since": "coalesce(s.active_at, 0) >= :seen_since",
    "seen_before": "coalesce(s.active_at, 0) < :seen_before",
    "first_channel": "s.first_channel = :first_channel",
    "first_source": "s.first_source = :first_source",
    # The first condition is found by an index; JSON values that are equal may be written in different ways.
    "trait": "s.traits @> ANY (CAST(:trait_forms AS jsonb[])) AND s.traits ->> :trait = :trait_value",
}
_OF_STAGE = {
    "lifecycle": "st.lifecycle = :lifecycle",
    "stage": "st.stage = :stage",
    "entered_since": "st.entered_at >= :entered_since",
    "entered_before": "st.entered_at < :entered_before",
}

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
    LEFT JOIN LATERAL (SELECT h.move, h.from_stage, h.occurred_at, h.reason_text {_LAST_MOVE}) AS last ON true
    WHERE st.customer_id = ANY (:customers) AND {_RUNS}
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
        with_stage = wanted.lifecycle is not None
        where, parameters = _where(wanted, with_stage=with_stage)
        key = decode_cursor(cursor, kind, str)
        order = "DESC" if down else "ASC"
        source = _from(with_stage)
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
        stages = await self._stages([row["customer_id"] for row in rows[:limit]], wanted.slipped_since)
        items = [
            _summary(row)
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
        return {row["customer_id"]: _summary(row) for row in rows}

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


def _from(with_stage: bool) -> str:
    joined = " JOIN stages st ON st.customer_id = s.customer_id AND st.lifecycle = :lifecycle" if with_stage else ""
    return "customer_summaries s" + joined


def _where(wanted: CustomerFilter, *, with_stage: bool) -> tuple[str, dict[str, Any]]:
    """The conditions, which are constants, and their parameters."""
    conditions, parameters = ["true"], {}
    for name, condition in _CONDITIONS.items():
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(condition)
            parameters[name] = value
    if wanted.trait is not None:
        parameters["trait_value"] = wanted.trait_value
        parameters["trait_forms"] = _json_forms(wanted.trait, wanted.trait_value or "")
    of_stage = []
    for name, condition in _OF_STAGE.items():
        value = getattr(wanted, name)
        if value is not None:
            of_stage.append(condition)
            parameters[name] = value
    if wanted.stalled is not None:
        of_stage.append("st.stalled_level > 0" if wanted.stalled else "st.stalled_level = 0")
    if wanted.at_risk:
        of_stage.append(_AT_RISK)
        parameters["slipped_since"] = wanted.slipped_since
    if of_stage and with_stage:
        conditions += of_stage
    elif of_stage:
        inner = " AND ".join(["st.customer_id = s.customer_id", _RUNS, *of_stage])
        conditions.append(f"EXISTS (SELECT FROM stages st WHERE {inner})")
    for number, word in enumerate(search_words(wanted.q or "")[:5]):
        parameters |= {f"from{number}": word, f"to{number}": after_prefix(word)}
        span = f"t.term >= :from{number} AND t.term < :to{number}"
        if number == 0:
            parameters["most_found"] = MAX_FOUND
            conditions.append(
                f"s.customer_id IN (SELECT t.customer_id FROM customer_terms t WHERE {span}"  # noqa: S608
                " ORDER BY t.term LIMIT :most_found)"
            )
        else:
            conditions.append(f"EXISTS (SELECT FROM customer_terms t WHERE t.customer_id = s.customer_id AND {span})")
    return " AND ".join(conditions), parameters


def _json_forms(trait: str, value: str) -> list[str]:
    """The JSON objects with a trait whose value PostgreSQL shows as that text: a string, a number, or a boolean."""
    forms = [orjson.dumps({trait: value}).decode()]
    if value in ("true", "false") or _JSON_NUMBER.fullmatch(value):
        forms.append(f"{{{orjson.dumps(trait).decode()}: {value}}}")
    return forms


def _summary(row: dict[str, Any]) -> dict[str, Any]:
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
