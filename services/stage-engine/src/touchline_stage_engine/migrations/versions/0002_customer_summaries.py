"""Customers as people look for them: a row each to search, filter and sort by, derived from the other tables."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
runs_with = ("0001",)

SUMMARIES = """
-- One row per customer, written in the background from `customers` and `touchpoints` (see summaries.py). It decides
-- nothing: it may be dropped at any time, and is then computed again.
CREATE TABLE customer_summaries (
    customer_id       text    PRIMARY KEY COLLATE "C",
    touchpoints       bigint  NOT NULL,   -- customers.touchpoints at the time, and how many aliases there were: where
    aliases           integer NOT NULL,   --   they differ, it is written again
    name              text,
    email             text,
    traits            jsonb   NOT NULL DEFAULT '{}',
    first_at          bigint,             -- of the first touchpoint, with its channel and source
    first_channel     text,
    first_source      text,
    active_at         bigint,             -- last activity: inbound, by no machine, of no passive type
    value             double precision NOT NULL DEFAULT 0,
    purchases         integer NOT NULL DEFAULT 0,
    last_purchase_at  bigint,
    written_at        bigint  NOT NULL
) WITH (fillfactor = 80)
"""

TERMS = """
-- What a customer is found by: id, aliases, e-mail address, words of the name, external ids; lower case, cut.
CREATE TABLE customer_terms (
    term         text NOT NULL COLLATE "C",
    customer_id  text NOT NULL COLLATE "C",
    PRIMARY KEY (term, customer_id)
)
"""

INDEXES = (
    "CREATE INDEX customer_terms_of_customer ON customer_terms (customer_id)",
    "CREATE INDEX customer_summaries_by_value ON customer_summaries (value, customer_id)",
    "CREATE INDEX customer_summaries_by_activity ON customer_summaries (coalesce(active_at, 0), customer_id)",
    "CREATE INDEX customer_summaries_by_first ON customer_summaries (coalesce(first_at, 0), customer_id)",
    "CREATE INDEX customer_summaries_by_name ON customer_summaries"
    " (coalesce(lower(name), '') COLLATE \"C\", customer_id)",
)


def upgrade() -> None:
    for statement in (SUMMARIES, TERMS, *INDEXES):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE customer_terms")
    op.execute("DROP TABLE customer_summaries")
