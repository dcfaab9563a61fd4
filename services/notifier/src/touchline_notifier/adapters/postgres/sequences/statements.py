"""The SQL of sequences."""

RUNNING = """
-- Locked: whoever adds a touchpoint that a run waits for, and wakes it, does so before or after the transaction.
SELECT run_id, customer_id, fact, digest, play_version, started_at, step, entered_at, held_out, wake_at, outcome, anchor
FROM sequence_runs
WHERE customer_id = ANY($1) AND ended_at IS NULL
ORDER BY run_id
FOR NO KEY UPDATE
"""

HITS = "SELECT run_id, step, at FROM sequence_hits WHERE run_id = ANY($1::uuid[])"

DEFINITIONS = "SELECT digest, definition FROM sequence_definitions WHERE digest = ANY($1::bytea[])"

KEEP_DEFINITIONS = """
INSERT INTO sequence_definitions (digest, definition)
SELECT * FROM unnest($1::bytea[], $2::text[])
ON CONFLICT DO NOTHING
"""

SAVE_RUNS = """
INSERT INTO sequence_runs
       (run_id, partition, play, play_version, digest, customer_id, fact, fact_type, lifecycle, started_at, held_out,
        step, entered_at, wake_at, outcome, anchor, ended_at, end_code, end_text)
SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::int[], $5::bytea[], $6::text[], $7::jsonb[], $8::text[],
                     $9::text[], $10::timestamptz[], $11::boolean[], $12::text[], $13::timestamptz[],
                     $14::timestamptz[], $15::text[], $16::jsonb[], $17::timestamptz[], $18::text[], $19::text[])
ON CONFLICT (run_id) DO UPDATE
SET step       = excluded.step,
    entered_at = excluded.entered_at,
    wake_at    = excluded.wake_at,
    outcome    = excluded.outcome,
    anchor     = excluded.anchor,
    ended_at   = excluded.ended_at,
    end_code   = excluded.end_code,
    end_text   = excluded.end_text
"""

SAVE_VISITS = """
INSERT INTO sequence_visits (run_id, step, entered_at, left_at, result)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[])
ON CONFLICT (run_id, step) DO UPDATE SET left_at = excluded.left_at, result = excluded.result
"""

STEPS = "SELECT run_id, digest, end_code, end_text FROM sequence_runs WHERE run_id = ANY($1::uuid[])"

LISTENING = """
-- Runs of customers, kept from deletion until the transaction ends.
SELECT run_id, customer_id, digest
FROM sequence_runs
WHERE customer_id = ANY($1) AND ended_at IS NULL
ORDER BY run_id
FOR KEY SHARE
"""

ADD_HITS = """
INSERT INTO sequence_hits (run_id, step, at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[])
ON CONFLICT DO NOTHING
"""

WAKE = """
UPDATE sequence_runs
SET wake_at = least(coalesce(wake_at, 'infinity'), $2)
WHERE run_id IN (
    SELECT run_id FROM sequence_runs WHERE run_id = ANY($1::uuid[]) AND ended_at IS NULL ORDER BY run_id FOR UPDATE
)
"""

MERGE_RUNS = """
-- The customer may have a run of the same play: the owner of their partition looks at once.
UPDATE sequence_runs AS run
SET customer_id = merged.customer_id,
    partition   = merged.partition,
    wake_at     = CASE WHEN run.ended_at IS NULL THEN $4::timestamptz END
FROM unnest($1::text[], $2::text[], $3::int[]) AS merged(old_key, customer_id, partition)
WHERE run.customer_id = merged.old_key
"""

FORGET_RUNS = "DELETE FROM sequence_runs WHERE customer_id = ANY($1)"

PLAYS_GONE = """
-- Runs of plays that no longer run are looked at now, which ends them.
UPDATE sequence_runs SET wake_at = $3
WHERE partition = ANY($1) AND ended_at IS NULL AND (wake_at IS NULL OR wake_at > $3) AND play <> ALL($2)
"""

RECOVERED = """
UPDATE sequence_runs AS run
SET recovered_at = least(run.recovered_at, new.at)
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS new(customer_id, lifecycle, at)
WHERE run.customer_id = new.customer_id
  AND run.lifecycle = new.lifecycle
  AND run.fact_type = 'customer-stalled'
  AND new.at > (run.fact ->> 'at')::timestamptz
"""

OBSERVED = """
SELECT run_id AS action_id, customer_id, play, started_at AS decided_at
FROM sequence_runs
WHERE customer_id = ANY($1) AND (returned_at IS NULL OR converted_at IS NULL) AND started_at > $2
"""

SAVE_OBSERVED = """
-- The earliest is kept, in any order of arrival.
UPDATE sequence_runs AS run
SET returned_at  = least(run.returned_at, new.returned_at),
    converted_at = least(run.converted_at, new.converted_at)
FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS new(run_id, returned_at, converted_at)
WHERE run.run_id = new.run_id
"""
