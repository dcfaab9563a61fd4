"""The SQL of the decision half: positions (their leases are in `lease`), profiles, facts, actions."""

READ_THROUGH = "SELECT partition, read_through FROM positions WHERE stream = $1"

SAVE_READ_THROUGH = """
-- Everything that was published on a partition up to an instant has been read and decided on.
UPDATE positions
SET read_through = new.at
FROM unnest($2::int[], $3::bigint[], $4::timestamptz[]) AS new(partition, epoch, at)
WHERE positions.stream = $1 AND positions.partition = new.partition AND positions.epoch = new.epoch
"""

# Of the topic as it is now.
TOUCHPOINTS_READ = """SELECT partition, next_touchpoint
FROM positions
WHERE stream = $1 AND touchpoints_topic_id IS NOT DISTINCT FROM $2
"""

KEPT_KEY = """
-- The first process creates it; all others get the same.
INSERT INTO kept (name, value) VALUES ('secret', to_jsonb($1::text))
ON CONFLICT (name) DO UPDATE SET value = kept.value
RETURNING value #>> '{}'
"""

KNOWN_KEY = "SELECT value #>> '{}' FROM kept WHERE name = 'secret'"

KEEP_LINK_KEYS = """
-- Keys of unsubscribe links are only ever added: a link works as long as the mail exists.
INSERT INTO kept (name, value)
SELECT 'link_key:' || encode(sha256(key), 'hex'), to_jsonb(encode(key, 'hex'))
FROM unnest($1::bytea[]) AS key
ON CONFLICT DO NOTHING
"""

LINK_KEYS = "SELECT decode(value #>> '{}', 'hex') AS key FROM kept WHERE name LIKE 'link\\_key:%'"

LONG_KEYS_OF = """
-- The customer, by now or before, whose id of more than 300 bytes has this SHA-256 (core.unsubscribe.tokens).
SELECT customer_id AS key FROM profiles
WHERE octet_length(customer_id) > 300 AND sha256(convert_to(customer_id, 'UTF8')) = $1
UNION
SELECT old_key FROM aliases
WHERE octet_length(old_key) > 300 AND sha256(convert_to(old_key, 'UTF8')) = $1
"""

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
-- Always in the same order, to prevent deadlocks.
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
-- The latest report of each kind counts, in any order of arrival. An opt-out without a block is a row with the reason
-- unsubscribed, which earlier releases take for a suppression.
INSERT INTO suppressions AS stored (address_hash, reason, since, lifted_at, opted_out_at, opted_in_at)
SELECT address_hash, coalesce(reason, 'unsubscribed'), coalesce(since, opted_out_at, '-infinity'), lifted_at,
       opted_out_at, opted_in_at
