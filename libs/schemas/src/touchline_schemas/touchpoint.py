"""The touchpoint: one thing a customer did, or the company did towards them, at a time, on a channel."""

import math
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from touchline_schemas.identity import keys_of, normalise_email
from touchline_schemas.times import UtcTime, read_time
from touchline_schemas.touchpoint_types import Direction, meaning_of

MAX_ID = 128
MAX_KEY = 256
MAX_DEPTH = 32

_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
LEAST_INTEGER, GREATEST_INTEGER = -(2**63), 2**64 - 1
"""Integers that every reader of the topics keeps exactly."""
MAX_KEY_BYTES = 1100
"""UTF-8 bytes of a customer key at most: two of them, or one beside an id and a source, fit into a database index."""


def _no_control_characters(text: str) -> str:
    # PostgreSQL's text can't hold a NUL, and no id has a use for the others.
    if not text.isprintable() and any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ValueError("must not contain control characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode: it contains half of a surrogate pair") from None
    return text


def _an_rfc3339_text(value: object) -> object:
    # pydantic would read a number, or a text of digits, as Unix time in seconds or milliseconds by its size.
    if isinstance(value, str):
        return read_time(value)
    if isinstance(value, datetime):
        return value
    raise ValueError("must be an RFC 3339 text with a time zone, such as 2026-03-01T12:00:00Z")


Identifier = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_KEY, strip_whitespace=True),
    AfterValidator(_no_control_characters),
]
TouchpointId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_ID),
    AfterValidator(_no_control_characters),
]
TypeName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]*$")]
Channel = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
Email = Annotated[
    str,
    StringConstraints(min_length=3, max_length=254, pattern=r"^\s*[^@\s]+@[^@\s]+\s*$"),
    AfterValidator(_no_control_characters),
    AfterValidator(normalise_email),
]
Timestamp = Annotated[UtcTime, BeforeValidator(_an_rfc3339_text)]


def unstorable(value: Any, depth: int = MAX_DEPTH) -> str | None:
    """Why a JSON value can't be kept (nested too deep, a NUL, an integer beyond 64 bits, …), or None when it can."""
    if isinstance(value, str):
        if "\x00" in value:
            return "contains a NUL character (U+0000), which can't be stored: remove it"
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                return "contains half of a surrogate pair: send valid Unicode"
        return None
    if isinstance(value, int):
        if not LEAST_INTEGER <= value <= GREATEST_INTEGER:
            return "contains an integer beyond 64 bits, which would be rounded: send it as a string"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return "contains a number that is not finite: send a number, a string or null"
    elif isinstance(value, dict):
        if depth == 0:
            return f"is nested deeper than {MAX_DEPTH} levels: flatten it"
        for key, item in value.items():
            why = unstorable(key) or unstorable(item, depth - 1)
            if why:
                return why
    elif isinstance(value, list):
        if depth == 0:
            return f"is nested deeper than {MAX_DEPTH} levels: flatten it"
        for item in value:
            why = unstorable(item, depth - 1)
            if why:
                return why
    return None


def _storable(properties: dict[str, Any]) -> dict[str, Any]:
    why = unstorable(properties)
    if why:
        raise ValueError(why)
    return properties


Properties = Annotated[dict[str, Any], AfterValidator(_storable)]


class _TouchpointFields(BaseModel):
    """What posted and published touchpoints share."""

    type: TypeName
    customer_id: Identifier | None = None
    anonymous_id: Identifier | None = None
    email: Email | None = None
    external_id: Identifier | None = None
    occurred_at: Timestamp
    properties: Properties = Field(default_factory=dict)
    machine: bool = False
    backfill: bool = False

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if isinstance(value, dict) and None in value.values():
            return {name: item for name, item in value.items() if item is not None}
        return value

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        named = {
            "customer_id": self.customer_id,
            "anonymous_id": self.anonymous_id,
            "email": self.email,
            "external_id": self.external_id,
        }
        if not keys_of(**named, source=""):
            placeholders = [f"{name} {value!r}" for name, value in named.items() if value]
            if placeholders:
                raise ValueError(
                    f"names no customer: {', '.join(placeholders)} is a placeholder, not an identifier: send the id "
                    "of the customer, or leave the field out and send another one"
                )
            raise ValueError("names no customer: give at least one of customer_id, anonymous_id, email, external_id")
        if self.occurred_at < _EARLIEST:
            raise ValueError("occurred_at is before 1990: send the time at which it happened")
        if self.occurred_at >= _LATEST:
            raise ValueError("occurred_at is after 2099: send the time at which it happened")
        return self


class PostedTouchpoint(_TouchpointFields):
    """A touchpoint as a caller posts it. ``id``, ``channel`` and ``direction`` may be left out.

    ``source`` and ``received_at`` are ingest's to set: a caller's are ignored. Other unknown fields are refused, so
    that a misspelt field is seen at once; what has no field of its own belongs in ``properties``.
    """

    model_config = ConfigDict(extra="forbid")

    id: TouchpointId | None = None
    channel: Channel | None = None
    direction: Direction | None = None
    source: Any = Field(default=None, exclude=True)
    received_at: Any = Field(default=None, exclude=True)

    def accepted(self, *, id: str, source: str, received_at: datetime, backfill: bool | None = None) -> "Touchpoint":  # noqa: A002
        """The touchpoint to publish, once it has an id, a source and a time of receipt."""
        meaning = meaning_of(self.type)
        return Touchpoint.model_construct(
            id=id,
            type=self.type,
            channel=self.channel or meaning.channel,
            direction=self.direction or meaning.direction,
            customer_id=self.customer_id,
            anonymous_id=self.anonymous_id,
            email=self.email,
            external_id=self.external_id,
            occurred_at=self.occurred_at,
            received_at=received_at,
            source=source,
            properties=self.properties,
            machine=self.machine,
            backfill=self.backfill if backfill is None else backfill,
        )


class Touchpoint(_TouchpointFields):
    """A touchpoint on the topic: complete, and with fields of later versions ignored."""

    model_config = ConfigDict(extra="ignore")

    id: TouchpointId
    channel: Channel
    direction: Direction
    received_at: UtcTime
    source: Identifier

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not _EARLIEST <= self.received_at < _LATEST:
            raise ValueError("received_at is not between 1990 and 2099")
        if len(self.external_id or "") + len(self.source) > MAX_KEY and any(
            len(key.encode()) > MAX_KEY_BYTES for key in self.keys
        ):
            raise ValueError(f"external_id and source together are longer than {MAX_KEY_BYTES} bytes: shorten one")
        return self

    @property
    def keys(self) -> list[str]:
        """All keys it names; the first is the one it is filed under."""
        return keys_of(
            customer_id=self.customer_id,
            anonymous_id=self.anonymous_id,
            email=self.email,
            external_id=self.external_id,
            source=self.source,
        )

    @property
    def key(self) -> str:
        """The Kafka key."""
        return self.keys[0]

    def to_json(self) -> bytes:
        """The value on the topic: UTF-8 JSON without the fields that are null."""
        return self.model_dump_json(exclude_none=True).encode()
