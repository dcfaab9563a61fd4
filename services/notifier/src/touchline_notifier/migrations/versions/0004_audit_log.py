"""The audit log."""

from alembic import op
from touchline_runtime.audit.table import CREATE, DROP

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002", "0003")


def upgrade() -> None:
    """Create the table."""
    for statement in CREATE:
        op.execute(statement)


def downgrade() -> None:
    """Drop it again."""
    for statement in DROP:
        op.execute(statement)
