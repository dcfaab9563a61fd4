"""The SQL of the hot path, named and explained. Tables and columns: see the migrations."""

# --- ownership ---------------------------------------------------------------------------------------------------

FIND_PARTITION = """
SELECT backend_pid, backend_start
FROM partitions
WHERE cluster_id = $1 AND topic_id = $2 AND partition = $3
"""

# The first owner of a partition on this topic. The outbox goes on where an earlier topic's owner left it: its rows and
# numbers belong to the customers, not to the topic.
ADD_PARTITION = """
INSERT INTO partitions (cluster_id, topic_id, partition, identity_topic_id, last_outbox_id, relayed_through, rebuilds)
SELECT $1, $2, $3, $4, coalesce(max(last_outbox_id), 0), coalesce(max(relayed_through), 0), coalesce(max(rebuilds), 0)
FROM partitions
WHERE partition = $3
ON CONFLICT DO NOTHING
"""

# Take the partition: from here on, whoever had it can't write any more.
CLAIM_PARTITION = """
UPDATE partitions
SET epoch = epoch + 1,
    owner = $5,
    backend_pid = pg_backend_pid(),
    backend_start = (SELECT a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()),
    claimed_at = now(),
    identity_offset = CASE WHEN identity_topic_id = $4 THEN identity_offset ELSE 0 END,
    identity_topic_id = $4
WHERE cluster_id = $1 AND topic_id = $2 AND partition = $3
RETURNING epoch, next_offset, identity_offset, last_outbox_id, relayed_through, rebuilds, generation
"""

# End the backend of a predecessor that stands still with the row locked: exactly that one, or none.
TERMINATE_BACKEND = """
SELECT pg_terminate_backend(pid, 2000)
FROM pg_stat_activity
WHERE pid = $1 AND backend_start = $2
"""

# The fence: first in every transaction of an owner. No row: somebody else has the partition now, or the position is
# not where this owner left it.
MOVE_POSITION = """
UPDATE partitions
SET next_offset = $7,
    identity_offset = $8
WHERE cluster_id = $1 AND topic_id = $2 AND partition = $3 AND epoch = $4
  AND next_offset = $5 AND identity_offset = $6
RETURNING 1
"""

# Last in every transaction of an owner, on the row that the fence has locked.
COUNT_UP = """
UPDATE partitions
SET last_outbox_id = $4,
    folded = folded + $5,
    duplicates = duplicates + $6,
    conflicts = conflicts + $7,
    dead_letters = dead_letters + $8,
    erased = erased + $9,
    rebuilds = rebuilds + $10
WHERE cluster_id = $1 AND topic_id = $2 AND partition = $3
"""

RECORD_GENERATION = """
UPDATE partitions
SET generation = $5
WHERE cluster_id = $1 AND topic_id = $2 AND partition = $3 AND epoch = $4
RETURNING 1
"""

# --- customers ---------------------------------------------------------------------------------------------------

LOAD_CUSTOMERS = """
SELECT *
FROM customers
WHERE partition = $1 AND customer_id = ANY ($2::text[])
"""

# Whose timers may be due. wake_at is at or before the true time: the owner works it out and fires, or writes it anew.
CUSTOMERS_TO_WAKE = """
SELECT customer_id
FROM customers
WHERE partition = $1 AND wake_at <= $2
ORDER BY wake_at
LIMIT $3
"""

NEXT_WAKE = """
SELECT min(wake_at)
FROM customers
WHERE partition = $1 AND wake_at IS NOT NULL
"""

# A sweep's next customers, in the order of the primary key.
CUSTOMERS_AFTER = """
SELECT customer_id, generation
FROM customers
WHERE partition = $1 AND customer_id > $2
ORDER BY customer_id
LIMIT $3
"""

