"""Where keys of one customer have brought the same (source, id), each one's content is kept: one may be withdrawn."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COPIES = """
-- A touchpoint is one (source, id). Where keys that became one customer have each brought it, with contents that
-- differ, the least is in `touchpoints`, and this is what each key brought, the least one too: when that key turns out
-- to be somebody else's, the least of the others takes its place.
CREATE TABLE copies (
    customer_id   text     NOT NULL COLLATE "C",
    hash          bigint   NOT NULL,   -- of (source, id)
    original_key  text     NOT NULL COLLATE "C",   -- the customer's own key too
    digest        bytea    NOT NULL,   -- of the content: of two under one key the smaller (occurred_at, digest) stays
    occurred_at   bigint   NOT NULL,
    id            text     NOT NULL COLLATE "C",
    source        text     NOT NULL COLLATE "C",
    type          text     NOT NULL,
    channel       text     NOT NULL,
    flags         smallint NOT NULL,
    received_at   bigint   NOT NULL,
    properties    json     NOT NULL,
    identifiers   json,
    PRIMARY KEY (customer_id, hash, original_key)
)
"""


def upgrade() -> None:
    op.execute(COPIES)


def downgrade() -> None:
    op.execute("DROP TABLE copies")
