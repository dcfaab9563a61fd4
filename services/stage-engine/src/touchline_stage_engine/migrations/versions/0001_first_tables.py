"""Partitions, customers, touchpoints, history, checkpoints, stages, identity, erasures, lifecycles, outbox.

Times in the tables of the hot path are whole microseconds since the Unix epoch (bigint), as the fold has them.
Ids and keys compare by code point (``COLLATE "C"``), as the fold does.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

DEPLOYMENT = """
-- One row: what must never change under the customers, and the secret of the erasures' keyed hashes.
CREATE TABLE deployment (
    singleton       boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    partitions      integer NOT NULL,   -- customers are filed by it
    erasure_secret  bytea   NOT NULL    -- used where no TOUCHLINE_ERASURE_SECRET is configured
)
"""

PARTITIONS = """
-- Who owns a partition, and how far it has been read, folded and published. Every write of an owner is conditional on
-- its epoch and on the position it last wrote, so that an owner who was replaced can't write any more.
CREATE TABLE partitions (
    cluster_id         text        NOT NULL,   -- a position is worth nothing on another cluster,
    topic_id           text        NOT NULL,   -- nor on a topic that was made anew under the old name (touchpoints)
    partition          integer     NOT NULL,
    epoch              bigint      NOT NULL DEFAULT 0,   -- rises whenever somebody takes the partition
    owner              text,                   -- the worker's name, for people
    backend_pid        integer,                -- the owner's backend: a taker that finds the row locked ends exactly
    backend_start      timestamptz,            --   this one (a frozen process holds its locks for ever)
    claimed_at         timestamptz,
    next_offset        bigint      NOT NULL DEFAULT 0,   -- touchpoints
    identity_topic_id  text        NOT NULL,
    identity_offset    bigint      NOT NULL DEFAULT 0,   -- identity
    last_outbox_id     bigint      NOT NULL DEFAULT 0,   -- the newest that was written
    relayed_through    bigint      NOT NULL DEFAULT 0,   -- known to be published; the topic itself may be further
    rebuilds           integer     NOT NULL DEFAULT 0,   -- how often everybody was asked to be folded again
    generation         bigint      NOT NULL DEFAULT 0,   -- what everybody was last folded under, once a sweep is done
    duplicates         bigint      NOT NULL DEFAULT 0,   -- of touchpoints, since ever
    conflicts          bigint      NOT NULL DEFAULT 0,
    dead_letters       bigint      NOT NULL DEFAULT 0,
    erased             bigint      NOT NULL DEFAULT 0,   -- touchpoints dropped because an erasure came after them
    folded             bigint      NOT NULL DEFAULT 0,   -- touchpoints read and stored
    PRIMARY KEY (cluster_id, topic_id, partition)
)
"""

CUSTOMERS = """
-- One row per key a touchpoint ever named. `merged_into` set: an alias, which keeps its touchpoints but has no stage
-- of its own.
CREATE TABLE customers (
    partition       integer NOT NULL,
    customer_id     text    NOT NULL COLLATE "C",
    incarnation     integer NOT NULL DEFAULT 0,    -- rises with every erasure
    erased_before   bigint,                        -- touchpoints that occurred before it are dropped
    touchpoints     bigint  NOT NULL DEFAULT 0,
    last_at         bigint,                        -- order of the last touchpoint folded: (occurred_at, id, source)
    last_id         text COLLATE "C",
    last_source     text COLLATE "C",
    seen_at         bigint,                        -- occurred_at of the latest touchpoint, machine ones included
    fired_through   bigint  NOT NULL DEFAULT 0,    -- the clock has fired timers up to here
    wake_at         bigint,                        -- at or before the next timer's due time
    generation      bigint  NOT NULL,              -- the definitions it was folded under
    states          bytea   NOT NULL,              -- JSON: {lifecycle: [state, published, facts in history]}
    checkpointed    bigint  NOT NULL DEFAULT 0,    -- touchpoints at the last checkpoint
    merged_into     text COLLATE "C",
    merges          integer NOT NULL DEFAULT 0,    -- how many customer-merged were published of this key
    identity        bytea,                         -- JSON: links to other keys, and labels; null where there are none
    PRIMARY KEY (partition, customer_id)
) WITH (fillfactor = 70)
"""

TOUCHPOINTS = """
-- Every touchpoint, under the customer it belongs to; `original_key` where it was filed under another key.
CREATE TABLE touchpoints (
    customer_id   text     NOT NULL COLLATE "C",
    occurred_at   bigint   NOT NULL,
    id            text     NOT NULL COLLATE "C",
    source        text     NOT NULL COLLATE "C",
    hash          bigint   NOT NULL,   -- of (source, id)
    type          text     NOT NULL,
    channel       text     NOT NULL,
    flags         smallint NOT NULL,   -- 1: machine, 2: backfill, 4: outbound
    received_at   bigint   NOT NULL,
    properties    json     NOT NULL,
    identifiers   json,                -- the identifiers it named, unless it named its key alone
    original_key  text COLLATE "C"
)
"""

TOUCHPOINTS_INDEXES = (
    # The guard against folding one twice; by hash first, so that a touchpoint is found by (source, id) alone.
    "CREATE UNIQUE INDEX touchpoints_once ON touchpoints (hash, customer_id)",
    "CREATE INDEX touchpoints_in_order ON touchpoints (customer_id, occurred_at)",
)

HISTORY = """
-- The canonical fold: every move, stall and recovery of a customer in a lifecycle, in order. What /history, funnels and
-- flows show. A refold replaces its end.
CREATE TABLE history (
    customer_id             text     NOT NULL COLLATE "C",
    lifecycle               text     NOT NULL,
    no                      integer  NOT NULL,   -- 1, 2, 3 … over the customer's facts in the lifecycle
    fact                    text     NOT NULL,   -- move, stall, recovery
    sequence                integer  NOT NULL,   -- 1, 2, 3 … over the moves; that of the latest move
    occurred_at             bigint   NOT NULL,
    version                 integer  NOT NULL,
    stage                   text     NOT NULL,   -- to_stage of a move; the stage of a stall or recovery
    from_stage              text,
    move                    text,                -- enter, advance, regress, renew, lapse
    reason_kind             text,
    reason_text             text,
    touchpoint_id           text,
    previous_stage_seconds  double precision,
    level                   smallint,            -- of a stall
    since                   bigint,              -- of a stall
    stalled_seconds         double precision,    -- of a recovery
    backfill                boolean  NOT NULL,
    PRIMARY KEY (customer_id, lifecycle, no)
)
"""

HISTORY_INDEXES = ("CREATE INDEX history_of_lifecycle ON history (lifecycle, occurred_at)",)

CHECKPOINTS = """
-- The states right after a customer's touchpoint at that place in the order: where a late touchpoint's refold begins.
CREATE TABLE checkpoints (
    customer_id  text   NOT NULL COLLATE "C",
    occurred_at  bigint NOT NULL,
    id           text   NOT NULL COLLATE "C",
    source       text   NOT NULL COLLATE "C",
    states       bytea  NOT NULL,   -- JSON: {lifecycle: [state, facts in history so far]}
    PRIMARY KEY (customer_id, occurred_at, id, source)
)
"""

STAGES = """
-- The latest stage per customer and lifecycle, as published on the compacted topic.
CREATE TABLE stages (
    partition      integer NOT NULL,
    customer_id    text    NOT NULL COLLATE "C",
    lifecycle      text    NOT NULL,
    version        integer NOT NULL,
    stage          text    NOT NULL,
    entered_at     bigint  NOT NULL,
    sequence       integer NOT NULL,
    stalled_level  integer NOT NULL,
    stalled_since  bigint,              -- where the open stall's patience started
    updated_at     bigint  NOT NULL,
    PRIMARY KEY (customer_id, lifecycle)
) WITH (fillfactor = 80)
"""

STAGES_INDEXES = (
    "CREATE INDEX stages_of_lifecycle ON stages (lifecycle, stage, entered_at)",
    "CREATE INDEX stages_stalled ON stages (lifecycle, stalled_since) WHERE stalled_level > 0",
)

ALIASES = """
-- The keys whose touchpoints a customer has been handed.
CREATE TABLE aliases (
    customer_id  text NOT NULL COLLATE "C",
    alias        text NOT NULL COLLATE "C",
    PRIMARY KEY (customer_id, alias)
)
"""

CONFLICTS = """
-- Refused links, as each end sees them: they would join two known customers. Listed one row a pair of customers, the
-- least link first.
CREATE TABLE identity_conflicts (
    key            text   NOT NULL COLLATE "C",   -- the end that tells
    other          text   NOT NULL COLLATE "C",   -- the link's other end
    customer_a     text   NOT NULL COLLATE "C",
    customer_b     text   NOT NULL COLLATE "C",   -- customer_a < customer_b
    occurred_at    bigint NOT NULL,               -- of the touchpoint that links
    touchpoint_id  text   NOT NULL COLLATE "C",
    source         text   NOT NULL COLLATE "C",
    PRIMARY KEY (key, other)
)
"""

CONFLICTS_INDEXES = (
    "CREATE INDEX identity_conflicts_by_pair ON identity_conflicts"
    " (customer_a, customer_b, occurred_at, touchpoint_id, source)",
)

ERASURES = """
-- That somebody was erased, and when; by a keyed hash of the key, so that it names nobody.
CREATE TABLE erasures (
    partition    integer NOT NULL,
    key_hash     bytea   NOT NULL,
    erased_at    bigint  NOT NULL,
    incarnation  integer NOT NULL,   -- of the next life
    merges       integer NOT NULL,
    PRIMARY KEY (partition, key_hash)
)
"""

LIFECYCLES = """
-- Every version of a lifecycle that was ever started.
CREATE TABLE lifecycles (
    name            text   NOT NULL,
    version         integer NOT NULL,
    fingerprint     text   NOT NULL,   -- SHA-256 of what the definition says; one version never says two things
    text            text   NOT NULL,   -- the YAML
    effective_from  bigint,            -- null: since ever (the first version, unless it says otherwise)
    started_at      bigint NOT NULL,   -- first started
    running         boolean NOT NULL DEFAULT true,
    PRIMARY KEY (name, version)
)
"""

OUTBOX = """
-- What waits to be published, in commit order within a partition.
CREATE TABLE outbox (
    partition         integer NOT NULL,
    id                bigint  NOT NULL,
    topic             smallint NOT NULL,   -- see adapters/outgoing.py
    target_partition  integer,             -- null: by the key
    key               bytea,
    headers           bytea   NOT NULL,    -- JSON: [[name, value in Latin-1]]
    value             bytea,               -- null: a tombstone
    PRIMARY KEY (partition, id)
)
"""


def upgrade() -> None:
    for statement in (
        DEPLOYMENT,
        PARTITIONS,
        CUSTOMERS,
        # Timers: whom to wake. Activity only pushes a timer later, so the column is seldom written.
        "CREATE INDEX customers_to_wake ON customers (partition, wake_at) WHERE wake_at IS NOT NULL",
        TOUCHPOINTS,
        *TOUCHPOINTS_INDEXES,
        HISTORY,
        *HISTORY_INDEXES,
        CHECKPOINTS,
        STAGES,
        *STAGES_INDEXES,
        ALIASES,
        CONFLICTS,
        *CONFLICTS_INDEXES,
        ERASURES,
        LIFECYCLES,
        OUTBOX,
    ):
        op.execute(statement)


def downgrade() -> None:
    for table in (
        "outbox", "lifecycles", "erasures", "identity_conflicts", "aliases", "stages", "checkpoints", "history",
        "touchpoints", "customers", "partitions", "deployment",
    ):  # fmt: skip
        op.execute(f"DROP TABLE {table}")
