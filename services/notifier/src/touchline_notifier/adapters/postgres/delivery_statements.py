"""The SQL of deliveries. ``next_attempt_at`` is when a row may be claimed: a claim moves it to the lease's end, so the
rows of a worker that dies become free by themselves.
"""

from collections.abc import Iterable

import orjson

from touchline_notifier.core.delivery.subscriptions import Planned

BREAKERS = """
-- Endpoints whose breaker is not closed, or that are disabled.
SELECT endpoint, disabled_at, disabled_reason, breaker, failures, failing_since, retry_after,
       failing
FROM endpoint_state
WHERE endpoint = ANY($1) AND (disabled_at IS NOT NULL OR breaker <> 'closed')
"""

BREAKER = """
SELECT endpoint, disabled_at, disabled_reason, breaker, failures, failing_since, retry_after,
       failing
FROM endpoint_state
WHERE endpoint = $1
"""

BREAKER_TO_PROBE = """
-- An endpoint whose pause is over, for the one worker that gets the row.
SELECT endpoint, disabled_at, disabled_reason, breaker, failures, failing_since, retry_after,
       failing
FROM endpoint_state
WHERE endpoint = $1
FOR UPDATE SKIP LOCKED
"""

BREAKER_TO_UPDATE = """
-- The row of an endpoint, made when it is new, locked until what was learnt is written.
INSERT INTO endpoint_state (endpoint, updated_at)
VALUES ($1, $2)
ON CONFLICT (endpoint) DO UPDATE SET updated_at = $2
RETURNING endpoint, disabled_at, disabled_reason, breaker, failures, failing_since, retry_after, failing
"""

SAVE_BREAKER = """
UPDATE endpoint_state
SET disabled_at     = CASE WHEN $2 THEN coalesce(disabled_at, $8) END,
    disabled_reason = CASE WHEN $2 THEN $3::text END,
    breaker         = $4,
    failures        = $5,
    failing_since   = $6,
    retry_after     = $7,
    failing         = $9,
    updated_at      = $8
WHERE endpoint = $1
"""

NOTE_ERROR = "UPDATE endpoint_state SET last_error = $2, last_error_at = $3 WHERE endpoint = $1"

CLAIM = """
-- The most overdue rows of each endpoint, as many as it has room for, skipping rows that other workers claim.
-- $1, $2: endpoints and their room; $3: now; $4: the worker; $5: the lease's end; $6: whether this process sends;
-- $7: only what is too old to be sent, so that it is given up while its endpoint gets nothing.
-- With sending switched off the messages of plays wait; facts for subscribers go on.
WITH claimed AS (
    SELECT due.id
    FROM unnest($1::text[], $2::int[]) AS room(endpoint, free)
    CROSS JOIN LATERAL (
        SELECT id
        FROM deliveries
        WHERE endpoint = room.endpoint
          AND status IN ('pending', 'delivering')
          AND next_attempt_at <= $3
          AND (NOT $7 OR first_before < $3)
          AND (
              kind = 'subscription'
              OR ($6 AND NOT EXISTS (SELECT FROM kept WHERE name = 'sending_off'))
          )
        ORDER BY next_attempt_at, created_at, id
        LIMIT room.free
        FOR UPDATE SKIP LOCKED
    ) AS due
)
UPDATE deliveries AS delivery
SET status          = 'delivering',
    attempts        = attempts + 1,
    locked_by       = $4,
    locked_until    = $5,
    next_attempt_at = $5
FROM claimed
WHERE delivery.id = claimed.id
RETURNING delivery.partition, delivery.id, delivery.kind, delivery.action_id, delivery.customer_id, delivery.channel,
          delivery.endpoint, delivery.message::text, delivery.attempts, delivery.first_before, delivery.created_at
"""

UNKNOWN_ENDPOINTS = """
-- Endpoints that have something due and are not in the endpoints file (any more).
SELECT DISTINCT endpoint
FROM deliveries
WHERE status IN ('pending', 'delivering') AND next_attempt_at <= $2 AND endpoint <> ALL($1)
"""

LOCK_ACTION = """
-- The action first, then its delivery: every transaction locks them in this order.
SELECT action_id, partition, play, fact_id, customer_id, lifecycle, stage, channel, endpoint, outcome, decided_at,
       run_id, step
FROM actions
WHERE action_id = $1
FOR UPDATE
"""