FROM unnest($1::bytea[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
     AS new(address_hash, reason, since, lifted_at, opted_out_at, opted_in_at)
ON CONFLICT (address_hash) DO UPDATE
SET (reason, since) = (
        SELECT reason, since
        FROM (VALUES (stored.reason, stored.since), (excluded.reason, excluded.since)) AS reports(reason, since)
        ORDER BY reason <> 'unsubscribed' AND since > '-infinity' DESC, since DESC, reason COLLATE "C" DESC
        LIMIT 1
    ),
    lifted_at    = greatest(stored.lifted_at, excluded.lifted_at),
    opted_out_at = greatest(stored.opted_out_at, excluded.opted_out_at,
                            CASE WHEN stored.reason = 'unsubscribed' THEN nullif(stored.since, '-infinity') END),
    opted_in_at  = greatest(stored.opted_in_at, excluded.opted_in_at)
"""

SUPPRESSIONS = """
SELECT address_hash, reason, nullif(since, '-infinity') AS since, lifted_at, opted_out_at, opted_in_at
FROM suppressions
WHERE address_hash = ANY($1)
"""

STANDING = """
SELECT customer_id, lifecycle, incarnation, fact_no, stage, entered_at, sequence, stalled_level, era
FROM standing
WHERE customer_id = ANY($1)
"""

SAVE_STANDING = """
INSERT INTO standing
       (customer_id, lifecycle, incarnation, fact_no, stage, entered_at, sequence, stalled_level, era)
SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::text[], $6::timestamptz[], $7::bigint[],
                     $8::int[], $9::int[])
ON CONFLICT (customer_id, lifecycle) DO UPDATE
SET incarnation   = excluded.incarnation,
    fact_no       = excluded.fact_no,
    stage         = excluded.stage,
    entered_at    = excluded.entered_at,
    sequence      = excluded.sequence,
    stalled_level = excluded.stalled_level,
    era           = excluded.era
"""

ACTION_FIELDS = (
    "action_id", "play", "fact", "customer_id", "channel", "endpoint", "priority", "outcome", "reason_code", "reason",
    "decide_at", "decided_at", "counts", "contact", "held_out", "events",
)  # fmt: skip
"""What makes a :class:`~touchline_notifier.core.decisions.customer_history.Action`."""

COUNTED = """
-- What frequency caps count: what was delivered after $2, and what is decided and not delivered yet.
SELECT action_id, play, fact, customer_id, channel, endpoint, priority, outcome, reason_code, reason, decide_at,
       decided_at, counts, contact, held_out, events, run_id, step, step_at,
       coalesce(finished_at, decided_at) AS delivered_at,
       EXISTS (
           SELECT FROM deliveries AS delivery
           WHERE delivery.action_id = action.action_id AND delivery.status = 'delivering'
       ) AS under_way
FROM actions AS action
WHERE customer_id = ANY($1)
  AND counts
  AND (outcome = 'decided' OR (outcome = 'sent' AND coalesce(finished_at, decided_at) > $2))
"""

WAITING = """
SELECT action_id, play, fact, customer_id, channel, endpoint, priority, outcome, reason_code, reason, decide_at,
       decided_at, counts, contact, held_out, events, run_id, step, step_at
FROM actions
WHERE customer_id = ANY($1) AND decide_at IS NOT NULL
FOR UPDATE
"""

ACTIONS_TO_SEND = """
SELECT action_id, partition, play, fact, customer_id, channel, endpoint, priority, outcome, reason_code, reason,
       decide_at, decided_at, counts, contact, held_out, events, run_id, step, step_at, finished_at
FROM actions
WHERE action_id = ANY($1::uuid[])
"""

LOCK_CUSTOMERS = """
-- One worker at a time checks a customer's actions, because the caps count what the others send. Always in the same
-- order, to prevent deadlocks.
SELECT pg_advisory_xact_lock(key)
FROM (
    SELECT DISTINCT hashtextextended(current_schema() || '/' || customer_id, 0) AS key
    FROM unnest($1::text[]) AS customer_id
    ORDER BY key
) AS keys
"""

ACTED_STALLS = """
-- Stalls that plays have acted on, or are about to.
SELECT customer_id, play, lifecycle, stage, fact -> 'data' ->> 'since' AS since, (fact ->> 'level')::int AS level
FROM actions
WHERE customer_id = ANY($1)
  AND fact_type = 'customer-stalled'
  AND run_id IS NULL
  AND (outcome IN ('decided', 'sent', 'failed', 'held_out') OR decide_at IS NOT NULL)
  AND fact -> 'data' ->> 'since' IS NOT NULL
UNION
-- And those that a sequence began on, unless it ended before it sent anything.
SELECT customer_id, play, lifecycle, fact ->> 'stage', fact -> 'data' ->> 'since', (fact ->> 'level')::int
FROM sequence_runs AS run
WHERE customer_id = ANY($1)
  AND fact_type = 'customer-stalled'
  AND (
      ended_at IS NULL
      OR held_out
      OR EXISTS (SELECT FROM sequence_visits v WHERE v.run_id = run.run_id AND v.result IN ('sent', 'failed'))
  )
  AND fact -> 'data' ->> 'since' IS NOT NULL
"""

ASSIGNMENTS = "SELECT customer_id, play, held_out FROM hold_out_assignments WHERE customer_id = ANY($1)"

SAVE_ASSIGNMENTS = """
-- The first assignment is kept.
INSERT INTO hold_out_assignments (customer_id, play, held_out, assigned_at)
SELECT customer_id, play, held_out, $4
FROM unnest($1::text[], $2::text[], $3::boolean[]) AS new(customer_id, play, held_out)
ON CONFLICT DO NOTHING
"""

MERGE_ASSIGNMENTS = """
-- A customer who was treated under one of the keys was treated.
INSERT INTO hold_out_assignments AS kept (customer_id, play, held_out, assigned_at)
SELECT merged.customer_id, old.play, bool_and(old.held_out), min(old.assigned_at)
FROM unnest($1::text[], $2::text[]) AS merged(old_key, customer_id)
JOIN hold_out_assignments AS old ON old.customer_id = merged.old_key
GROUP BY merged.customer_id, old.play
ON CONFLICT (customer_id, play) DO UPDATE
SET held_out    = kept.held_out AND excluded.held_out,
    assigned_at = least(kept.assigned_at, excluded.assigned_at)
"""

FORGET_ASSIGNMENTS = "DELETE FROM hold_out_assignments WHERE customer_id = ANY($1)"

KNOWN_ACTIONS = """
-- A play with steps has a run under the id that an action would have.
SELECT action_id FROM actions WHERE action_id = ANY($1)
UNION ALL
SELECT run_id FROM sequence_runs WHERE run_id = ANY($1)
"""

DUE_PARTITIONS = """
-- What the switch holds back is due when it is on again, in this process ($3) and in the database. $4: left out.
SELECT partition FROM sequence_runs
WHERE partition = ANY($1) AND wake_at <= $2 AND run_id <> ALL($4::uuid[])
UNION
SELECT partition FROM actions
WHERE partition = ANY($1) AND decide_at <= $2 AND action_id <> ALL($4::uuid[])
UNION
SELECT partition FROM actions
WHERE partition = ANY($1)
  AND decide_at IS NOT NULL
  AND reason_code = 'sending_off'
  AND $3
  AND action_id <> ALL($4::uuid[])
  AND NOT EXISTS (SELECT FROM kept WHERE name = 'sending_off')
"""

PLAYS_GONE = """
-- Waiting actions of plays that no longer run are decided now, which cancels them.
UPDATE actions SET decide_at = $3
WHERE partition = ANY($1) AND decide_at > $3 AND play <> ALL($2)
"""

DUE = """
-- $3: customers at most; $4: sending is on; $5: left out. Of one customer the actions of higher priority come first,
-- and runs of sequences last.
WITH due AS (
    SELECT customer_id, action_id, decide_at, priority, fact_at
    FROM actions
    WHERE partition = $1
      AND decide_at IS NOT NULL
      AND (decide_at <= $2 OR ($4 AND reason_code = 'sending_off'))
      AND action_id <> ALL($5::uuid[])
    UNION ALL
    SELECT customer_id, run_id, wake_at, -2000, wake_at
    FROM sequence_runs
    WHERE partition = $1 AND wake_at <= $2 AND run_id <> ALL($5::uuid[])
),
first AS (
    SELECT customer_id, min(decide_at) AS since FROM due GROUP BY customer_id ORDER BY since LIMIT $3
)
SELECT due.customer_id, due.action_id
FROM due JOIN first USING (customer_id)
ORDER BY first.since, due.customer_id, due.priority DESC, due.fact_at, due.action_id
"""

SAVE_ACTIONS = """
INSERT INTO actions
       (action_id, partition, play, fact_id, fact_type, fact, customer_id, lifecycle, stage, channel, endpoint,
        priority, outcome, reason_code, reason, counts, fact_at, decide_at, decided_at, events, contact, held_out,
        play_version, run_id, step, step_at)
SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::text[], $8::text[],
                     $9::text[], $10::text[], $11::text[], $12::int[], $13::text[], $14::text[], $15::text[],
                     $16::boolean[], $17::timestamptz[], $18::timestamptz[], $19::timestamptz[], $20::int[],
                     $21::boolean[], $22::boolean[], $23::int[], $24::uuid[], $25::text[], $26::timestamptz[])
