"""Partitions, customers, touchpoints, history, checkpoints, stages, identity, erasures, lifecycles, outbox, outcomes.

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
    partitions            integer NOT NULL,   -- customers are filed by it
    erasure_secret        bytea   NOT NULL,   -- used where no TOUCHLINE_ERASURE_SECRET is configured
    erasure_secret_check  bytea   NOT NULL    -- a keyed hash under the secret in use: a change of the secret is noticed
)
"""

PARTITIONS = """
-- Who owns a partition, and how far it has been read, folded and published. Every write of an owner is conditional on
-- its epoch and on the position it last wrote, so that a replaced owner can't write any more.
CREATE TABLE partitions (
    cluster_id         text        NOT NULL,   -- a position is worth nothing on another cluster,
    topic_id           text        NOT NULL,   -- nor on a topic that was created again under the old name (touchpoints)
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
    era                integer     NOT NULL DEFAULT 0,   -- how often it was found to be behind what the topics hold
    duplicates         bigint      NOT NULL DEFAULT 0,   -- of touchpoints, since ever
    conflicts          bigint      NOT NULL DEFAULT 0,
    dead_letters       bigint      NOT NULL DEFAULT 0,
    erased             bigint      NOT NULL DEFAULT 0,   -- touchpoints dropped because an erasure came after them
    folded             bigint      NOT NULL DEFAULT 0,   -- touchpoints read and stored
    PRIMARY KEY (cluster_id, topic_id, partition)
)
"""

CATCH_UPS = """
-- Everything that was on a partition's topics at this instant has been folded, and what came of it published. Written
-- by its owner's process, and true whichever process writes it.
CREATE TABLE catch_ups (
    cluster_id  text    NOT NULL,
    topic_id    text    NOT NULL,
    partition   integer NOT NULL,
    flushed_at  bigint  NOT NULL,
    PRIMARY KEY (cluster_id, topic_id, partition)
) WITH (fillfactor = 50)
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
    identity        bytea,                         -- JSON: label, what it said, links; null where there are none
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

HISTORY_INDEXES = (
    "CREATE INDEX history_of_lifecycle ON history (lifecycle, occurred_at)",
    # A customer's page of history, over all lifecycles.
    "CREATE INDEX history_in_order ON history (customer_id, occurred_at)",
    # Customers who slipped back.
    "CREATE INDEX history_backward ON history (lifecycle, occurred_at, customer_id) WHERE move IN ('regress', 'lapse')",
)

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
    "CREATE INDEX stages_stalled ON stages (lifecycle, stalled_since, customer_id) WHERE stalled_level > 0",
    "CREATE INDEX stages_stalled_in_stage ON stages (lifecycle, stage, stalled_since, customer_id)"
    " WHERE stalled_level > 0",
    "CREATE INDEX stages_worst ON stages (lifecycle, (-stalled_level), stalled_since, customer_id)"
    " WHERE stalled_level > 0",
)

ALIASES = """
-- The keys whose touchpoints a customer has been handed.
CREATE TABLE aliases (
    customer_id  text NOT NULL COLLATE "C",
    alias        text NOT NULL COLLATE "C",
    PRIMARY KEY (customer_id, alias)
)
"""

LINKS = """
-- The links of a key, as its owner knows them: both ends of a link have a row.
CREATE TABLE links (
    partition  integer NOT NULL,
    key        text  NOT NULL COLLATE "C",
    other      text  NOT NULL COLLATE "C",
    link       bytea NOT NULL,   -- JSON: weights by both ends' touchpoints, what the other end said, conflict
    PRIMARY KEY (key, other)
)
"""

SHARED_KEYS = """
-- Keys that more customers name than TOUCHLINE_SHARED_KEY_LIMIT: none of their links count.
CREATE TABLE shared_keys (
    partition  integer NOT NULL,
    key        text    NOT NULL COLLATE "C" PRIMARY KEY,
    keys       integer NOT NULL,   -- how many different keys are named with it
    since      bigint  NOT NULL    -- when it was found to be shared
)
"""

SHARED_KEY_LIMITS = """
-- The limit under which a partition's shared keys were last worked out: they are computed again under another one.
CREATE TABLE shared_key_limits (
    partition  integer PRIMARY KEY,
    customers  integer NOT NULL
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
    # The pair and the time alone: with the touchpoint's id and source beside them, long keys would not fit.
    "CREATE INDEX identity_conflicts_by_pair ON identity_conflicts (customer_a, customer_b, occurred_at)",
)

ERASURES = """
-- Erased customers and times, by a keyed hash of the key, so that no row identifies anyone.
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
-- What waits to be published, in commit order within a partition. Records are numbered 1, 2, 3 …; a row holds some that
-- were committed together.
CREATE TABLE outbox (
    partition   integer     NOT NULL,
    first_id    bigint      NOT NULL,
    last_id     bigint      NOT NULL,
    records     bytea       NOT NULL,   -- MessagePack: [[topic, target partition, key, [[name, value]], value]]
    written_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partition, last_id)
)
"""
# It lives for a second or two: no time is to be spent on making it small.
OUTBOX_UNCOMPRESSED = "ALTER TABLE outbox ALTER COLUMN records SET STORAGE EXTERNAL"

