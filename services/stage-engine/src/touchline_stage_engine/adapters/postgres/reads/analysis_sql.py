"""SQL statements that read a whole lifecycle.

Each reads `history` by all processors, and without a join of `history` with itself: a move carries the stage it leaves
and the length of the stay there, and the open stays are the rows of `stages`. `statement` adds the conditions that a
filter needs. A stage of an earlier version counts under its present name (:names → :meant).
"""

from functools import lru_cache

from sqlalchemy import text
from sqlalchemy.sql.elements import TextClause

# Customers by the channel and source of their first touchpoint.
_FIRST_TOUCHPOINT = """
    AND EXISTS (
        SELECT FROM customer_summaries c
        WHERE c.customer_id = {row}.customer_id
          AND (CAST(:channel AS text) IS NULL OR c.first_channel = :channel)
          AND (CAST(:source AS text) IS NULL OR c.first_source = :source)
    )
"""
# Customers who entered the lifecycle in a span.
_ENTERED = """
    AND {row}.customer_id IN (
        SELECT e.customer_id
        FROM history e
        WHERE e.lifecycle = :name AND e.fact = 'move' AND e.from_stage IS NULL
          AND (CAST(:entered_since AS bigint) IS NULL OR e.occurred_at >= :entered_since)
          AND (CAST(:entered_until AS bigint) IS NULL OR e.occurred_at < :entered_until)
    )
"""


@lru_cache(maxsize=50)
def statement(template: str, *, first_touchpoint: bool, entered: bool) -> TextClause:
    """A template with the conditions on customers, of which it has those that are asked for."""
    conditions = (_FIRST_TOUCHPOINT if first_touchpoint else "") + (_ENTERED if entered else "")
    return text(template.format(customers_h=conditions.format(row="h"), customers_s=conditions.format(row="s")))


def _present(column: str) -> str:
    return f"coalesce((CAST(:meant AS text[]))[array_position(CAST(:names AS text[]), {column})], {column})"


def _between(time: str) -> str:
    return (
        f"(CAST(:since AS bigint) IS NULL OR {time} >= :since) AND (CAST(:until AS bigint) IS NULL OR {time} < :until)"
    )


def _cut(seconds: str) -> str:
    """Lengths are cut to the second below an hour, to the minute below a week, else to the hour."""
    return (
        f"CASE WHEN {seconds} < 3600 THEN {seconds} WHEN {seconds} < 604800 THEN {seconds} / 60 * 60"
        f" ELSE {seconds} / 3600 * 3600 END"
    )


_STAGE, _FROM_STAGE, _NOW_IN = _present("h.stage"), _present("h.from_stage"), _present("s.stage")
# When the stay that a move ends had begun. The seconds are exact microseconds, divided.
_BEGAN = "(h.occurred_at - CAST(round(h.previous_stage_seconds * 1e6) AS bigint))"
_LEFT_AFTER = "(CAST(round(h.previous_stage_seconds * 1e6) AS bigint) / 1000000)"
_OPEN_FOR = "(greatest(CAST(:now AS bigint) - s.entered_at, 0) / 1000000)"
_LEFT_AFTER_CUT, _OPEN_FOR_CUT = _cut(_LEFT_AFTER), _cut(_OPEN_FOR)
_OCCURRED_IN_SPAN, _TOUCHED_IN_SPAN = _between("h.occurred_at"), _between("t.occurred_at")
_BEGAN_IN_SPAN, _ENTERED_IN_SPAN = _between(_BEGAN), _between("s.entered_at")

# Customers by furthest stage of the path, current stage, and whether they are stalled in it.
PLACES = f"""
    WITH reached AS (
        SELECT h.customer_id, max(array_position(CAST(:stages AS text[]), {_STAGE})) AS furthest
        FROM history h
        WHERE h.lifecycle = :name AND h.fact = 'move' {{customers_h}}
        GROUP BY h.customer_id
    )
    SELECT r.furthest, {_NOW_IN} AS stage, coalesce(s.stalled_level > 0, false) AS stalled, count(*) AS customers
    FROM reached r
    LEFT JOIN stages s ON s.customer_id = r.customer_id AND s.lifecycle = :name
    GROUP BY 1, 2, 3
"""  # noqa: S608