FINISH = """
-- What arrived has arrived, even if the lease ran out meanwhile; only the leaseholder's failure counts.
UPDATE deliveries
SET status       = $3,
    last_error   = $4,
    last_status  = $5,
    finished_at  = $6,
    locked_by    = NULL,
    locked_until = NULL
WHERE id = $1
  AND status IN ('pending', 'delivering')
  AND ($3 = 'sent' OR locked_by = $2)
RETURNING id
"""

RESCHEDULE = """
UPDATE deliveries
SET status          = 'pending',
    next_attempt_at = $3,
    last_error      = $4,
    last_status     = $5,
    locked_by       = NULL,
    locked_until    = NULL
WHERE id = $1 AND locked_by = $2 AND status = 'delivering'
RETURNING id
"""

FINISH_ACTION = """
UPDATE actions
SET outcome = $2, reason_code = $3, reason = $4, decide_at = NULL, finished_at = $5, events = events + 1
WHERE action_id = $1
RETURNING events
"""

PUT_BACK = """
-- Not attempted after all: it keeps its attempts. $4: why; null: no reason worth keeping.
UPDATE deliveries
SET status          = 'pending',
    attempts        = attempts - 1,
    next_attempt_at = $3,
    last_error      = coalesce($4, last_error),
    locked_by       = NULL,
    locked_until    = NULL
WHERE id = $1 AND locked_by = $2 AND status = 'delivering'
RETURNING id
"""

REPLAY = """
-- From the start of the schedule, under the same id, so that a receiver recognises a repetition.
UPDATE deliveries
SET status          = 'pending',
    attempts        = 0,
    next_attempt_at = $2,
    first_before    = NULL,
    finished_at     = NULL,
    locked_by       = NULL,
    locked_until    = NULL
WHERE id = $1 AND (status <> 'delivering' OR locked_until <= $2)
RETURNING id
"""

REPLAYABLE = """
-- What a replay of an endpoint's deliveries takes: those of a status, since a time.
SELECT id, kind, customer_id, status, attempts, last_error, coalesce(finished_at, created_at) AS since
FROM deliveries
WHERE endpoint = $1 AND status = $2 AND ($3::timestamptz IS NULL OR coalesce(finished_at, created_at) >= $3)
ORDER BY created_at, id
"""

REPLAY_ALL = """
-- The claim takes them in the order in which they were made.
UPDATE deliveries
SET status          = 'pending',
    attempts        = 0,
    next_attempt_at = $4,
    first_before    = NULL,
    finished_at     = NULL,
    locked_by       = NULL,
    locked_until    = NULL
WHERE endpoint = $1 AND status = $2 AND ($3::timestamptz IS NULL OR coalesce(finished_at, created_at) >= $3)
RETURNING id
"""

DELIVERY_STATUS = "SELECT status FROM deliveries WHERE id = $1"

INSERT = """
-- $1: partition; $2: rows as JSON; $3: when they are due first; $4: now.
-- A row that exists already stays as it is.
INSERT INTO deliveries
    (id, partition, kind, action_id, fact_id, customer_id, channel, endpoint, message, next_attempt_at, first_before,
     created_at)
SELECT planned.id, $1, CASE WHEN planned.action_id IS NULL THEN 'subscription' ELSE 'action' END, planned.action_id,
       planned.fact_id, planned.customer_id, planned.channel, planned.endpoint, planned.message, $3,
       planned.first_before, $4
FROM jsonb_to_recordset($2::text::jsonb)
     AS planned(id uuid, action_id uuid, fact_id text, customer_id text, channel text, endpoint text, message jsonb,
                first_before timestamptz)
ON CONFLICT DO NOTHING
"""

HEARTBEAT = """
-- A worker that is alive keeps what it is delivering.
UPDATE deliveries
SET locked_until = $3, next_attempt_at = $3
WHERE id = ANY($1) AND locked_by = $2 AND status = 'delivering'
RETURNING id
"""


def delivery_rows(planned: Iterable[Planned]) -> str:
    """The second parameter of ``INSERT``."""
    rows = [
        {
            "id": delivery.id,
            "action_id": delivery.action_id,
            "fact_id": delivery.fact_id,
            "customer_id": delivery.customer_id,
            "channel": delivery.channel,
            "endpoint": delivery.endpoint,
            "message": delivery.message.to_row(),
            "first_before": delivery.first_before,
        }
        for delivery in planned
    ]
    return orjson.dumps(rows).decode()
