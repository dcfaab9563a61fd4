"""Indexes for the list's filters, and the current stages with their stall from one index alone."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002", "0003")

ADD = (
    "CREATE INDEX customer_summaries_by_channel ON customer_summaries (first_channel, value, customer_id)",
    "CREATE INDEX customer_summaries_by_source ON customer_summaries (first_source, value, customer_id)",
    "CREATE INDEX customer_summaries_by_trait ON customer_summaries USING gin (traits jsonb_path_ops)",
    # A change of the stall changes indexes anyway, so the columns beside the key cost no update that was free.
    "CREATE INDEX stages_by_entry ON stages (lifecycle, stage, entered_at) INCLUDE (stalled_level, customer_id)",
    "DROP INDEX stages_of_lifecycle",
)
REMOVE = (
    "CREATE INDEX stages_of_lifecycle ON stages (lifecycle, stage, entered_at)",
    "DROP INDEX stages_by_entry",
    "DROP INDEX customer_summaries_by_trait",
    "DROP INDEX customer_summaries_by_source",
    "DROP INDEX customer_summaries_by_channel",
)


def upgrade() -> None:
    for statement in ADD:
        op.execute(statement)


def downgrade() -> None:
    for statement in REMOVE:
        op.execute(statement)
