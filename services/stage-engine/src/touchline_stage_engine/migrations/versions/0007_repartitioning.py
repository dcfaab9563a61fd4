"""A change of the number of partitions that is under way."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002", "0003", "0004", "0005", "0006")


def upgrade() -> None:
    """Add the column: the new number while the change is under way, else null."""
    op.execute("ALTER TABLE deployment ADD COLUMN repartitioning integer")


def downgrade() -> None:
    """Drop it again."""
    op.execute("ALTER TABLE deployment DROP COLUMN repartitioning")
