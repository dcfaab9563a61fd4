"""Opens and clicks of mails."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")

MAIL_EVENTS = """
-- One row an open, or a click on a link, within a piece of the clock, and one more where a machine did the same. They
-- go with their action: by retention, and when the customer is erased.
CREATE TABLE mail_events (
    action_id     uuid        NOT NULL REFERENCES actions ON DELETE CASCADE,
    kind          text        NOT NULL CHECK (kind IN ('opened', 'clicked')),
    link          integer     NOT NULL,   -- its number in the mail; 0: the pixel
    window_start  timestamptz NOT NULL,
    machine       boolean     NOT NULL,   -- the verdict; until it is judged, what the request itself says
    by_agent      boolean     NOT NULL,   -- the request itself says that a machine made it
    name          text        NOT NULL,
    url           text        NOT NULL,
    occurred_at   timestamptz NOT NULL,
    judged        boolean     NOT NULL DEFAULT false,   -- and its touchpoint is in the outbox
    PRIMARY KEY (action_id, kind, link, window_start, machine)
)
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(MAIL_EVENTS)
    op.execute("CREATE INDEX mail_events_unjudged ON mail_events (occurred_at) WHERE NOT judged")


def downgrade() -> None:
    """Drop it again."""
    op.execute("DROP TABLE mail_events")