COPIES = """
-- A touchpoint is one (source, id). Where keys that became one customer have each brought it, with contents that
-- differ, the least is in `touchpoints`, and this is what each key brought, the least one too: when that key turns out
-- to be somebody else's, the least of the others takes its place.
CREATE TABLE copies (
    customer_id   text     NOT NULL COLLATE "C",
    hash          bigint   NOT NULL,   -- of (source, id)
    original_key  text     NOT NULL COLLATE "C",   -- the customer's own key too
    digest        bytea    NOT NULL,   -- of the content: of two under one key the smaller (occurred_at, digest) stays
    occurred_at   bigint   NOT NULL,
    id            text     NOT NULL COLLATE "C",
    source        text     NOT NULL COLLATE "C",
    type          text     NOT NULL,
    channel       text     NOT NULL,
    flags         smallint NOT NULL,
    received_at   bigint   NOT NULL,
    properties    json     NOT NULL,
    identifiers   json,
    PRIMARY KEY (customer_id, hash, original_key)
)
"""

OUTCOMES = """
-- Outcomes of touchpoints that were read and not folded, by the hash of (source, id) and without free text. They
-- identify no one, so they are kept after an erasure. Each partition's owner writes its own rows: two partitions may
-- see one id.
CREATE TABLE touchpoint_outcomes (
    hash       bigint  NOT NULL,
    outcome    text    NOT NULL,   -- duplicate: it came again; conflict: with another content; refused: a dead letter;
                                   -- erased: its customer had been erased after it occurred
    partition  integer NOT NULL,
    times      integer NOT NULL,
    at         bigint  NOT NULL,   -- the last time; rows go TOUCHLINE_OUTCOMES_KEPT_DAYS after it
    reason     text,               -- of a dead letter: a short constant,
    fields     text,               --   the contract's fields that are wrong, comma-separated,
    origin     text,               --   and where it lay: topic/partition/offset
    PRIMARY KEY (hash, outcome, partition)
)
"""

OUTCOMES_INDEXES = ("CREATE INDEX touchpoint_outcomes_by_age ON touchpoint_outcomes (partition, at)",)

ERASURE_RECEIPTS = """
-- What a requested erasure has removed, one row for each key of the person; it identifies no one. The erasure is
-- complete when as many keys are erased as were requested.
CREATE TABLE erasure_receipts (
    receipt    uuid    NOT NULL,   -- returned to the caller
    key_hash   bytea   NOT NULL,   -- as in erasures
    partition  integer NOT NULL,
    times      integer NOT NULL,   -- how often this key was erased for this receipt
    asked      integer NOT NULL,   -- how many further keys this one has asked to be erased
    erased_at  bigint  NOT NULL,   -- touchpoints that occurred before, or were received before, are gone
    done_at    bigint  NOT NULL,
    removed    json    NOT NULL,   -- {table: rows}
    PRIMARY KEY (receipt, key_hash)
)
"""

# The types of rows that are saved many at once: an array of these is sent and taken apart in half the time of an array
# per column. They are types of their own so that an engine that is still running goes on when a later version adds
# columns to the tables.
CUSTOMER_ROW = """
CREATE TYPE customer_row AS (
    customer_id    text,
    incarnation    integer,
    erased_before  bigint,
    touchpoints    bigint,
    last_at        bigint,
    last_id        text,
    last_source    text,
    seen_at        bigint,
    fired_through  bigint,
    wake_at        bigint,
    generation     bigint,
    states         bytea,
    checkpointed   bigint,
    merged_into    text,
    merges         integer,
    identity       bytea
)
"""

STAGE_ROW = """
CREATE TYPE stage_row AS (
    customer_id    text,
    lifecycle      text,
    version        integer,
    stage          text,
    entered_at     bigint,
    sequence       integer,
    stalled_level  integer,
    stalled_since  bigint
)
"""


def upgrade() -> None:
    for statement in (
        DEPLOYMENT,
        PARTITIONS,
        CATCH_UPS,
        CUSTOMERS,
        # Timers: whom to wake. Activity only pushes a timer later, so the column is seldom written.
        "CREATE INDEX customers_to_wake ON customers (partition, wake_at, customer_id) WHERE wake_at IS NOT NULL",
        TOUCHPOINTS,
        *TOUCHPOINTS_INDEXES,
        HISTORY,
        *HISTORY_INDEXES,
        CHECKPOINTS,
        STAGES,
        *STAGES_INDEXES,
        ALIASES,
        LINKS,
        SHARED_KEYS,
        SHARED_KEY_LIMITS,
        CONFLICTS,
        *CONFLICTS_INDEXES,
        ERASURES,
        LIFECYCLES,
        OUTBOX,
        OUTBOX_UNCOMPRESSED,
        COPIES,
        OUTCOMES,
        *OUTCOMES_INDEXES,
        ERASURE_RECEIPTS,
        CUSTOMER_ROW,
        STAGE_ROW,
    ):
        op.execute(statement)


def downgrade() -> None:
    for kind in ("stage_row", "customer_row"):
        op.execute(f"DROP TYPE {kind}")
    for table in (
        "erasure_receipts", "touchpoint_outcomes", "copies", "outbox", "lifecycles", "erasures", "identity_conflicts",
        "shared_key_limits", "shared_keys", "links", "aliases", "stages",
        "checkpoints", "history", "touchpoints", "customers", "catch_ups", "partitions", "deployment",
    ):  # fmt: skip
        op.execute(f"DROP TABLE {table}")