SAVE_CUSTOMERS = """
INSERT INTO customers (
    partition, customer_id, incarnation, erased_before, touchpoints, last_at, last_id, last_source, seen_at,
    fired_through, wake_at, generation, states, checkpointed, merged_into, merges, identity
)
SELECT $1, *
FROM unnest($2::customer_row[])
ON CONFLICT (partition, customer_id) DO UPDATE SET
    incarnation = excluded.incarnation,
    erased_before = excluded.erased_before,
    touchpoints = excluded.touchpoints,
    last_at = excluded.last_at,
    last_id = excluded.last_id,
    last_source = excluded.last_source,
    seen_at = excluded.seen_at,
    fired_through = excluded.fired_through,
    wake_at = excluded.wake_at,
    generation = excluded.generation,
    states = excluded.states,
    checkpointed = excluded.checkpointed,
    merged_into = excluded.merged_into,
    merges = excluded.merges,
    identity = excluded.identity
"""

# --- touchpoints -------------------------------------------------------------------------------------------------

# Which of these are stored already, with all that is needed to tell a repetition from another content.
FIND_TOUCHPOINTS = """
SELECT t.*
FROM unnest($1::bigint[], $2::text[]) AS asked (hash, customer_id)
JOIN touchpoints t USING (hash, customer_id)
"""

DELETE_TOUCHPOINTS_BEFORE = """
DELETE FROM touchpoints
WHERE customer_id = $1 AND occurred_at < $2
"""

COUNT_TOUCHPOINTS = "SELECT count(*), max(occurred_at) FROM touchpoints WHERE customer_id = $1"

DELETE_TOUCHPOINTS = """
DELETE FROM touchpoints t
USING unnest($1::bigint[], $2::text[]) AS gone (hash, customer_id)
WHERE t.hash = gone.hash AND t.customer_id = gone.customer_id
"""

# A customer's touchpoints in order, after one place in it and up to another.
TOUCHPOINTS_BETWEEN = """
SELECT occurred_at, id, source, hash, type, channel, flags, received_at, properties, identifiers, original_key
FROM touchpoints
WHERE customer_id = $1
  AND occurred_at >= $2
  AND (occurred_at, id, source) > ($2, $3, $4)
  AND occurred_at <= $5
  AND (occurred_at, id, source) <= ($5, $6, $7)
ORDER BY occurred_at, id, source
LIMIT $8
"""

# The same for several customers at once, no more than a chunk of each.
TOUCHPOINTS_BETWEEN_OF_MANY = """
SELECT t.*
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[]) WITH ORDINALITY
    AS asked (customer_id, after_at, after_id, after_source, at, id, source, no)
JOIN LATERAL (
    SELECT *
    FROM touchpoints
    WHERE customer_id = asked.customer_id
      AND occurred_at >= asked.after_at
      AND (occurred_at, id, source) > (asked.after_at, asked.after_id, asked.after_source)
      AND occurred_at <= asked.at
      AND (occurred_at, id, source) <= (asked.at, asked.id, asked.source)
    ORDER BY occurred_at, id, source
    LIMIT $8
) t ON true
ORDER BY asked.no, t.occurred_at, t.id, t.source
"""

# What keys have handed over to customers: pairs of them.
FIND_TOUCHPOINTS_OF_KEYS = """
SELECT t.hash, t.customer_id
FROM unnest($1::text[], $2::text[]) AS gone (customer_id, alias)
JOIN touchpoints t ON t.customer_id = gone.customer_id AND t.original_key = gone.alias
"""

DELETE_TOUCHPOINTS_OF_KEYS = """
DELETE FROM touchpoints t
USING unnest($1::text[], $2::text[]) AS gone (customer_id, alias)
WHERE t.customer_id = gone.customer_id AND t.original_key = gone.alias
RETURNING t.customer_id
"""

FIND_COPIES = """
SELECT c.*
FROM unnest($1::bigint[], $2::text[]) AS asked (hash, customer_id)
JOIN copies c USING (hash, customer_id)
"""

# A key's own contents where another key's counts.
OWN_COPIES = """
SELECT c.*
FROM copies c
WHERE c.customer_id = $1 AND c.original_key = $1
  AND NOT EXISTS (
      SELECT FROM touchpoints t WHERE t.hash = c.hash AND t.customer_id = $1 AND t.original_key IS NULL
  )
"""

