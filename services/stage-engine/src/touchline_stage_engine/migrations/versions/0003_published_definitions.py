"""Definitions that are published while engines run, the audit log, and simulations."""

from alembic import op
from touchline_runtime.audit import table as audit_log

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002")

LIFECYCLES = """
ALTER TABLE lifecycles
    ADD COLUMN origin    text    NOT NULL DEFAULT 'file',  -- file (of a folder), builtin, or published
    ADD COLUMN author    text,
    ADD COLUMN comment   text,
    ADD COLUMN numbered  boolean NOT NULL DEFAULT true     -- false: the engine chose the version's number
"""

SIMULATIONS = """
-- Simulations asked for through the API. The process that runs one writes its progress and its result.
CREATE TABLE simulations (
    id           uuid        PRIMARY KEY,
    lifecycle    text        NOT NULL,
    author       text        NOT NULL,
    request      jsonb       NOT NULL,   -- definition, on_change, effective_from, until (microseconds)
    state        text        NOT NULL DEFAULT 'running',
    progress     jsonb       NOT NULL DEFAULT '{}',
    result       jsonb,
    error        text,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    alive_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at  timestamptz
)
"""

SIMULATED_CHANGES = """
-- The customers whom a simulation would move, each with the stage now and then. Null: no stage.
CREATE TABLE simulated_changes (
    simulation   uuid NOT NULL REFERENCES simulations ON DELETE CASCADE,
    customer_id  text NOT NULL COLLATE "C",
    now_in       text,
    then_in      text,
    PRIMARY KEY (simulation, customer_id)
)
"""


INDEXES = (
    # Erasure deletes by customer.
    "CREATE INDEX simulated_changes_of_customer ON simulated_changes (customer_id)",
    "CREATE INDEX simulated_changes_by_stages ON simulated_changes (simulation, now_in, then_in, customer_id)",
)


def upgrade() -> None:
    for statement in (LIFECYCLES, *audit_log.CREATE, SIMULATIONS, SIMULATED_CHANGES, *INDEXES):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE simulated_changes")
    op.execute("DROP TABLE simulations")
    for statement in audit_log.DROP:
        op.execute(statement)
    op.execute(
        "ALTER TABLE lifecycles DROP COLUMN origin, DROP COLUMN author, DROP COLUMN comment, DROP COLUMN numbered"
    )
