"""The version of the play that an action was decided under."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002", "0003", "0004", "0005", "0006")


def upgrade() -> None:
    """Add the column. Without a default no row is rewritten: of earlier actions the version is not known."""
    op.execute("ALTER TABLE actions ADD COLUMN play_version integer")


def downgrade() -> None:
    """Drop it again."""
    op.execute("ALTER TABLE actions DROP COLUMN play_version")
