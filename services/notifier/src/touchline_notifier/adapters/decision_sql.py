"""The SQL of the decision half: positions, profiles, facts, actions."""

CLAIM = """
-- Take a partition: whoever held it can't write any more.
INSERT INTO positions (stream, partition, epoch, owner_pid, owner_started)
VALUES ($1, $2, 1, pg_backend_pid(),
        (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()))
ON CONFLICT (stream, partition) DO UPDATE
SET epoch         = positions.epoch + 1,
    owner_pid     = excluded.owner_pid,
    owner_started = excluded.owner_started
RETURNING epoch, next_touchpoint, next_fact, last_publish_no
"""

OWNER = "SELECT owner_pid, owner_started FROM positions WHERE stream = $1 AND partition = $2"

END_OWNER = """
-- Exactly the backend that held the partition (a pid alone may be somebody else's by now), and that of its relay.
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = current_database()
  AND ((pid = $1 AND backend_start = $2) OR application_name = $3)
"""

ADVANCE = """
-- The fence: no row means that somebody else owns the partition, and this transaction must not commit.
UPDATE positions
SET next_touchpoint = $4, next_fact = $5
WHERE stream = $1 AND partition = $2 AND epoch = $3 AND next_touchpoint = $6 AND next_fact = $7
RETURNING epoch
"""

TOUCHPOINTS_READ = "SELECT partition, next_touchpoint FROM positions WHERE stream = $1"

KEPT_KEY = """
-- The first who asks makes it; everybody after gets the same.
INSERT INTO kept (name, value) VALUES ('secret', to_jsonb($1::text))
ON CONFLICT (name) DO UPDATE SET value = kept.value
RETURNING value #>> '{}'
"""

KNOWN_KEY = "SELECT value #>> '{}' FROM kept WHERE name = 'secret'"

SENDING_OFF = "SELECT value FROM kept WHERE name = 'sending_off'"

SWITCH_OFF = """
INSERT INTO kept (name, value) VALUES ('sending_off', $1::jsonb)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""

SWITCH_ON = "DELETE FROM kept WHERE name = 'sending_off'"

ALIASES = "SELECT old_key, customer_id FROM aliases WHERE old_key = ANY($1)"

ERASURES = "SELECT key_hash, erased_at FROM erasures WHERE key_hash = ANY($1)"

NEW_PROFILES = """
-- Rows to lock: two partitions' owners may write to one profile, when customers merge.
INSERT INTO profiles (customer_id, profile, updated_at)
SELECT customer_id, '{}', $2 FROM unnest($1::text[]) AS customer_id
ON CONFLICT DO NOTHING
"""

LOCK_PROFILES = """
-- In one order for everybody, so that nobody waits in a circle.
SELECT customer_id, profile FROM profiles WHERE customer_id = ANY($1) ORDER BY customer_id FOR UPDATE
"""

PROFILES = "SELECT customer_id, profile FROM profiles WHERE customer_id = ANY($1)"

SAVE_PROFILES = """
UPDATE profiles AS stored
SET profile = new.profile, updated_at = $3
FROM unnest($1::text[], $2::json[]) AS new(customer_id, profile)
WHERE stored.customer_id = new.customer_id
"""

SAVE_SUPPRESSIONS = """
-- The latest word counts, in whatever order the words come.
INSERT INTO suppressions AS stored (address_hash, reason, since, lifted_at)
SELECT address_hash, reason, CASE WHEN lifted THEN '-infinity' ELSE at END, CASE WHEN lifted THEN at END
FROM unnest($1::bytea[], $2::text[], $3::timestamptz[], $4::boolean[]) AS new(address_hash, reason, at, lifted)
ON CONFLICT (address_hash) DO UPDATE
SET reason    = CASE WHEN excluded.since > stored.since THEN excluded.reason ELSE stored.reason END,
    since     = greatest(stored.since, excluded.since),
    lifted_at = greatest(stored.lifted_at, excluded.lifted_at)
"""

SUPPRESSIONS = """
SELECT address_hash, reason
FROM suppressions
WHERE address_hash = ANY($1) AND (lifted_at IS NULL OR lifted_at <= since)
"""

STANDING = """
SELECT customer_id, lifecycle, incarnation, fact_no, stage, entered_at, sequence, stalled_level
FROM standing
WHERE customer_id = ANY($1)
"""

SAVE_STANDING = """
INSERT INTO standing
       (customer_id, lifecycle, incarnation, fact_no, stage, entered_at, sequence, stalled_level)
SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::text[], $6::timestamptz[], $7::bigint[],
                     $8::int[])
ON CONFLICT (customer_id, lifecycle) DO UPDATE
SET incarnation   = excluded.incarnation,
    fact_no       = excluded.fact_no,
    stage         = excluded.stage,
    entered_at    = excluded.entered_at,
    sequence      = excluded.sequence,
    stalled_level = excluded.stalled_level
"""

COUNTED = """
-- What frequency caps count: decided and not failed or cancelled since.
SELECT customer_id, decided_at, channel, play
FROM actions
WHERE customer_id = ANY($1) AND counts AND outcome IN ('decided', 'sent') AND decided_at > $2
"""

WAITING = """
SELECT action_id, play, fact, customer_id, channel, endpoint, priority, outcome, reason_code, reason, decide_at,
       decided_at, counts, events
