"""The ids of the topics that a position is valid for: a topic that was made anew is read from its beginning."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002")

TOPIC_IDS = """
-- Null until the next acquisition: then the position is taken to be that of the topics as they are.
ALTER TABLE positions
    ADD COLUMN touchpoints_topic_id text,
    ADD COLUMN facts_topic_id text
"""


def upgrade() -> None:
    """Add the columns."""
    op.execute(TOPIC_IDS)


def downgrade() -> None:
    """Drop them again."""
    op.execute("ALTER TABLE positions DROP COLUMN touchpoints_topic_id, DROP COLUMN facts_topic_id")
