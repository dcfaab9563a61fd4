"""What can go wrong for a partition's owner, in its own words.

::

    Interrupted
    ├── FencedError          somebody else has taken the partition: claim again, if still assigned
    ├── DatabaseAwayError    PostgreSQL is away or a transaction's end is unknown: claim again when it is back
    └── KafkaAwayError       Kafka is away or refused: claim again when it is back
"""


class Interrupted(Exception):  # noqa: N818  (the root of the tree: not every interruption is an error)
    """A partition's work stopped before its end; nothing is lost, and memory must be thrown away."""


class FencedError(Interrupted):
    """Somebody else has the partition."""


class DatabaseAwayError(Interrupted):
    """The database does not answer."""


class KafkaAwayError(Interrupted):
    """Kafka does not answer."""
