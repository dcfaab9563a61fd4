"""An address's opt-out beside its block: a bounce or a complaint is not undone where a customer opts in again."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")


def upgrade() -> None:
    """Add the columns. Of earlier rows, those with the reason unsubscribed are opt-outs."""
    op.execute("ALTER TABLE suppressions ADD COLUMN opted_out_at timestamptz, ADD COLUMN opted_in_at timestamptz")


def downgrade() -> None:
    """Drop them again."""
    op.execute("ALTER TABLE suppressions DROP COLUMN opted_out_at, DROP COLUMN opted_in_at")
