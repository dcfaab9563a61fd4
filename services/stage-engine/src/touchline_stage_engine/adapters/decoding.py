"""Kafka records → touchpoints, or the reason why not.

On the hot path a record's JSON is checked here by hand, for speed. Whatever is not plainly right is given to the
contract's model, which has the last word and the words for the error.
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError
from touchline_schemas.identity import ANONYMOUS, EMAIL, EXTERNAL, keys_of
from touchline_schemas.touchpoint import MAX_DEPTH, MAX_ID, MAX_KEY
from touchline_schemas.touchpoint import Touchpoint as PublishedTouchpoint

from touchline_stage_engine.core.touchpoint import Touchpoint

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST = 631_152_000_000_000  # 1990-01-01
_EMPTY: dict[str, Any] = {}
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,99}\Z")
_ON_THE_WIRE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3}(?:[0-9]{3})?)?Z\Z").match
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\Z")
_LONGEST_EMAIL = 254
_CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


class Arrival(NamedTuple):
    """A touchpoint as it arrived.

    Attributes:
        key: the key it is filed under.
        others: the further keys it names (usually none).
        identifiers: what it named beside its key, as it named it; None where there is nothing beside.
        hash: 64 bits of a hash of (source, id), signed.
    """

    touchpoint: Touchpoint
    key: str
    others: tuple[str, ...]
    identifiers: dict[str, str] | None
    hash: int


class Poison(NamedTuple):
    """A record that can't be understood: a short constant to filter by, and the whole message for a person."""

    reason: str
    error: str


