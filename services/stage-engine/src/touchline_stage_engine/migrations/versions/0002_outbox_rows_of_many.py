"""An outbox row holds many records: a row each cost more than the facts themselves."""

import msgpack
import orjson
from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OUTBOX = """
-- What waits to be published, in commit order within a partition. Records are numbered 1, 2, 3 …; a row holds some that
-- were committed together.
CREATE TABLE outbox (
    partition  integer NOT NULL,
    first_id   bigint  NOT NULL,
    last_id    bigint  NOT NULL,
    records    bytea   NOT NULL,   -- MessagePack: [[topic, target partition, key, [[name, value]], value]]
    PRIMARY KEY (partition, last_id)
)
"""
# It lives for a second or two: no time is to be spent on making it small.
UNCOMPRESSED = "ALTER TABLE outbox ALTER COLUMN records SET STORAGE EXTERNAL"

INSERT = "INSERT INTO outbox (partition, first_id, last_id, records) VALUES (:partition, :id, :id, :records)"


def upgrade() -> None:
    connection = op.get_bind()
    rows = connection.execute(
        text("SELECT partition, id, topic, target_partition, key, headers, value FROM outbox ORDER BY partition, id")
    ).all()
    op.execute("DROP TABLE outbox")
    op.execute(OUTBOX)
    op.execute(UNCOMPRESSED)
    for row in rows:
        headers = [(name, value.encode("latin-1")) for name, value in orjson.loads(row.headers)]
        records = msgpack.packb([(row.topic, row.target_partition, row.key, headers, row.value)])
        connection.execute(text(INSERT), {"partition": row.partition, "id": row.id, "records": records})


def downgrade() -> None:
    raise NotImplementedError("there is no way back: restore a backup made before")
