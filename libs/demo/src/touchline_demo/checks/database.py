"""What the engine's database holds, asked with SQL of our own."""

import asyncpg

# A touchpoint may be stored under its own key and under the customer whom that key turned out to be: it is one.
FOLDED = """
    SELECT count(DISTINCT (source, id)) FILTER (WHERE source <> 'notifier') AS posted,
           count(DISTINCT (source, id)) FILTER (WHERE source = 'notifier')  AS reported
    FROM {schema}.touchpoints
"""

CUSTOMERS = """
    SELECT count(*) FROM {schema}.customers WHERE merged_into IS NULL AND touchpoints > 0
"""


async def folded(url: str, schema: str) -> tuple[int, int, int]:
    """(distinct touchpoints that were posted, those that the notifier reported, customers)."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        row = await connection.fetchrow(FOLDED.format(schema=schema))
        customers = await connection.fetchval(CUSTOMERS.format(schema=schema))
    finally:
        await connection.close()
    assert row is not None
    return row["posted"], row["reported"], customers
