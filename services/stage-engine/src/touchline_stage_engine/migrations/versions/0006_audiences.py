"""Audiences: saved filters of customers, who is a member of which, and how far each partition has evaluated them."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002", "0003", "0004", "0005")

AUDIENCES = """
-- One row for each incarnation of a name. A deleted one stays, so that its members leave and no id is used twice.
CREATE TABLE audiences (
    id           bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name         text        NOT NULL COLLATE "C",
    incarnation  integer     NOT NULL,   -- 1, 2, 3 … over the audiences of this name
    version      integer     NOT NULL,   -- 1, 2, 3 … over its changes
    title        text        NOT NULL,
    description  text        NOT NULL DEFAULT '',
    filter       jsonb       NOT NULL,   -- as it was written: {condition: value}
    author       text        NOT NULL,   -- of the last change
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at   timestamptz,
    UNIQUE (name, incarnation)
)
"""

MEMBERS = """
-- Who is, or was, a member. The partition's owner alone writes its rows, in the transaction that publishes the change.
CREATE TABLE audience_members (
    partition    integer NOT NULL,
    audience     bigint  NOT NULL,
    customer_id  text    NOT NULL COLLATE "C",
    incarnation  integer NOT NULL,   -- of the customer
    change_no    integer NOT NULL,   -- 1, 2, 3 … over the changes of this customer: odd ones enter, even ones leave
    member       boolean NOT NULL,
    changed_at   bigint  NOT NULL,
    PRIMARY KEY (partition, audience, customer_id)
) WITH (fillfactor = 80)
"""

PROGRESS = """
-- How far a partition has evaluated an audience.
CREATE TABLE audience_progress (
    partition  integer NOT NULL,
    audience   bigint  NOT NULL,
    version    integer NOT NULL DEFAULT 0,   -- by which every customer of the partition was evaluated; 0: none yet
    members    bigint  NOT NULL DEFAULT 0,
    through    bigint  NOT NULL DEFAULT 0,   -- the latest instant by which spans were evaluated: it never falls
    PRIMARY KEY (partition, audience)
) WITH (fillfactor = 50)
"""

INDEXES = (
    "CREATE UNIQUE INDEX audiences_by_name ON audiences (name) WHERE deleted_at IS NULL",
    # The list of an audience's members, over all partitions.
    "CREATE INDEX audience_members_listed ON audience_members (audience, customer_id) WHERE member",
    # Erasure deletes by customer.
    "CREATE INDEX audience_members_of_customer ON audience_members (customer_id)",
    "CREATE INDEX audience_progress_of_audience ON audience_progress (audience)",
)


def upgrade() -> None:
    for statement in (AUDIENCES, MEMBERS, PROGRESS, *INDEXES):
        op.execute(statement)


def downgrade() -> None:
    for table in ("audience_progress", "audience_members", "audiences"):
        op.execute(f"DROP TABLE {table}")
