"""A limit on the records that wait for Kafka at once, so that an outage costs a bounded amount of memory."""

from touchline_ingest.application.ports import Overloaded


class InFlight:
    """Counts the records and bytes that are accepted and not settled yet."""

    __slots__ = ("_most_bytes", "_most_records", "bytes", "records")

    def __init__(self, most_records: int, most_bytes: int) -> None:
        self._most_records = most_records
        self._most_bytes = most_bytes
        self.records = 0
        self.bytes = 0

    def take(self, records: int, size: int) -> None:
        """Reserve room, or refuse.

        A request larger than the whole limit is accepted when nothing else is in flight; otherwise it could never pass.

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
        """Free the room of settled records."""
        self.records -= records
        self.bytes -= size
