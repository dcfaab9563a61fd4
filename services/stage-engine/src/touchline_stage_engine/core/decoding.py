"""Decode records of the touchpoints topic, or say why they are invalid.

The contract's fast path checks a record's JSON field by field, which is several times as fast as its model. A record
that the fast path does not accept is decoded with the model, which decides, and which words the error.
"""

import hashlib
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError
from touchline_schemas.identity import ANONYMOUS, is_known, keys_of
from touchline_schemas.times import to_micros
from touchline_schemas.touchpoint import Touchpoint as PublishedTouchpoint
from touchline_schemas.touchpoint_fast_path import (
    are_plain_properties,
    is_plain_id,
    is_plain_kind,
    plain_names,
    wire_micros,
)

from touchline_stage_engine.core.touchpoint import Touchpoint

_EMPTY: dict[str, Any] = {}
_ALIASED = "aliased"
_IDENTIFIERS = ("customer_id", "anonymous_id", "email", "external_id")


class Arrival(NamedTuple):
    """A touchpoint as it arrived.

    Attributes:
        key: the key that it is stored under.
        others: the further keys that it names (usually none).
        identifiers: its identifiers as sent; None when it has only one.
        hash: 64 bits of a hash of (source, id), signed.
        previous: for an alias, the previous id of the customer. It belongs to a known customer of that id, else to an
            anonymous one. It is not among ``others``.
        properties_json: the properties as ``orjson.dumps`` writes them, where that is known without writing them.
    """

    touchpoint: Touchpoint
    key: str
    others: tuple[str, ...]
    identifiers: dict[str, str] | None
    hash: int
    previous: str | None = None
    properties_json: str | None = None


class Poison(NamedTuple):
    """An invalid record: a short constant to filter by, and the message for a person."""

    reason: str
    error: str


def touchpoint_hash(source: str, id: str) -> int:  # noqa: A002
    """64 bits of BLAKE2b of (source, id), as a signed integer for PostgreSQL's bigint."""
    digest = hashlib.blake2b(f"{source}\x1f{id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def content_digest(touchpoint: Touchpoint, key: str, identifiers: dict[str, str] | None) -> bytes:
    """SHA-256 of a touchpoint's canonical JSON (keys sorted, no spaces; without the time of receipt).

    Of two contents with the same (source, id), the one with the smaller (occurred_at, digest) is kept.
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


def decode(raw: bytes | None, record_key: bytes | None) -> Arrival | Poison:
    """Decode one record of the touchpoints topic."""
    if raw is None:
        return Poison("no_value", "a touchpoint record has no value")
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Poison("not_json", str(error))
    arrival = _decode_fast(data, raw) or _decode_with_model(raw)
    if isinstance(arrival, Arrival) and arrival.key.encode() != record_key:
        return Poison("wrong_key", f"the record's key is {record_key!r}; the touchpoint's key is {arrival.key!r}")
    return arrival


def _decode_fast(data: Any, raw: bytes) -> Arrival | None:
    """Decode a record that is plainly valid; None leaves the decision to the contract's model."""
    try:
        get = data.get
        id_, source, type_, channel, direction = (
            data["id"],
            data["source"],
            data["type"],
            data["channel"],
            data["direction"],
        )
        properties, machine, backfill = get("properties", _EMPTY), get("machine", False), get("backfill", False)
        occurred_at, received_at = wire_micros(data["occurred_at"]), wire_micros(data["received_at"])
        if not is_plain_kind(source, type_, channel, direction) or (names := plain_names(data, source)) is None:
            return None
    except (KeyError, TypeError, AttributeError):
        # Something is missing, or is an object or an array instead of a text.
        return None
    if (
        occurred_at is None
        or received_at is None
        or not is_plain_id(id_)
        or type(properties) is not dict
        or type(machine) is not bool
        or type(backfill) is not bool
        or not are_plain_properties(properties, raw)
    ):
        return None
    touchpoint = Touchpoint(
        occurred_at, id_, source, type_, channel, direction, properties, machine, backfill, received_at
    )
    identifiers, keys = names
    if len(identifiers) == 1:
        return Arrival(touchpoint, keys[0], (), None, touchpoint_hash(source, id_))
    return _arrival(touchpoint, keys, identifiers)


def _arrival(touchpoint: Touchpoint, keys: list[str], identifiers: dict[str, str]) -> Arrival:
    key, *others = keys
    previous = None
    if touchpoint.type == _ALIASED and others:
        others, previous = _split_alias(key, others, touchpoint.properties.get("previous_id"))
    return Arrival(
        touchpoint,
        key,
        tuple(others),
        identifiers if len(identifiers) > 1 else None,
        touchpoint_hash(touchpoint.source, touchpoint.id),
        previous,
    )


def _split_alias(key: str, others: list[str], previous_id: object) -> tuple[list[str], str | None]:
    """An alias's other keys, and its previous id if it may be a known customer's.

    ``previous_id`` is as the sender wrote it. With an anonymous prefix it is an anonymous id.
    """
    if type(previous_id) is not str and type(previous_id) is not int:
        return others, None
    previous = str(previous_id).strip()
    anonymous = ANONYMOUS + previous
    if anonymous not in others or not (is_known(key) and is_known(previous)):
        return others, None
    return [other for other in others if other != anonymous], None if previous == key else previous


def named_beside(
    key: str, identifiers: dict[str, str], source: str, previous_id: str | None
) -> tuple[list[str], str | None]:
    """The other keys that a stored touchpoint names, and (for an alias) the previous customer id."""
    named = dict.fromkeys(_IDENTIFIERS) | identifiers
    others = keys_of(**named, source=source)[1:]
    return _split_alias(key, others, previous_id)


def _decode_with_model(raw: bytes) -> Arrival | Poison:
    try:
        published = PublishedTouchpoint.model_validate_json(raw)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'touchpoint'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        return Poison("invalid_touchpoint", problems)
    touchpoint = Touchpoint(
        to_micros(published.occurred_at),
        published.id,
        published.source,
        published.type,
        published.channel,
        published.direction,
        published.properties,
        published.machine,
        published.backfill,
        to_micros(published.received_at),
    )
    identifiers = {name: value for name in _IDENTIFIERS if (value := getattr(published, name)) is not None}
    return _arrival(touchpoint, published.keys, identifiers)
