"""What goes to Kafka: a touchpoint as a CloudEvent, or a dead letter."""

from dataclasses import dataclass

from touchline_schemas.cloudevents import Headers, to_headers
from touchline_schemas.dead_letters import dead_letter
from touchline_schemas.times import to_wire
from touchline_schemas.touchpoint import Touchpoint

TOUCHPOINT = "touchline.touchpoint"

# Credentials have no place on a topic; hop-by-hop headers say nothing about the content.
_NOT_KEPT = frozenset(
    ("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "connection", "transfer-encoding")
)


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One record to publish; ``key`` decides the partition, None leaves the choice open."""

    key: bytes | None
    value: bytes
    headers: Headers

    @property
    def size(self) -> int:
        """Bytes it takes, near enough for accounting."""
        return len(self.value) + 300


def touchpoint_record(touchpoint: Touchpoint) -> Record:
    """The record of an accepted touchpoint: CloudEvents 1.0, binary mode, keyed by customer key."""
    key = touchpoint.key
    headers = to_headers(
        id=touchpoint.id,
        type=TOUCHPOINT,
        source=f"/touchline/ingest/{touchpoint.source}",
        time=to_wire(touchpoint.occurred_at),
        subject=key,
    )
    return Record(key.encode(), touchpoint.to_json(), headers)


def dead_letter_record(
    body: bytes, headers: list[tuple[str, str]], *, reason: str, error: str, endpoint: str
) -> Record:
    """The record of a request that was genuine and could not be understood.

    Args:
        headers: the request's own; credentials among them are left out.
        endpoint: the path it was posted to.
    """
    kept = [(name, value.encode("utf-8", "replace")) for name, value in headers if name.lower() not in _NOT_KEPT]
    value, all_headers = dead_letter(body, kept, reason=reason, error=error, origin=endpoint)
    return Record(None, value, all_headers)
