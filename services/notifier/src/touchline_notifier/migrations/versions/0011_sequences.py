"""Runs of sequences: who is at which step."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")

DEFINITIONS = """
-- The plays that runs began under. A run goes on under its own, whatever is published meanwhile. Rows are only added.
CREATE TABLE sequence_definitions (
    digest      bytea PRIMARY KEY,         -- SHA-256 of the definition
    definition  text  NOT NULL             -- JSON
)
"""

RUNS = """
-- One customer's way through a sequence. Changed in the fenced transactions of its partition alone; two columns
-- apart: a touchpoint that a run waits for may move wake_at forward, and its effects are noted, from any partition.
CREATE TABLE sequence_runs (
    run_id        uuid        PRIMARY KEY, -- UUIDv5 of (play, fact id)
    partition     integer     NOT NULL,
    play          text        NOT NULL,
    play_version  integer     NOT NULL,    -- as it was published; 0: a file
    digest        bytea       NOT NULL REFERENCES sequence_definitions,
    customer_id   text        NOT NULL,
    fact          jsonb       NOT NULL,    -- what it began on
    fact_type     text        NOT NULL,
    lifecycle     text        NOT NULL,
    started_at    timestamptz NOT NULL,
    held_out      boolean     NOT NULL,    -- the customer's assignment for the play
    step          text        NOT NULL,    -- where it is: 2, 3.then.1
    entered_at    timestamptz NOT NULL,
    wake_at       timestamptz,             -- looked at again then
    outcome       text        CHECK (outcome IN ('happened', 'timed_out')),  -- of the last wait_until
    anchor        jsonb,                   -- the awaited move that it went on with
    ended_at      timestamptz,
    end_code      text,
    end_text      text,
    recovered_at  timestamptz,             -- what came of it, for treated and held out alike
    returned_at   timestamptz,
    converted_at  timestamptz,
    CHECK (ended_at IS NULL OR wake_at IS NULL)
)
"""

VISITS = """
-- The steps that a run came to, each once.
CREATE TABLE sequence_visits (
    run_id      uuid        NOT NULL REFERENCES sequence_runs ON DELETE CASCADE,
    step        text        NOT NULL,
    entered_at  timestamptz NOT NULL,
    left_at     timestamptz,
    result      text,                      -- how it was left: sent, waited, happened, timed_out, then, else, a reason
    PRIMARY KEY (run_id, step)
)
"""

HITS = """
-- Touchpoints that a step waits for, or that are the goal. Only added, so that no order of arrival matters.
CREATE TABLE sequence_hits (
    run_id  uuid        NOT NULL REFERENCES sequence_runs ON DELETE CASCADE,
    step    text        NOT NULL,          -- a step, or goal
    at      timestamptz NOT NULL,
    PRIMARY KEY (run_id, step, at)
)
"""

INDEXES = (
    "CREATE INDEX sequence_runs_due ON sequence_runs (partition, wake_at) WHERE wake_at IS NOT NULL",
    "CREATE INDEX sequence_runs_of_customer ON sequence_runs (customer_id, started_at)",
    "CREATE INDEX sequence_runs_of_play ON sequence_runs (play, started_at, run_id)",
    "CREATE INDEX sequence_runs_going_on ON sequence_runs (partition, play) WHERE ended_at IS NULL",
    "CREATE INDEX sequence_runs_ended ON sequence_runs (ended_at) WHERE ended_at IS NOT NULL",
)


def upgrade() -> None:
    """Create the tables. Without a default no row of actions is rewritten."""
    for statement in (DEFINITIONS, RUNS, VISITS, HITS, *INDEXES):
        op.execute(statement)
    op.execute("ALTER TABLE actions ADD COLUMN run_id uuid, ADD COLUMN step text, ADD COLUMN step_at timestamptz")


def downgrade() -> None:
    """Drop them again."""
    op.execute("ALTER TABLE actions DROP COLUMN run_id, DROP COLUMN step, DROP COLUMN step_at")
    for table in ("sequence_hits", "sequence_visits", "sequence_runs", "sequence_definitions"):
        op.execute(f"DROP TABLE {table}")