# Moves in a span of event time, and by how many customers.
FLOWS = f"""
    SELECT {_FROM_STAGE} AS from_stage, {_STAGE} AS to_stage, h.move, count(*) AS moves,
           count(DISTINCT h.customer_id) AS customers
    FROM history h
    WHERE h.lifecycle = :name AND h.fact = 'move' AND {_OCCURRED_IN_SPAN} {{customers_h}}
    GROUP BY 1, 2, 3
    ORDER BY moves DESC, from_stage NULLS FIRST, to_stage, h.move
"""  # noqa: S608
# By itself, because PostgreSQL would sort one after the other for the two.
FLOW_MEDIANS = f"""
    SELECT {_FROM_STAGE} AS from_stage, {_STAGE} AS to_stage, h.move,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY h.previous_stage_seconds) AS median_seconds
    FROM history h
    WHERE h.lifecycle = :name AND h.fact = 'move' AND {_OCCURRED_IN_SPAN} {{customers_h}}
    GROUP BY 1, 2, 3
"""  # noqa: S608

# Arrivals in and departures from stages by day.
SHIFTS = f"""
    SELECT h.occurred_at / 86400000000 AS day, {_FROM_STAGE} AS from_stage, {_STAGE} AS to_stage, count(*) AS customers
    FROM history h
    WHERE h.lifecycle = :name AND h.fact = 'move' {{customers_h}}
    GROUP BY 1, 2, 3
"""  # noqa: S608

# Stays in stages by length: those that have ended, and those that are open at :now. A stay belongs to the span of time
# in which it began.
STAYS = f"""
    SELECT stage, seconds, CAST(sum(left_it) AS bigint) AS left_it, CAST(sum(inside) AS bigint) AS inside
    FROM (
        SELECT {_FROM_STAGE} AS stage, {_LEFT_AFTER_CUT} AS seconds, count(*) AS left_it, 0 AS inside
        FROM history h
        WHERE h.lifecycle = :name AND h.fact = 'move' AND h.from_stage IS NOT NULL
          AND {_BEGAN_IN_SPAN} AND (CAST(:since AS bigint) IS NULL OR h.occurred_at >= :since) {{customers_h}}
        GROUP BY 1, 2
        UNION ALL
        SELECT {_NOW_IN}, {_OPEN_FOR_CUT}, 0, count(*)
        FROM stages s
        WHERE s.lifecycle = :name AND {_ENTERED_IN_SPAN} {{customers_s}}
        GROUP BY 1, 2
    ) AS stays
    GROUP BY 1, 2
"""  # noqa: S608

# Customers by the month they entered, and whole months until they first reached a stage or a later one.
COHORTS = f"""
    WITH firsts AS (
        SELECT min(h.occurred_at) AS entered_at,
               min(h.occurred_at) FILTER (
                   WHERE array_position(CAST(:stages AS text[]), {_STAGE}) >= :least
               ) AS reached_at
        FROM history h
        WHERE h.lifecycle = :name AND h.fact = 'move' {{customers_h}}
        GROUP BY h.customer_id
    ),
    dated AS (
        SELECT to_timestamp(entered_at / 1e6) AT TIME ZONE 'UTC' AS entered,
               to_timestamp(reached_at / 1e6) AT TIME ZONE 'UTC' AS reached
        FROM firsts
    )
    SELECT to_char(entered, 'YYYY-MM') AS month,
           CAST(extract(year FROM age(reached, entered)) * 12 + extract(month FROM age(reached, entered)) AS integer)
               AS months,
           count(*) AS customers
    FROM dated
    GROUP BY 1, 2
"""  # noqa: S608