# What a key's own contents name beside it, whichever key's content counts where they are contested.
LINKS_MADE = """
SELECT occurred_at, id, source, identifiers
FROM touchpoints
WHERE customer_id = $1 AND original_key IS NULL AND identifiers IS NOT NULL AND flags & 1 = 0
UNION ALL
SELECT c.occurred_at, c.id, c.source, c.identifiers
FROM copies c
WHERE c.customer_id = $1 AND c.original_key = $1 AND c.identifiers IS NOT NULL AND c.flags & 1 = 0
  AND NOT EXISTS (
      SELECT FROM touchpoints t WHERE t.hash = c.hash AND t.customer_id = $1 AND t.original_key IS NULL
  )
"""

SAVE_COPIES = """
INSERT INTO copies (
    customer_id, hash, original_key, digest, occurred_at, id, source, type, channel, flags, received_at, properties,
    identifiers
)
SELECT *
FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::bytea[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::smallint[], $11::bigint[], $12::json[], $13::json[]
)
ON CONFLICT (customer_id, hash, original_key) DO UPDATE SET
    digest = excluded.digest,
    occurred_at = excluded.occurred_at,
    type = excluded.type,
    channel = excluded.channel,
    flags = excluded.flags,
    received_at = excluded.received_at,
    properties = excluded.properties,
    identifiers = excluded.identifiers
WHERE (excluded.occurred_at, excluded.digest) < (copies.occurred_at, copies.digest)
"""

DELETE_COPIES_OF_KEYS = """
DELETE FROM copies c
USING unnest($1::text[], $2::text[]) AS gone (customer_id, alias)
WHERE c.customer_id = gone.customer_id AND c.original_key = gone.alias
"""

SAVE_FATES = """
INSERT INTO fates (hash, fate, times, at, reason, error, origin)
SELECT hash, fate, times, $1, reason, error, origin
FROM unnest($2::bigint[], $3::text[], $4::int[], $5::text[], $6::text[], $7::text[])
    AS f (hash, fate, times, reason, error, origin)
ON CONFLICT (hash, fate) DO UPDATE SET
    times = fates.times + excluded.times,
    at = excluded.at,
    reason = excluded.reason,
    error = excluded.error,
    origin = excluded.origin
"""

LAST_TOUCHPOINT = """
SELECT occurred_at, id, source
FROM touchpoints
WHERE customer_id = $1 AND flags & 1 = 0
ORDER BY occurred_at DESC, id DESC, source DESC
LIMIT 1
"""

# --- history, checkpoints, stages ----------------------------------------------------------------------------------

# A stretch of history that has been folded again: after the facts that are kept, up to a number or (null) to the end.
CUT_HISTORY = """
DELETE FROM history h
USING unnest($1::text[], $2::text[], $3::int[], $4::int[]) AS cut (customer_id, lifecycle, kept, through)
WHERE h.customer_id = cut.customer_id AND h.lifecycle = cut.lifecycle
  AND h.no > cut.kept AND h.no <= coalesce(cut.through, 2147483647)
"""

# Of each customer the last checkpoint before a place in the order.
CHECKPOINTS_BEFORE = """
SELECT c.customer_id, c.occurred_at, c.id, c.source, c.states
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) AS asked (customer_id, at, id, source)
JOIN LATERAL (
    SELECT *
    FROM checkpoints
    WHERE customer_id = asked.customer_id
      AND (occurred_at, id, source) < (asked.at, asked.id, asked.source)
    ORDER BY occurred_at DESC, id DESC, source DESC
    LIMIT 1
) c ON true
"""

# Of each customer the checkpoints after a place in the order; states are compared, so their digest is enough.
CHECKPOINTS_AFTER = """
SELECT c.customer_id, c.occurred_at, c.id, c.source, sha256(c.states) AS digest
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) AS asked (customer_id, at, id, source)
JOIN LATERAL (
    SELECT *
    FROM checkpoints
    WHERE customer_id = asked.customer_id
      AND (occurred_at, id, source) > (asked.at, asked.id, asked.source)
    ORDER BY occurred_at, id, source
) c ON true
ORDER BY c.customer_id, c.occurred_at, c.id, c.source
"""

