"""Statements of the customer summaries. Parameters are asyncpg's ($1, …)."""

# Customers whose summary is missing or was written at another number of touchpoints or aliases, and those of a day ago:
# a content that gave way to a smaller one changes no number.
STALE = """
SELECT c.customer_id
FROM customers c
LEFT JOIN customer_summaries s ON s.customer_id = c.customer_id
LEFT JOIN (SELECT customer_id, count(*) AS aliases FROM aliases GROUP BY customer_id) a ON a.customer_id = c.customer_id
WHERE c.merged_into IS NULL AND c.touchpoints > 0
  AND (s.customer_id IS NULL OR s.touchpoints <> c.touchpoints OR s.aliases <> coalesce(a.aliases, 0)
       OR s.written_at < $1)
"""

# Summaries of customers who were erased, or merged into others.
DELETE_GONE = """
DELETE FROM customer_summaries s
WHERE NOT EXISTS (
    SELECT FROM customers c
    WHERE c.customer_id = s.customer_id AND c.merged_into IS NULL AND c.touchpoints > 0
)
RETURNING s.customer_id
"""
DELETE_TERMS = "DELETE FROM customer_terms WHERE customer_id = ANY ($1::text[])"

# What the touchpoints of some customers say. Amounts as in `value`: what no customer pays is left out, so that no sum
# overflows. $1: customers, with $2: their numbers of touchpoints, $3: passive types.
GATHER = """
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::bigint[]) AS w (customer_id, touchpoints)
),
t AS (
    SELECT t.customer_id, t.occurred_at, t.id, t.source, t.type, t.channel, t.flags, t.properties, t.identifiers,
           CASE 'number'
               WHEN json_typeof(t.properties -> 'value') THEN CAST(t.properties ->> 'value' AS numeric)
               WHEN json_typeof(t.properties -> 'amount') THEN CAST(t.properties ->> 'amount' AS numeric)
               WHEN json_typeof(t.properties -> 'total') THEN CAST(t.properties ->> 'total' AS numeric)
           END AS amount
    FROM touchpoints t JOIN wanted w ON w.customer_id = t.customer_id
),
sums AS (
    SELECT customer_id,
           max(occurred_at) FILTER (WHERE flags & 5 = 0 AND type <> ALL ($3::text[])) AS active_at,
           coalesce(sum(CASE WHEN type = 'refunded' THEN -abs(amount) ELSE amount END)
                    FILTER (WHERE type IN ('purchased', 'renewed', 'upgraded', 'refunded')
                            AND flags & 1 = 0 AND abs(amount) < 1e12), 0) AS value,
           count(*) FILTER (WHERE type IN ('purchased', 'renewed', 'upgraded')
                            AND flags & 1 = 0 AND abs(amount) < 1e12) AS purchases,
           max(occurred_at) FILTER (WHERE type IN ('purchased', 'renewed', 'upgraded')
                                    AND flags & 1 = 0 AND abs(amount) < 1e12) AS last_purchase_at
    FROM t
    GROUP BY customer_id
),
firsts AS (
    SELECT DISTINCT ON (customer_id) customer_id, occurred_at AS first_at, channel AS first_channel,
           source AS first_source
    FROM t
    ORDER BY customer_id, occurred_at, id, source
)
SELECT w.customer_id, w.touchpoints, sums.active_at, CAST(sums.value AS double precision) AS value, sums.purchases,
       sums.last_purchase_at, firsts.first_at, firsts.first_channel, firsts.first_source
FROM wanted w JOIN sums USING (customer_id) JOIN firsts USING (customer_id)
"""

# Who they say they are: traits, names and addresses, in the order in which they were said.
SAID = """
SELECT customer_id, type, channel, properties, identifiers
FROM touchpoints
WHERE customer_id = ANY ($1::text[])
  AND flags & 1 = 0
  AND (identifiers IS NOT NULL OR type IN ('identified', 'signed_up') OR json_typeof(properties -> 'traits') = 'object')
ORDER BY customer_id, occurred_at, id, source
"""
KEYS = "SELECT customer_id, alias FROM aliases WHERE customer_id = ANY ($1::text[])"
COUNTS = "SELECT customer_id, touchpoints FROM customers WHERE customer_id = ANY ($1::text[]) AND merged_into IS NULL"

SAVE = """
INSERT INTO customer_summaries (
    customer_id, touchpoints, name, email, traits, first_at, first_channel, first_source, active_at, value, purchases,
    last_purchase_at, aliases, written_at
)
SELECT customer_id, touchpoints, name, email, CAST(traits AS jsonb), first_at, first_channel, first_source, active_at,
       value, purchases, last_purchase_at, aliases, $14
FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::bigint[],
    $10::double precision[], $11::integer[], $12::bigint[], $13::integer[]
) AS s (
    customer_id, touchpoints, name, email, traits, first_at, first_channel, first_source, active_at, value, purchases,
    last_purchase_at, aliases
)
ON CONFLICT (customer_id) DO UPDATE SET
    touchpoints = excluded.touchpoints, name = excluded.name, email = excluded.email, traits = excluded.traits,
    first_at = excluded.first_at, first_channel = excluded.first_channel, first_source = excluded.first_source,
    active_at = excluded.active_at, value = excluded.value, purchases = excluded.purchases,
    last_purchase_at = excluded.last_purchase_at, aliases = excluded.aliases, written_at = excluded.written_at
"""
SAVE_TERMS = """
INSERT INTO customer_terms (term, customer_id)
SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT DO NOTHING
"""
LOCK = "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || ' customer summaries', 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended(current_schema() || ' customer summaries', 0))"