# Arrivals in a stage, and losses from it (a first stall, a move back), by month. Counted by day first.
LOSSES = f"""
    WITH days AS (
        SELECT h.occurred_at / 86400000000 AS day, h.fact, h.move IN ('regress', 'lapse') AS back,
               {_STAGE} AS stage, {_FROM_STAGE} AS from_stage, count(*) AS facts
        FROM history h
        WHERE h.lifecycle = :name AND (h.fact = 'move' OR h.fact = 'stall' AND h.level = 1) {{customers_h}}
        GROUP BY 1, 2, 3, 4, 5
    ),
    happened AS (
        SELECT day, stage, facts AS arrived, 0 AS stalled, 0 AS back FROM days WHERE fact = 'move'
        UNION ALL SELECT day, stage, 0, facts, 0 FROM days WHERE fact = 'stall'
        UNION ALL SELECT day, from_stage, 0, 0, facts FROM days WHERE fact = 'move' AND back
    )
    SELECT to_char(to_timestamp(day * 86400.0) AT TIME ZONE 'UTC', 'YYYY-MM') AS month, stage,
           CAST(sum(arrived) AS bigint) AS arrived, CAST(sum(stalled) AS bigint) AS stalled,
           CAST(sum(back) AS bigint) AS back
    FROM happened
    GROUP BY 1, 2
    ORDER BY 1, 2
"""  # noqa: S608

# Touchpoints by the stage they found the customer in: the one that causes a move counts in the stage it leaves. The
# touchpoint that brings a customer into the lifecycle counts in the first stage.
EFFORT = f"""
    WITH spans AS (
        SELECT h.customer_id, {_STAGE} AS stage, h.occurred_at - 1 AS began, h.occurred_at AS ended
        FROM history h
        WHERE h.lifecycle = :name AND h.fact = 'move' AND h.from_stage IS NULL
          AND {_OCCURRED_IN_SPAN} {{customers_h}}
        UNION ALL
        SELECT h.customer_id, {_FROM_STAGE}, {_BEGAN}, h.occurred_at
        FROM history h
        WHERE h.lifecycle = :name AND h.fact = 'move' AND h.from_stage IS NOT NULL
          AND (CAST(:since AS bigint) IS NULL OR h.occurred_at >= :since)
          AND (CAST(:until AS bigint) IS NULL OR {_BEGAN} < :until) {{customers_h}}
        UNION ALL
        SELECT s.customer_id, {_NOW_IN}, s.entered_at, NULL
        FROM stages s
        WHERE s.lifecycle = :name AND (CAST(:until AS bigint) IS NULL OR s.entered_at < :until) {{customers_s}}
    ),
    counted AS (
        SELECT spans.stage, t.customer_id,
               count(*) FILTER (WHERE t.flags & 4 = 4) AS outbound,
               count(*) FILTER (WHERE t.flags & 4 = 0) AS inbound,
               count(*) FILTER (WHERE t.type = ANY (:feedback)) AS feedback,
               count(*) FILTER (WHERE t.type = 'feedback_asked') AS feedback_asked,
               -- Longer than a year is no meeting, and would overflow the sum some day. The text is searched first,
               -- which takes a tenth of the time of parsing it.
               sum(CASE WHEN CAST(t.properties AS text) ~ 'minutes|\\\\' THEN
                       CASE WHEN json_typeof(t.properties -> 'minutes') = 'number'
                             AND abs(CAST(t.properties ->> 'minutes' AS double precision)) <= 525600
                            THEN CAST(t.properties ->> 'minutes' AS double precision) END
                   END) AS minutes
        FROM spans
        JOIN touchpoints t
          ON t.customer_id = spans.customer_id
         AND t.occurred_at > spans.began
         AND (spans.ended IS NULL OR t.occurred_at <= spans.ended)
        WHERE t.flags & 1 = 0 AND {_TOUCHED_IN_SPAN}
        GROUP BY spans.stage, t.customer_id
    )
    SELECT stage, CAST(sum(outbound) AS bigint) AS outbound, CAST(sum(inbound) AS bigint) AS inbound,
           CAST(sum(feedback) AS bigint) AS feedback, CAST(sum(feedback_asked) AS bigint) AS feedback_asked,
           coalesce(sum(minutes), 0) AS minutes, count(*) AS customers
    FROM counted
    GROUP BY stage
"""  # noqa: S608

# The channels and sources of first touchpoints, the most frequent first.
FIRSTS = text("""
    SELECT first_channel AS channel, first_source AS source, count(*) AS customers
    FROM customer_summaries WHERE first_channel IS NOT NULL GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 200
""")