DELETE_CHECKPOINTS_BETWEEN = """
DELETE FROM checkpoints c
USING unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[])
    AS cut (customer_id, after_at, after_id, after_source, at, id, source)
WHERE c.customer_id = cut.customer_id
  AND (c.occurred_at, c.id, c.source) > (cut.after_at, cut.after_id, cut.after_source)
  AND (c.occurred_at, c.id, c.source) < (cut.at, cut.id, cut.source)
"""

SAVE_STAGES = """
INSERT INTO stages (
    partition, customer_id, lifecycle, version, stage, entered_at, sequence, stalled_level, stalled_since, updated_at
)
SELECT $1, *, $3
FROM unnest($2::stage_row[])
ON CONFLICT (customer_id, lifecycle) DO UPDATE SET
    version = excluded.version,
    stage = excluded.stage,
    entered_at = excluded.entered_at,
    sequence = excluded.sequence,
    stalled_level = excluded.stalled_level,
    stalled_since = excluded.stalled_since,
    updated_at = excluded.updated_at
"""

DELETE_STAGES = """
DELETE FROM stages s
USING unnest($1::text[], $2::text[]) AS gone (customer_id, lifecycle)
WHERE s.customer_id = gone.customer_id AND s.lifecycle = gone.lifecycle
"""

DELETE_HISTORY_OF = "DELETE FROM history WHERE customer_id = ANY ($1::text[])"

DELETE_CHECKPOINTS_OF = "DELETE FROM checkpoints WHERE customer_id = ANY ($1::text[])"

# --- identity and erasure --------------------------------------------------------------------------------------------

ADD_ALIASES = """
INSERT INTO aliases (customer_id, alias)
SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT DO NOTHING
"""

REMOVE_ALIASES = """
DELETE FROM aliases a
USING unnest($1::text[], $2::text[]) AS gone (customer_id, alias)
WHERE a.customer_id = gone.customer_id AND a.alias = gone.alias
"""

ALIASES_OF = "SELECT alias FROM aliases WHERE customer_id = $1"

FORGET_CONFLICTS = "DELETE FROM identity_conflicts WHERE key = ANY ($1::text[])"

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

FIND_ERASURES = """
SELECT key_hash, erased_at, incarnation, merges
FROM erasures
WHERE partition = $1 AND key_hash = ANY ($2::bytea[])
"""

ANY_ERASURES = "SELECT EXISTS (SELECT FROM erasures WHERE partition = $1)"

REMEMBER_ERASURE = """
INSERT INTO erasures (partition, key_hash, erased_at, incarnation, merges)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (partition, key_hash) DO UPDATE SET
    erased_at = greatest(erasures.erased_at, excluded.erased_at),
    incarnation = greatest(erasures.incarnation, excluded.incarnation),
    merges = greatest(erasures.merges, excluded.merges)
"""

# Everything that names a customer; the partition's owner runs each with the key.
ERASE = (
    "DELETE FROM copies WHERE customer_id = $1",
    "DELETE FROM history WHERE customer_id = $1",
    "DELETE FROM checkpoints WHERE customer_id = $1",
    "DELETE FROM stages WHERE customer_id = $1",
    "DELETE FROM aliases WHERE customer_id = $1",
    "DELETE FROM identity_conflicts WHERE key = $1 OR other = $1 OR customer_a = $1 OR customer_b = $1",
    "DELETE FROM customers WHERE customer_id = $1",
)

# --- outbox ----------------------------------------------------------------------------------------------------------

# The rows that hold records after an id: of the first perhaps the end alone.
OUTBOX_AFTER = """
SELECT first_id, last_id, records
FROM outbox
WHERE partition = $1 AND last_id > $2
ORDER BY last_id
LIMIT $3
"""

# What has been published may go; published is published, so this needs no fence.
CLEAR_OUTBOX = "DELETE FROM outbox WHERE partition = $1 AND last_id <= $2"

RECORD_RELAYED = """
UPDATE partitions
SET relayed_through = greatest(relayed_through, $4)
WHERE cluster_id = $1 AND topic_id = $2 AND partition = $3
"""
