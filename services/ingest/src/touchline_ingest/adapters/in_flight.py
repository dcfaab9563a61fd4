"""A bound on what waits for Kafka at once, so that an outage costs a known amount of memory."""

from touchline_ingest.adapters.publisher import Overloaded


class InFlight:
    """Counts records and bytes between being taken and being settled."""

    __slots__ = ("_most_bytes", "_most_records", "bytes", "records")

    def __init__(self, most_records: int, most_bytes: int) -> None:
        self._most_records = most_records
        self._most_bytes = most_bytes
        self.records = 0
        self.bytes = 0

    def take(self, records: int, size: int) -> None:
        """Make room, or refuse.

        What is larger than the whole bound is let through when nothing else is there: it could never pass otherwise.

        Raises:
            Overloaded: there is no room.
        """
        full = self.records + records > self._most_records or self.bytes + size > self._most_bytes
        if full and self.records:
            raise Overloaded(
                f"{self.records} records are waiting for Kafka's acknowledgement and there is no room for more: try "
                "again shortly"
            )
        self.records += records
        self.bytes += size

    def release(self, records: int, size: int) -> None:
        """They are settled."""
        self.records -= records
        self.bytes -= size
