"""Customers beside an audience: whether the filter holds, by the conditions of the list of customers."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from touchline_stage_engine.adapters.postgres.reads.customer_conditions import conditions_of, numbered, table_of
from touchline_stage_engine.application.audiences.values import Standing
from touchline_stage_engine.core.audiences.audience import Audience

# $1: partition, $2: audience, $3: customers. Keys that are part of another customer match nothing. A summary is written
# in the background: it is up to date where it was written at the numbers of touchpoints and aliases that there are now.
STANDINGS = """
SELECT *
FROM (
    SELECT w.customer_id, c.incarnation, coalesce(c.merged_into IS NOT NULL, false) AS merged,
           coalesce(m.member, false) AS member, coalesce(m.change_no, 0) AS change_no,
           (c.customer_id IS NULL OR c.merged_into IS NOT NULL OR c.touchpoints = 0 OR EXISTS (
               SELECT
               FROM customer_summaries f
               WHERE f.customer_id = w.customer_id AND f.touchpoints = c.touchpoints
                 AND f.aliases = (SELECT count(*) FROM aliases a WHERE a.customer_id = w.customer_id)
           )) AS summarised,
           (c.customer_id IS NOT NULL AND c.merged_into IS NULL AND EXISTS (
               SELECT FROM {table} WHERE s.customer_id = w.customer_id AND {conditions}
           )) AS matches
    FROM unnest($3::text[]) AS w (customer_id)
    LEFT JOIN customers c ON c.partition = $1 AND c.customer_id = w.customer_id
    LEFT JOIN audience_members m ON m.partition = $1 AND m.audience = $2 AND m.customer_id = w.customer_id
) AS found
"""
DIFFERING = STANDINGS + "WHERE matches <> member OR NOT summarised"


def statement_of(statement: str, partition: int, audience: Audience, customers: Sequence[str]) -> tuple[str, list[Any]]:
    """One of the statements above for an audience, and its arguments."""
    conditions, parameters = conditions_of(audience.filter)
    text, values = numbered(statement.format(table=table_of(audience.filter), conditions=conditions), parameters, 3)
    return text, [partition, audience.id, list(customers), *values]


def standing_of(row: asyncpg.Record) -> Standing:
    """A customer beside an audience."""
    return Standing(
        row["customer_id"], row["matches"], row["summarised"], row["merged"], row["incarnation"], row["member"],
        row["change_no"],
    )  # fmt: skip