ON CONFLICT (action_id) DO UPDATE
SET endpoint    = excluded.endpoint,
    outcome     = excluded.outcome,
    reason_code = excluded.reason_code,
    reason      = excluded.reason,
    decide_at   = excluded.decide_at,
    decided_at  = excluded.decided_at,
    events      = excluded.events,
    held_out    = excluded.held_out,
    -- A cancellation that no play decided leaves the version of the decision before.
    play_version = coalesce(excluded.play_version, actions.play_version)
"""

RETRYING = """
-- Actions whose delivery was tried and has not arrived yet, or waits behind an endpoint's open breaker: the customer
-- may have moved on meanwhile. What was decided just now is on its way, and goes.
SELECT action.action_id, action.play, action.fact, action.customer_id, action.channel, action.endpoint,
       action.priority, action.outcome, action.reason_code, action.reason, action.decide_at, action.decided_at,
       action.counts, action.contact, action.held_out, action.events, action.run_id, action.step, action.step_at
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
-- Actions whose effect is still watched: of all who were assigned, treated and held out alike, with any outcome.
SELECT action_id, customer_id, play, lifecycle, fact_type, decided_at, returned_at, converted_at
FROM actions
WHERE customer_id = ANY($1)
  AND held_out IS NOT NULL
  AND (returned_at IS NULL OR converted_at IS NULL)
  AND decided_at > $2
"""

SAVE_OBSERVED = """
-- The earliest is kept, in any order of arrival.
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
  AND action.held_out IS NOT NULL
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

FORGET_DELIVERIES = """
-- Whoever keeps an audience in step learns that the customer is gone, whichever topic was read first.
DELETE FROM deliveries
WHERE customer_id = ANY($1)
  AND NOT (status IN ('pending', 'delivering') AND message ->> 'type' = 'touchline.audience-left'
           AND message #>> '{data,reason,kind}' = 'erased')
"""

FORGET_ACTIONS = "DELETE FROM actions WHERE customer_id = ANY($1)"

KEYS_OF = "SELECT old_key FROM aliases WHERE customer_id = $1"

FORGET_ALIASES = "DELETE FROM aliases WHERE customer_id = $1"

REMEMBER_ERASURE = """
INSERT INTO erasures (key_hash, erased_at)
SELECT key_hash, $2 FROM unnest($1::bytea[]) AS key_hash
ON CONFLICT (key_hash) DO UPDATE SET erased_at = greatest(erasures.erased_at, excluded.erased_at)
"""