FROM actions
WHERE customer_id = ANY($1) AND decide_at IS NOT NULL
FOR UPDATE
"""

KNOWN_ACTIONS = "SELECT action_id FROM actions WHERE action_id = ANY($1)"

DUE_PARTITIONS = """
SELECT DISTINCT partition FROM actions
WHERE partition = ANY($1) AND decide_at <= $2
"""

PLAYS_GONE = """
-- What plays that no longer run left waiting is decided now, which is to say cancelled.
UPDATE actions SET decide_at = $3
WHERE partition = ANY($1) AND decide_at > $3 AND play <> ALL($2)
"""

DUE_CUSTOMERS = """
SELECT customer_id
FROM actions
WHERE partition = $1 AND decide_at <= $2
GROUP BY customer_id
ORDER BY min(decide_at)
LIMIT $3
"""

SAVE_ACTIONS = """
INSERT INTO actions
       (action_id, partition, play, fact_id, fact_type, fact, customer_id, lifecycle, stage, channel, endpoint,
        priority, outcome, reason_code, reason, counts, fact_at, decide_at, decided_at, events)
SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::text[], $8::text[],
                     $9::text[], $10::text[], $11::text[], $12::int[], $13::text[], $14::text[], $15::text[],
                     $16::boolean[], $17::timestamptz[], $18::timestamptz[], $19::timestamptz[], $20::int[])
ON CONFLICT (action_id) DO UPDATE
SET endpoint    = excluded.endpoint,
    outcome     = excluded.outcome,
    reason_code = excluded.reason_code,
    reason      = excluded.reason,
    decide_at   = excluded.decide_at,
    decided_at  = excluded.decided_at,
    events      = excluded.events
"""

RETRYING = """
-- Actions whose delivery was tried and has not arrived yet, or stands behind an endpoint's open breaker: the customer
-- may have moved on meanwhile. What was decided just now is on its way, and goes.
SELECT action.action_id, action.play, action.fact, action.customer_id, action.channel, action.endpoint,
       action.priority, action.outcome, action.reason_code, action.reason, action.decide_at, action.decided_at,
       action.counts, action.events
FROM actions AS action
JOIN deliveries AS delivery USING (action_id)
WHERE action.customer_id = ANY($1)
  AND action.outcome = 'decided'
  AND delivery.status = 'pending'
  AND (delivery.attempts > 0 OR delivery.created_at < now() - interval '1 minute')
ORDER BY action.action_id
FOR UPDATE
"""

CANCEL_DELIVERIES = """
UPDATE deliveries
SET status = 'cancelled', finished_at = $2, last_error = coalesce(last_error, 'no longer wanted')
WHERE action_id = ANY($1) AND status = 'pending'
"""

OBSERVED = """
-- Actions whose effect is still watched: treated and held out alike.
SELECT action_id, customer_id, play, lifecycle, fact_type, decided_at, returned_at, converted_at
FROM actions
WHERE customer_id = ANY($1)
  AND outcome IN ('decided', 'sent', 'failed', 'held_out')
  AND (returned_at IS NULL OR converted_at IS NULL)
  AND decided_at > $2
"""

SAVE_OBSERVED = """
-- The earliest is kept, in whatever order touchpoints come.
UPDATE actions AS action
SET returned_at  = least(action.returned_at, new.returned_at),
    converted_at = least(action.converted_at, new.converted_at)
FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS new(action_id, returned_at, converted_at)
WHERE action.action_id = new.action_id
"""

RECOVERED = """
UPDATE actions AS action
SET recovered_at = least(action.recovered_at, new.at)
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS new(customer_id, lifecycle, at)
WHERE action.customer_id = new.customer_id
  AND action.lifecycle = new.lifecycle
  AND action.fact_type = 'customer-stalled'
  AND action.outcome IN ('decided', 'sent', 'failed', 'held_out')
  AND new.at > action.fact_at
"""

MERGE_ALIASES = """
-- What was part of the old key is part of the customer now.
UPDATE aliases AS alias
SET customer_id = merged.customer_id
FROM unnest($1::text[], $2::text[]) AS merged(old_key, customer_id)
WHERE alias.customer_id = merged.old_key
"""

NEW_ALIASES = """
INSERT INTO aliases (old_key, customer_id)
SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT (old_key) DO UPDATE SET customer_id = excluded.customer_id
"""

MERGE_ACTIONS = """
UPDATE actions AS action
SET customer_id = merged.customer_id, partition = merged.partition
FROM unnest($1::text[], $2::text[], $3::int[]) AS merged(old_key, customer_id, partition)
WHERE action.customer_id = merged.old_key
"""

MERGE_DELIVERIES = """
UPDATE deliveries AS delivery
SET customer_id = merged.customer_id, partition = merged.partition
FROM unnest($1::text[], $2::text[], $3::int[]) AS merged(old_key, customer_id, partition)
WHERE delivery.customer_id = merged.old_key
"""

FORGET_PROFILE = "DELETE FROM profiles WHERE customer_id = ANY($1)"

FORGET_STANDING = "DELETE FROM standing WHERE customer_id = ANY($1)"

FORGET_DELIVERIES = "DELETE FROM deliveries WHERE customer_id = ANY($1)"

FORGET_ACTIONS = "DELETE FROM actions WHERE customer_id = ANY($1)"

KEYS_OF = "SELECT old_key FROM aliases WHERE customer_id = $1"

FORGET_ALIASES = "DELETE FROM aliases WHERE customer_id = $1"

REMEMBER_ERASURE = """
INSERT INTO erasures (key_hash, erased_at)
SELECT key_hash, $2 FROM unnest($1::bytea[]) AS key_hash
ON CONFLICT (key_hash) DO UPDATE SET erased_at = greatest(erasures.erased_at, excluded.erased_at)
"""
