"""What became of touchpoints that were read and not folded, so that whoever sent one can ask."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FATES = """
-- By the hash of (source, id) alone: it names nobody, so it outlives an erasure.
CREATE TABLE fates (
    hash   bigint  NOT NULL,
    fate   text    NOT NULL,   -- duplicate: it came again; conflict: with another content; refused: a dead letter;
                               -- erased: its customer had been erased after it occurred
    times  integer NOT NULL,
    at     bigint  NOT NULL,   -- the last time
    reason text,               -- of a dead letter: a short constant,
    error  text,               --   the words for it,
    origin text,               --   and where it lay: topic/partition/offset
    PRIMARY KEY (hash, fate)
)
"""


def upgrade() -> None:
    op.execute(FATES)


def downgrade() -> None:
    op.execute("DROP TABLE fates")
