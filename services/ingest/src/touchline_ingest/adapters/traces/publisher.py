"""A publisher that writes the trace context into the headers of records, where tracing is on."""

from collections.abc import Sequence

from touchline_runtime.http.traces import current
from touchline_runtime.tracing import HEADER, Tracing
from touchline_schemas.topics import Topic

from touchline_ingest.application.ports import Delivery, Publisher
from touchline_ingest.core.touchpoints.records import Record


class TracedPublisher:
    """Implements ``application.ports.Publisher`` on another one."""

    def __init__(self, publisher: Publisher, tracing: Tracing) -> None:
        self._publisher = publisher
        self._tracing = tracing

    async def publish(self, topic: Topic, records: Sequence[Record]) -> Delivery:
        """Publish records within a span, which the request's span caused."""
        span = self._tracing.start(
            f"publish {topic.name}",
            "producer",
            current.get(),
            attributes={"messaging.system": "kafka", "messaging.batch.message_count": len(records)},
        )
        header = (HEADER, span.context.encode())
        traced = [record._replace(headers=[*record.headers, header]) for record in records]
        why = "cancelled"
        try:
            delivery = await self._publisher.publish(topic, traced)
            why = delivery.reason
            return delivery
        except Exception as error:
            why = str(error)
            raise
        finally:
            span.end(why)

    async def check(self) -> None:
        """Check that Kafka answers."""
        await self._publisher.check()