def touchpoint_hash(source: str, id: str) -> int:  # noqa: A002
    """64 bits of BLAKE2b of (source, id), as PostgreSQL's bigint has them."""
    digest = hashlib.blake2b(f"{source}\x1f{id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def content_digest(touchpoint: Touchpoint, key: str, identifiers: dict[str, str] | None) -> bytes:
    """SHA-256 of a touchpoint's canonical JSON (keys sorted, no spaces; without the time of receipt).

    Between two contents under one (source, id), the smaller (occurred_at, digest) stays.
    """
    content = {
        "id": touchpoint.id,
        "source": touchpoint.source,
        "type": touchpoint.type,
        "channel": touchpoint.channel,
        "direction": touchpoint.direction,
        "occurred_at": touchpoint.occurred_at,
        "properties": touchpoint.properties,
        "machine": touchpoint.machine,
        "backfill": touchpoint.backfill,
        "key": key,
        "identifiers": identifiers,
    }
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()


def _plain(value: object, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()


@lru_cache(maxsize=4096)
def _is_kind(source: str, type_: str, channel: str, direction: str) -> bool:
    """Whether these can be what they are said to be; few of them ever occur together."""
    texts = isinstance(type_, str) and isinstance(channel, str)
    return (
        _plain(source, MAX_KEY)
        and source == source.strip()
        and texts
        and bool(_TYPE.match(type_) and _CHANNEL.match(channel))
        and direction in ("inbound", "outbound")
    )


@lru_cache(maxsize=16_384)
def _is_customer_id(value: str) -> bool:
    return _plain(value, MAX_KEY) and not value.startswith(EMAIL) and value == value.strip()


def _may_be_deep(properties: dict[str, Any], raw: bytes) -> bool:
    """Whether JSON might be nested too deep: it is nested no deeper than it has brackets."""
    for value in properties.values():
        if type(value) is dict or type(value) is list:
            return raw.count(b"{") + raw.count(b"[") > MAX_DEPTH
    return False


def decode(raw: bytes | None, record_key: bytes | None) -> Arrival | Poison:
    """Read one record of the touchpoints topic."""
    if raw is None:
        return Poison("no_value", "a touchpoint record has no value")
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Poison("not_json", str(error))
    arrival = _quickly(data, raw) or _thoroughly(raw)
    if isinstance(arrival, Arrival) and arrival.key.encode() != record_key:
        return Poison(
            "wrong_key", f"the record's key is {record_key!r}, and a touchpoint that names {arrival.key!r} has that key"
        )
    return arrival


def _quickly(data: Any, raw: bytes) -> Arrival | None:
    """The arrival of a record that is plainly right; None for the contract's model to decide."""
    try:
        occurred_at, received_at = data["occurred_at"], data["received_at"]
        # Python reads further forms of ISO 8601, which the contract doesn't.
        if not (_ON_THE_WIRE(occurred_at) and _ON_THE_WIRE(received_at)):
            return None
        occurred = datetime.fromisoformat(occurred_at) - _EPOCH
        received = datetime.fromisoformat(received_at) - _EPOCH
        get = data.get
        id_, source, properties, customer_id = data["id"], data["source"], get("properties", _EMPTY), get("customer_id")
        touchpoint = Touchpoint(
            (occurred.days * 86_400 + occurred.seconds) * 1_000_000 + occurred.microseconds,
            id_,
            source,
            data["type"],
            data["channel"],
            data["direction"],
            properties,
            get("machine", False),
            get("backfill", False),
            (received.days * 86_400 + received.seconds) * 1_000_000 + received.microseconds,
        )
        right = _is_kind(source, touchpoint.type, touchpoint.channel, touchpoint.direction) and (
            customer_id is None or _is_customer_id(customer_id)
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        # A TypeError, too, where a time has no zone, or where there is no text where one has to be.
        return None
    if not (
        right
        and _plain(id_, MAX_ID)
        and type(properties) is dict
        and type(touchpoint.machine) is bool
        and type(touchpoint.backfill) is bool
        and touchpoint.occurred_at >= _EARLIEST
        # An escape may hide what PostgreSQL can't store.
        and b"\\" not in raw
        and not _may_be_deep(properties, raw)
    ):
        return None
    anonymous_id, email, external_id = get("anonymous_id"), get("email"), get("external_id")
    if anonymous_id is not None or email is not None or external_id is not None:
        for one in (anonymous_id, external_id):
            if one is not None and not (_plain(one, MAX_KEY) and one == one.strip()):
                return None
        if email is not None and not (_plain(email, _LONGEST_EMAIL) and _EMAIL.match(email) and email == email.lower()):
            return None
        return _filed(touchpoint, data)
    if customer_id is None:
        return None
    return Arrival(touchpoint, customer_id, (), None, touchpoint_hash(source, id_))


def _filed(touchpoint: Touchpoint, named: dict[str, Any]) -> Arrival:
    """File a touchpoint under the first identifier it names; the values are valid and normalised."""
    identifiers = {name: named[name] for name in _PREFIXES if named.get(name) is not None}
    keys = []
    for name, value in identifiers.items():
        prefix = _PREFIXES[name]
        keys.append(f"{EXTERNAL}{touchpoint.source}:{value}" if prefix is EXTERNAL else prefix + value)
    keys = list(dict.fromkeys(keys))
    return Arrival(
        touchpoint,
        keys[0],
        tuple(keys[1:]),
        identifiers if len(identifiers) > 1 else None,
        touchpoint_hash(touchpoint.source, touchpoint.id),
    )


def others_named(identifiers: dict[str, str], source: str) -> list[str]:
    """The keys that identifiers name beside the first, under which the touchpoint is filed."""
    named = dict.fromkeys(_PREFIXES) | identifiers
    return keys_of(**named, source=source)[1:]


_PREFIXES = {"customer_id": "", "anonymous_id": ANONYMOUS, "email": EMAIL, "external_id": EXTERNAL}


def _thoroughly(raw: bytes) -> Arrival | Poison:
    try:
        published = PublishedTouchpoint.model_validate_json(raw)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'touchpoint'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        return Poison("invalid_touchpoint", problems)
    touchpoint = Touchpoint(
        (published.occurred_at - _EPOCH) // _MICROSECOND,
        published.id,
        published.source,
        published.type,
        published.channel,
        published.direction,
        published.properties,
        published.machine,
        published.backfill,
        (published.received_at - _EPOCH) // _MICROSECOND,
    )
    keys = published.keys
    identifiers = {name: value for name in _PREFIXES if (value := getattr(published, name)) is not None}
    return Arrival(
        touchpoint,
        keys[0],
        tuple(keys[1:]),
        identifiers if len(identifiers) > 1 else None,
        touchpoint_hash(touchpoint.source, touchpoint.id),
    )
