"""Positions, profiles, standing, actions, deliveries, endpoint state, outbox."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

POSITIONS = """
-- How far each partition has been read and published, and by whom. Every write of a partition's owner is conditional on
-- its epoch, so that a replaced owner can't write any more.
CREATE TABLE positions (
    stream           text        NOT NULL,   -- cluster id and topic prefix: a position is valid nowhere else
    partition        integer     NOT NULL,
    epoch            bigint      NOT NULL,   -- rises whenever somebody takes the partition
    owner_pid        integer,     -- the owner's backend: a taker ends exactly that one when it holds the lock
    owner_started    timestamptz,
    next_touchpoint  bigint      NOT NULL DEFAULT 0,
    next_fact        bigint      NOT NULL DEFAULT 0,
    last_publish_no  bigint      NOT NULL DEFAULT 0,
    read_through     timestamptz,            -- all that was published up to then has been read
    PRIMARY KEY (stream, partition)
)
"""

PROFILES = """
-- What is known of a customer. Every field carries the time it was said, so that order of arrival doesn't matter.
CREATE TABLE profiles (
    customer_id  text        PRIMARY KEY,
    profile      json        NOT NULL,         -- read and written whole: text is half the work of jsonb
    updated_at   timestamptz NOT NULL
)
"""

ALIASES = """
-- Old keys and the customers they became part of: later touchpoints under an old key belong there.
CREATE TABLE aliases (
    old_key      text PRIMARY KEY,
    customer_id  text NOT NULL
)
"""

ALIASES_BY_CUSTOMER = "CREATE INDEX aliases_by_customer ON aliases (customer_id)"

LONG_KEYS = (
    # Links hold the hash of a very long id alone (core.unsubscribe.tokens), and have to be found by it.
    "CREATE INDEX profiles_with_long_ids ON profiles (customer_id) WHERE octet_length(customer_id) > 300",
    "CREATE INDEX aliases_with_long_keys ON aliases (old_key) WHERE octet_length(old_key) > 300",
)

SUPPRESSIONS = """
-- Addresses that nothing may be sent to. By the address's hash, so that they outlive an erasure without naming anybody.
CREATE TABLE suppressions (
    address_hash  bytea       PRIMARY KEY,
    reason        text        NOT NULL,      -- unsubscribed, email_bounced, email_complained
    since         timestamptz NOT NULL,
    lifted_at     timestamptz                -- a later consent
)
"""

STANDING = """
-- Where each customer stands by the facts read so far.
CREATE TABLE standing (
    customer_id    text        NOT NULL,
    lifecycle      text        NOT NULL,
    incarnation    integer     NOT NULL,
    fact_no        bigint      NOT NULL,
    stage          text,
    entered_at     timestamptz,
    sequence       bigint      NOT NULL DEFAULT 0,
    stalled_level  integer     NOT NULL DEFAULT 0,
    era            integer     NOT NULL DEFAULT 0,   -- of the fact; orders between incarnation and fact_no
    PRIMARY KEY (customer_id, lifecycle)
)
"""

ACTIONS = """
-- Every decision of a play for a customer. The id is derived from play and fact: a fact seen twice acts once.
CREATE TABLE actions (
    action_id      uuid        PRIMARY KEY,
    partition      integer     NOT NULL,
    play           text        NOT NULL,
    fact_id        text        NOT NULL,
    fact_type      text        NOT NULL,     -- stage-changed, customer-stalled, customer-recovered
    fact           jsonb       NOT NULL,
    customer_id    text        NOT NULL,
    lifecycle      text        NOT NULL,
    stage          text,
    channel        text        NOT NULL,
    endpoint       text,
    priority       integer     NOT NULL DEFAULT 0,
    outcome        text        NOT NULL
                   CHECK (outcome IN ('decided', 'held', 'held_out', 'sent', 'failed', 'cancelled')),
    reason_code    text,                     -- quiet_hours, capped, no_consent, ...
    reason         text,
    counts         boolean     NOT NULL DEFAULT true,  -- against frequency caps; false: transactional
    contact        boolean     NOT NULL DEFAULT true,  -- reaches the person, and uses up their caps
    held_out       boolean,                  -- the customer's assignment for the play; null: never asked for
    fact_at        timestamptz NOT NULL,     -- when it became true: due_at of a stall, else occurred_at
    decide_at      timestamptz,              -- waiting: decided again at this time
    decided_at     timestamptz NOT NULL,     -- the last decision
    finished_at    timestamptz,              -- sent or failed
    events         integer     NOT NULL DEFAULT 0,     -- events published of it so far
    recovered_at   timestamptz,              -- what came of it, for treated and held out alike
    returned_at    timestamptz,
    converted_at   timestamptz,
    CHECK (decide_at IS NULL OR outcome = 'held')
)
"""

ACTIONS_INDEXES = (
    "CREATE INDEX actions_waiting ON actions (partition, decide_at) WHERE decide_at IS NOT NULL",
    "CREATE INDEX actions_switched_off ON actions (partition)"
    " WHERE decide_at IS NOT NULL AND reason_code = 'sending_off'",
    "CREATE INDEX actions_of_customer ON actions (customer_id, decided_at)",
    "CREATE INDEX actions_newest ON actions (decided_at, action_id)",
    "CREATE INDEX actions_of_play ON actions (play, decided_at)",
)

ASSIGNMENTS = """
-- Which group of a play's hold-out a customer belongs to: assigned once, kept when the share changes or keys merge.
CREATE TABLE hold_out_assignments (
    customer_id  text        NOT NULL,
    play         text        NOT NULL,
    held_out     boolean     NOT NULL,
    assigned_at  timestamptz NOT NULL,
    PRIMARY KEY (customer_id, play)
)
"""

DELIVERIES = """
-- What has to reach an endpoint: the messages of actions, and facts for the endpoints that subscribe to them.
CREATE TABLE deliveries (
    id               uuid        PRIMARY KEY,  -- derived; every attempt's webhook-id and Message-ID derive from it
    partition        integer     NOT NULL,
    kind             text        NOT NULL CHECK (kind IN ('action', 'subscription')),
    action_id        uuid        REFERENCES actions ON DELETE CASCADE,  -- of kind action
    fact_id          text        NOT NULL,
    customer_id      text        NOT NULL,
    channel          text        NOT NULL,
    endpoint         text        NOT NULL,     -- name in the endpoints file
    message          jsonb       NOT NULL,     -- core.channel.Message
    status           text        NOT NULL DEFAULT 'pending'
                     CHECK (status IN ('pending', 'delivering', 'sent', 'failed', 'cancelled')),
    attempts         integer     NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz NOT NULL,
    first_before     timestamptz,              -- not attempted after this: too old. null: however late
    locked_by        text,                     -- the worker that is delivering it
    locked_until     timestamptz,              -- after this another worker may take it
    last_error       text,
    last_status      integer,                  -- HTTP or SMTP status of the last attempt
    created_at       timestamptz NOT NULL,
    finished_at      timestamptz,
    UNIQUE (action_id, endpoint)
)
"""

DELIVERIES_INDEXES = (
    "CREATE INDEX deliveries_due ON deliveries (next_attempt_at) WHERE status IN ('pending', 'delivering')",
    "CREATE INDEX deliveries_due_of_endpoint ON deliveries (endpoint, next_attempt_at)"
    " WHERE status IN ('pending', 'delivering')",
    "CREATE INDEX deliveries_of_customer ON deliveries (customer_id)",
    "CREATE INDEX deliveries_newest ON deliveries (created_at, id)",
)

ENDPOINT_STATE = """
-- What was learnt about an endpoint; it outlives a restart.
CREATE TABLE endpoint_state (
    endpoint         text        PRIMARY KEY,  -- name in the endpoints file
    disabled_at      timestamptz,              -- it answered 410, or failed for too long
    disabled_reason  text,
    breaker          text        NOT NULL DEFAULT 'closed' CHECK (breaker IN ('closed', 'open', 'half_open')),
    failures         integer     NOT NULL DEFAULT 0,   -- in a row
    failing_since    timestamptz,
    retry_after      timestamptz,              -- nothing is sent to it before this
    failing          text[]      NOT NULL DEFAULT '{}',  -- deliveries that failed in a row: each counts once
    last_error       text,                     -- in our words: an answer may name a customer
    last_error_at    timestamptz,
    updated_at       timestamptz NOT NULL
)
"""

OUTBOX = """
-- Events that have to be published, written in the transaction that made them true.
CREATE TABLE outbox (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition    integer     NOT NULL,
    topic        text        NOT NULL,  -- name in the topic registry: retention-actions, touchpoints, dead-letters
    key          text        NOT NULL,
    headers      jsonb       NOT NULL,         -- [[name, value], ...]
    value        bytea       NOT NULL,
    written_at   timestamptz NOT NULL DEFAULT now(),
    publish_no   bigint                        -- the relay's own count, given just before it publishes
)
"""

ERASURES = """
-- Who was erased, by a keyed hash: touchpoints that occurred before must not create the profile again.
CREATE TABLE erasures (
    key_hash   bytea       PRIMARY KEY,
    erased_at  timestamptz NOT NULL
)
"""

KEPT = """
-- Small things kept by name: the secret behind hashes and links, and whether sending is switched off.
CREATE TABLE kept (
    name   text  PRIMARY KEY,
    value  jsonb NOT NULL
)
"""

OUTBOX_INDEX = "CREATE INDEX outbox_of_partition ON outbox (partition, id)"


def upgrade() -> None:
    """Create the tables."""
    for statement in (
        POSITIONS,
        PROFILES,
        ALIASES,
        ALIASES_BY_CUSTOMER,
        *LONG_KEYS,
        SUPPRESSIONS,
        STANDING,
        ACTIONS,
        *ACTIONS_INDEXES,
        ASSIGNMENTS,
        DELIVERIES,
        *DELIVERIES_INDEXES,
        ENDPOINT_STATE,
        OUTBOX,
        OUTBOX_INDEX,
        ERASURES,
        KEPT,
    ):
        op.execute(statement)


def downgrade() -> None:
    """Drop them again."""
    for table in (
        "kept",
        "erasures",
        "outbox",
        "endpoint_state",
        "deliveries",
        "hold_out_assignments",
        "actions",
        "standing",
        "suppressions",
        "aliases",
        "profiles",
        "positions",
    ):
        op.execute(f"DROP TABLE {table}")
