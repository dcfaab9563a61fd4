"""What goes to Kafka: a touchpoint as a CloudEvent, or a dead letter."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import orjson
from touchline_schemas.cloudevents import Headers, to_headers
from touchline_schemas.events.dead_letters import dead_letter
from touchline_schemas.identity import keys_of
from touchline_schemas.times import to_wire
from touchline_schemas.touchpoint import PostedTouchpoint
from touchline_schemas.touchpoint_types import meaning_of

TOUCHPOINT = "touchline.touchpoint"

SOURCE = "touchline-source"
URL = "touchline-url"
NAMED_BY = "touchline-named-by"
ORIGIN_HEADERS = frozenset((SOURCE, URL, NAMED_BY))
"""Headers that a dead letter of a request has beside the request's own; see :class:`RequestOrigin`."""

_SECRET_PARAMETERS = frozenset(
    (
        "access_token", "api_key", "apikey", "auth", "authorization", "client_secret", "key", "passwd", "password",
        "secret", "sig", "signature", "token", "user_hash", "write_key", "writekey",
    )
)  # fmt: skip

# What opens something inside a body: Segment's write key, a proof of identity, the session of an outbound message.
_SECRET_FIELDS = re.compile(
    rb'("(?:writeKey|write_key|user_hash)"\s*:\s*)"(?:[^"\\]|\\.)*"'
    rb"|(<(?:\w+:)?SessionId>)[^<]*(?=</)",
    re.DOTALL,
)
_LEAST_SECRET = 6
REMOVED = "removed"

# Credentials do not belong on a topic; hop-by-hop headers do not describe the content.
_NOT_KEPT = frozenset(
    (
        "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "connection", "transfer-encoding",
        "content-encoding",
    )
)  # fmt: skip


def printable(text: str) -> str:
    """A text that can be written as UTF-8, with invalid characters replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class Record(NamedTuple):
    """One record to publish; ``key`` decides the partition, None leaves the choice open."""

    key: bytes | None
    value: bytes
    headers: Headers

    @property
    def size(self) -> int:
        """Bytes it takes, near enough for accounting."""
        return len(self.value) + 300


def touchpoint_record(
    posted: PostedTouchpoint,
    *,
    id: str,  # noqa: A002
    source: str,
    received_at: str,
    backfill: bool | None,
) -> Record:
    """The record of an accepted touchpoint: CloudEvents 1.0, binary mode, keyed by customer key.

    The same JSON as ``posted.accepted(…).to_json()``, a test holds the two together, at a quarter of the cost.

    Args:
        received_at: as on the wire.
        backfill: overrides what was posted, unless None.

    Raises:
        TypeError: a property can't be written as JSON (an integer beyond 64 bits).
    """
    channel, direction = posted.channel, posted.direction
    if channel is None or direction is None:
        meaning = meaning_of(posted.type)
        channel, direction = channel or meaning.channel, direction or meaning.direction
    people = {
        "customer_id": posted.customer_id,
        "anonymous_id": posted.anonymous_id,
        "email": posted.email,
        "external_id": posted.external_id,
    }
    return record_of(
        type=posted.type,
        key=keys_of(**people, source=source)[0],
        people={name: value for name, value in people.items() if value is not None},
        occurred_at=to_wire(posted.occurred_at),
        properties=posted.properties,
        machine=posted.machine,
        backfill=posted.backfill if backfill is None else backfill,
        id=id,
        channel=channel,
        direction=direction,
        received_at=received_at,
        source=source,
    )


def record_of(
    *,
    type: str,  # noqa: A002
    key: str,
    people: dict[str, str],
    occurred_at: str,
    properties: dict[str, Any],
    machine: bool,
    backfill: bool,
    id: str,  # noqa: A002
    channel: str,
    direction: str,
    received_at: str,
    source: str,
) -> Record:
    """The record of fields that were found good; the order of the fields is the model's.

    Raises:
        TypeError: a property can't be written as JSON.
    """
    data = {
        "type": type,
        **people,
        "occurred_at": occurred_at,
        "properties": properties,
        "machine": machine,
        "backfill": backfill,
        "id": id,
        "channel": channel,
        "direction": direction,
        "received_at": received_at,
        "source": source,
    }
    headers = to_headers(id=id, type=TOUCHPOINT, source="/touchline/ingest/" + source, time=occurred_at, subject=key)
    return Record(key.encode(), orjson.dumps(data), headers)


def dead_letter_record(
    body: bytes,
    headers: Iterable[tuple[str, str]],
    *,
    reason: str,
    error: str,
    origin: "RequestOrigin",
    secrets: Iterable[str] = (),
) -> Record:
    """The record of a request that was genuine and could not be understood, whole or in part.

    Args:
        headers: the request's own; credentials among them are left out.
        secrets: the request's credentials; they are removed from body, headers and address.
    """
    hidden = [secret.encode("utf-8", "replace") for secret in secrets if len(secret) >= _LEAST_SECRET]
    body = without_secrets(body, hidden)
    error = without_secrets(error.encode("utf-8", "replace"), hidden).decode("utf-8", "replace")
    kept = [
        (name.lower(), without_secrets(value.encode("utf-8", "replace"), hidden))
        for name, value in headers
        if name.lower() not in _NOT_KEPT and name.lower() not in ORIGIN_HEADERS
    ]
    kept += [
        (SOURCE, origin.source.encode()),
        (URL, without_secrets(without_credentials(origin.url).encode("utf-8", "replace"), hidden)),
        (NAMED_BY, origin.named_by.encode("utf-8", "replace")),
    ]
    return Record(None, *dead_letter(body, kept, reason=reason, error=printable(error), origin=origin.endpoint))


def without_secrets(text: bytes, hidden: Iterable[bytes] = ()) -> bytes:
    """A text without credentials: fields with such names, and the given secrets. All other bytes stay as they are."""

    def removed(found: re.Match[bytes]) -> bytes:
        return found[1] + b'"removed"' if found[1] else found[2] + b"removed"

    text = _SECRET_FIELDS.sub(removed, text)
    for secret in hidden:
        text = text.replace(secret, REMOVED.encode())
    return text


@dataclass(frozen=True, slots=True)
class RequestOrigin:
    """Where a request that became a dead letter came from, for a replay to read it again.

    Attributes:
        source: the source's name.
        endpoint: the path it was posted to.
        url: the public address, for signatures that cover it.
        named_by: what the ids of its id-less events were derived from, so that a replay names them the same.
    """

    source: str
    endpoint: str
    url: str
    named_by: str


def without_credentials(url: str) -> str:
    """An address without query parameters that are credentials."""
    parts = urlsplit(url)
    if not parts.query:
        return url
    kept = [pair for pair in parts.query.split("&") if pair.partition("=")[0].lower() not in _SECRET_PARAMETERS]
    return urlunsplit(parts._replace(query="&".join(kept)))
