"""Retention of the audit log: its trigger lets a transaction that asks for it delete entries."""

from alembic import op
from touchline_runtime.audit.table import ALLOW_RETENTION, REFUSE_RETENTION

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")


def upgrade() -> None:
    """Replace the trigger's function."""
    for statement in ALLOW_RETENTION:
        op.execute(statement)


def downgrade() -> None:
    """Restore the former one."""
    for statement in REFUSE_RETENTION:
        op.execute(statement)
