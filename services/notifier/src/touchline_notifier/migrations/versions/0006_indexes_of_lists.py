"""Indexes for the filters of the lists of actions and deliveries: a page is read by an index condition."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002", "0003", "0004", "0005")

INDEXES = {
    "actions_by_outcome": "actions (outcome, decided_at, action_id)",
    "actions_by_reason": "actions (reason_code, decided_at, action_id) WHERE reason_code IS NOT NULL",
    "actions_by_lifecycle": "actions (lifecycle, decided_at, action_id)",
    "deliveries_by_status": "deliveries (status, created_at, id)",
    "deliveries_by_endpoint": "deliveries (endpoint, created_at, id)",
}


def upgrade() -> None:
    """Create the indexes."""
    for name, columns in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON {columns}")


def downgrade() -> None:
    """Drop them again."""
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
