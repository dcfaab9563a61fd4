"""The in-memory publisher: for tests without a broker. It passes the same test suite as the Kafka publisher."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from touchline_runtime.errors import Unavailable
from touchline_schemas.topics import Topic

from touchline_ingest.adapters.in_flight import InFlight
from touchline_ingest.application.ports import Delivery
from touchline_ingest.core.touchpoints.records import Record


class MemoryPublisher:
    """Keeps what is published, by the topic's short name, in order.

    Args:
        ack_timeout: seconds a caller waits after ``go_away``.
    """

    def __init__(self, *, ack_timeout: float = 10.0, most_records: int = 50_000, most_bytes: int = 128_000_000) -> None:
        self.published: dict[str, list[Record]] = defaultdict(list)
        self._in_flight = InFlight(most_records, most_bytes)
        self._ack_timeout = ack_timeout
        self._reachable = asyncio.Event()
        self._reachable.set()

    def go_away(self) -> None:
        """Stop acknowledging, like a stopped broker."""
        self._reachable.clear()

    def come_back(self) -> None:
        """Acknowledge again."""
        self._reachable.set()

    async def publish(self, topic: Topic, records: Sequence[Record]) -> Delivery:
        """Keep the records; see :class:`Publisher`."""
        size = sum(record.size for record in records)
        self._in_flight.take(len(records), size)
        try:
            async with asyncio.timeout(self._ack_timeout):
                # Like a real broker, acknowledge on a later iteration of the event loop.
                await asyncio.sleep(0)
                await self._reachable.wait()
        except TimeoutError:
            return Delivery(frozenset(range(len(records))), f"no acknowledgement within {self._ack_timeout:g} s")
        finally:
            self._in_flight.release(len(records), size)
        self.published[topic.name] += records
        return Delivery()

    async def check(self) -> None:
        """Health: whether it acknowledges."""
        if not self._reachable.is_set():
            raise Unavailable("the in-memory log is unavailable")
