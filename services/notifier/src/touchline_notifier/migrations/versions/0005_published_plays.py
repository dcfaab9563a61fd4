"""Plays that are published while notifiers run."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
runs_with = ("0001", "0002", "0003", "0004")

PLAY_VERSIONS = """
-- Every version of a play that was published. Rows are only added.
CREATE TABLE play_versions (
    play          text        NOT NULL COLLATE "C",
    version       integer     NOT NULL,
    definition    text        NOT NULL,   -- YAML
    author        text        NOT NULL,
    comment       text        NOT NULL,
    published_at  timestamptz NOT NULL,
    PRIMARY KEY (play, version)
)
"""

PUBLISHED_PLAYS = """
-- Which version of each of these plays is in force. The changes are counted in kept, under plays_revision.
CREATE TABLE published_plays (
    play     text    PRIMARY KEY COLLATE "C",
    version  integer,                         -- null: withdrawn
    enabled  boolean NOT NULL DEFAULT true,   -- the play's switch
    FOREIGN KEY (play, version) REFERENCES play_versions
)
"""

PLAY_FILES = """
-- Plays that are defined by files of the notifier that started last: they change with their files alone.
CREATE TABLE play_files (
    play  text PRIMARY KEY COLLATE "C"
)
"""


def upgrade() -> None:
    """Create the tables."""
    for statement in (PLAY_VERSIONS, PUBLISHED_PLAYS, PLAY_FILES):
        op.execute(statement)


def downgrade() -> None:
    """Drop them again."""
    for table in ("play_files", "published_plays", "play_versions"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DELETE FROM kept WHERE name = 'plays_revision'")
