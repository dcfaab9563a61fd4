"""Every attempt of a delivery, for people who ask what became of it."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
runs_with = ("0001",)

ATTEMPTS = """
-- One row per attempt. It goes with its delivery, so an erasure removes it.
CREATE TABLE delivery_attempts (
    delivery_id   uuid        NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    at            timestamptz NOT NULL,      -- when it had ended
    attempt       integer     NOT NULL,      -- 1, 2, 3 …; begins again with a replay
    endpoint      text        NOT NULL,
    result        text        NOT NULL CHECK (result IN ('sent', 'retry', 'failed')),
    status        integer,                   -- HTTP or SMTP status, if one came
    milliseconds  integer,
    error         text,                      -- in our own words
    answer        text,                      -- the beginning of the other side's answer, where it was no success
    PRIMARY KEY (delivery_id, at)
)
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(ATTEMPTS)
    op.execute("CREATE INDEX delivery_attempts_of_endpoint ON delivery_attempts (endpoint, at)")


def downgrade() -> None:
    """Drop it again."""
    op.execute("DROP TABLE delivery_attempts")
