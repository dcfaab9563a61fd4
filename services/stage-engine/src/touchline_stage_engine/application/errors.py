"""Interruptions of a partition's work.

::

    Interrupted
    ├── FencedError          another process has taken the partition: acquire again, if still assigned
    ├── DatabaseAwayError    PostgreSQL is away, or a transaction's outcome is unknown: acquire again when it is back
    ├── KafkaAwayError       Kafka is away or refused: acquire again when it is back
    └── PermanentFaultError  retrying will not help: reported once with the remedy, retried slowly

Any other exception is unexpected; in a batch it is treated as the fault of one record (see ``isolation.py``).
"""

from touchline_partitions.errors import FencedError, Interrupted

__all__ = ["DatabaseAwayError", "FencedError", "Interrupted", "KafkaAwayError", "PermanentFaultError"]


class DatabaseAwayError(Interrupted):
    """The database does not answer."""


class KafkaAwayError(Interrupted):
    """Kafka does not answer."""


class PermanentFaultError(Interrupted):
    """An operator has to act; the text names the remedy."""
