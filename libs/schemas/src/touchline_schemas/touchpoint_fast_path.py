"""The fast path of the touchpoint's model: checks of fields, for services that read many touchpoints.

What passes a check here passes the model unchanged: there is nothing to trim, to lower-case or to convert. What does
not pass may still be valid. Then the caller validates with the model (``touchpoint.py``), which decides, and words the
error. Ingest and stage engine use these checks, and ``tests/contract/test_touchpoint_verdicts.py`` compares both with
the model.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

from touchline_schemas.identity import ANONYMOUS, EMAIL, EXTERNAL, MAX_EMAIL, is_placeholder_key, normalise_email
from touchline_schemas.placeholders import is_placeholder, is_placeholder_email
from touchline_schemas.touchpoint import MAX_DEPTH, MAX_ID, MAX_KEY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000_000
_EARLIEST = 631_152_000_000_000  # 1990-01-01
_LATEST = 4_102_444_800_000_000  # 2100-01-01
_LARGE = 2.0**62
# As the services write times. Python reads forms of ISO 8601 that the contract refuses, and other forms by version.
_WIRE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{3}(?:[0-9]{3})?)?Z"
).fullmatch
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,99}").fullmatch
_CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,63}").fullmatch
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+").fullmatch
_DIGITS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else ord(" ") for byte in range(256))
_LONG_NUMBER = b"0" * 19


Names: TypeAlias = tuple[dict[str, str], list[str]]
"""Who a touchpoint names: field → value in the order of the fields, and its keys without placeholders, the one that it
is filed under first. Neither is empty."""


def wire_micros(value: Any) -> int | None:
    """Microseconds since the epoch of a time as it is written on the wire, from 1990 to 2099; else None."""
    if type(value) is not str or _WIRE_TIME(value) is None:
        return None
    try:
        since = datetime.fromisoformat(value) - _EPOCH
    except ValueError:  # there is no such day
        return None
    micros = since.days * _DAY + since.seconds * 1_000_000 + since.microseconds
    return micros if _EARLIEST <= micros < _LATEST else None


def is_plain_id(value: Any) -> bool:
    """Whether a touchpoint's id is valid."""
    return type(value) is str and 0 < len(value) <= MAX_ID and value.isprintable()


@lru_cache(maxsize=4096)
def is_plain_kind(source: str, type_: str, channel: str, direction: str) -> bool:
    """Whether four fields are valid. Few combinations occur, so the results are cached.

    Raises:
        TypeError: one is an object or an array.
    """
    return (
        _is_plain_name(source)
        and isinstance(type_, str)
        and isinstance(channel, str)
        and _TYPE(type_) is not None
        and _CHANNEL(channel) is not None
        and direction in ("inbound", "outbound")
    )


def plain_names(item: Mapping[str, Any], source: str) -> Names | None:
    """Who a touchpoint names, where every identifier is valid as it is and one at least is no placeholder; else None.

    Raises:
        TypeError: an identifier is an object or an array.
    """
    get = item.get
    customer_id, anonymous_id, email = get("customer_id"), get("anonymous_id"), get("email")
    external_id = get("external_id")
    if customer_id is not None and not _is_plain_customer_id(customer_id):
        return None
    if anonymous_id is None and email is None and external_id is None:
        return None if customer_id is None else ({"customer_id": customer_id}, [customer_id])
    identifiers: dict[str, str] = {}
    keys: list[str] = []
    if customer_id is not None:
        identifiers["customer_id"] = customer_id
        keys.append(customer_id)
    if anonymous_id is not None:
        if not _is_plain_name(anonymous_id):
            return None
        identifiers["anonymous_id"] = anonymous_id
        if not is_placeholder(anonymous_id):
            keys.append(ANONYMOUS + anonymous_id)
    if email is not None:
        if not _is_plain_email(email):
            return None
        identifiers["email"] = email
        if not is_placeholder_email(email):
            keys.append(EMAIL + email)
    if external_id is not None:
        if not _is_plain_name(external_id) or len(external_id) + len(source) > MAX_KEY:
            return None
        identifiers["external_id"] = external_id
        if not is_placeholder_key(key := f"{EXTERNAL}{source}:{external_id}"):
            keys.append(key)
    if len(keys) > 1:
        # A customer_id may be written as one of the other keys.
        keys = list(dict.fromkeys(keys))
    return (identifiers, keys) if keys else None


def are_plain_properties(properties: dict[str, Any], raw: bytes) -> bool:
    """Whether properties can surely be stored: no NUL, no integer beyond 64 bits, not nested too deep.

    Args:
        raw: JSON that contains them. The number of its brackets bounds the nesting. Integers beyond 64 bits are looked
            for in it, because orjson has read them as rounded floats.
    """
    if b"\\" in raw and b"\\u0000" in raw:
        return False
    for value in properties.values():
        kind = type(value)
        if kind is dict or kind is list:
            return raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH and not has_long_number(raw)
        if kind is float and not -_LARGE < value < _LARGE:
            return False
    return True


def has_long_number(raw: bytes) -> bool:
    """Whether JSON contains 19 digits in a row, as an integer beyond 64 bits does; a regular expression is slower."""
    return _LONG_NUMBER in raw.translate(_DIGITS)


def _is_plain_name(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_KEY and value.isprintable() and value == value.strip()


@lru_cache(maxsize=16_384)
def _is_plain_customer_id(value: Any) -> bool:
    return _is_plain_name(value) and not value.startswith(EMAIL) and not is_placeholder_key(value)


def _is_plain_email(value: Any) -> bool:
    return (
        type(value) is str
        and len(value) <= MAX_EMAIL
        and value.isprintable()
        and _EMAIL(value) is not None
        and value == normalise_email(value)
    )
