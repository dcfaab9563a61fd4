"""Who is in which audience, and how far the topic of changes has been read."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011")

MEMBERS = """
CREATE TABLE audience_members (
    customer_id  text        NOT NULL,
    audience     text        NOT NULL,
    since        timestamptz NOT NULL,
    PRIMARY KEY (customer_id, audience)
)
"""

POSITIONS = """
-- A transaction moves a position from where it found it: of two processes that read the same records, one writes.
CREATE TABLE audience_positions (
    stream       text    NOT NULL,   -- cluster id and topic prefix
    partition    integer NOT NULL,
    topic_id     text    NOT NULL,   -- of a topic that was created again, everything is read
    next_offset  bigint  NOT NULL,
    PRIMARY KEY (stream, partition)
)
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(MEMBERS)
    op.execute(POSITIONS)


def downgrade() -> None:
    """Drop them again."""
    op.execute("DROP TABLE audience_members")
    op.execute("DROP TABLE audience_positions")
