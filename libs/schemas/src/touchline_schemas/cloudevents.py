"""CloudEvents 1.0 on Kafka, binary content mode, both ways (Kafka protocol binding §3.2).

Context attributes are headers ``ce_<name>`` in UTF-8; the data is the record's value; its media type is the header
``content-type``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from touchline_schemas.times import to_wire

Headers = list[tuple[str, bytes]]
_SPECVERSION = ("ce_specversion", b"1.0")
_CONTENT_TYPE = ("content-type", b"application/json")


class NotACloudEventError(ValueError):
    """A record whose headers don't make a CloudEvent; the text says which attribute is missing or wrong."""


@dataclass(frozen=True, slots=True)
class Context:
    """The context attributes we write and need."""

    id: str
    type: str
    source: str
    time: str | None = None
    subject: str | None = None


def to_headers(*, id: str, type: str, source: str, time: datetime | str, subject: str) -> Headers:  # noqa: A002
    """The headers of a record in binary mode.

    Args:
        source: a URI reference that names the producer, such as ``/touchline/ingest/shop``.
        time: when the event happened.
        subject: the customer id.
    """
    return [
        _SPECVERSION,
        ("ce_id", id.encode()),
        _header("ce_type", type),
        _header("ce_source", source),
        ("ce_time", (time if isinstance(time, str) else to_wire(time)).encode()),
        ("ce_subject", subject.encode()),
        _CONTENT_TYPE,
    ]


@lru_cache(maxsize=1024)
def _header(name: str, value: str) -> tuple[str, bytes]:
    """A header that many records share: types and sources are few."""
    return name, value.encode()


def from_headers(headers: Iterable[tuple[str, bytes | None]] | None) -> Context:
    """Read a record's context.

    Raises:
        NotACloudEventError: a required attribute is missing or not UTF-8, or the version is not 1.0.
    """
    found: dict[str, str] = {}
    for name, value in headers or ():
        if name.startswith("ce_") and value is not None:
            try:
                found[name[3:]] = value.decode()
            except UnicodeDecodeError:
                raise NotACloudEventError(f"header {name} is not UTF-8") from None
    if found.get("specversion") != "1.0":
        raise NotACloudEventError(f"ce_specversion must be 1.0, not {found.get('specversion')!r}")
    for required in ("id", "type", "source"):
        if not found.get(required):
            raise NotACloudEventError(f"header ce_{required} is missing")
    return Context(
        id=found["id"], type=found["type"], source=found["source"], time=found.get("time"), subject=found.get("subject")
    )
