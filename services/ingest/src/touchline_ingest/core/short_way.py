"""The short way through the gate, for touchpoints that are plainly good: nearly all of them.

It accepts a part of what the models accept, writes the same record for it, and leaves everything else, whatever is
wrong or merely unusual, to them: a test holds the two together on all kinds of items. It costs half of the long way.
"""

import re
from datetime import datetime
from typing import Any

from touchline_schemas.identity import ANONYMOUS, EMAIL
from touchline_schemas.touchpoint import MAX_ID, MAX_KEY, PostedTouchpoint, unstorable
from touchline_schemas.touchpoint_types import STAGE_SET, STANDARD_TYPES, meaning_of

from touchline_ingest.core.records import Record, record_of

_FIELDS = frozenset(PostedTouchpoint.model_fields) - {"email", "external_id", "source", "received_at"}
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,99}").fullmatch
_CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,63}").fullmatch
# Printable ASCII without blanks: nothing to trim, nothing to normalise.
_ID = re.compile(rf"[!-~]{{1,{MAX_ID}}}").fullmatch
_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY}}}").fullmatch
_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3}(?:\d{3})?)?Z", re.ASCII).fullmatch
_EARLIEST = "1990-01-01T00:00:00"
_DIRECTIONS = ("inbound", "outbound")


def plain_time(value: Any, latest: str) -> str | None:
    """A UTC timestamp as it is written on the wire, when it is one and surely not too early or late; else None.

    Args:
        latest: the latest moment allowed, as on the wire.
    """
    if type(value) is not str or _UTC(value) is None or not _EARLIEST <= value[:19] < latest[:19]:
        return None
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return None
    if len(value) == 20:
        return value
    if not value[20:-1].strip("0"):
        return value[:19] + "Z"
    return value if len(value) == 27 else value[:-1] + "000Z"


def plain_record(
    item: dict[str, Any],
    *,
    id: str,  # noqa: A002
    source: str,
    received_at: str,
    latest: str,
    backfill: bool | None,
) -> Record | None:
    """The record of a plainly good item, or None: judge it the long way.

    Args:
        id: for an item without one.
    """
    get = item.get
    kind = get("type")
    if type(kind) is not str or kind == STAGE_SET or not item.keys() <= _FIELDS:
        return None
    if kind not in STANDARD_TYPES and _TYPE(kind) is None:
        return None
    occurred_at = plain_time(get("occurred_at"), latest)
    if occurred_at is None:
        return None

    people: dict[str, str] = {}
    key = ""
    customer_id, anonymous_id = get("customer_id"), get("anonymous_id")
    if customer_id is not None:
        if type(customer_id) is not str or _KEY(customer_id) is None or customer_id.startswith(EMAIL):
            return None
        key = people["customer_id"] = customer_id
    if anonymous_id is not None:
        if type(anonymous_id) is not str or _KEY(anonymous_id) is None:
            return None
        people["anonymous_id"] = anonymous_id
        key = key or ANONYMOUS + anonymous_id
    if not key:
        return None

    own_id = get("id")
    if own_id is not None and (type(own_id) is not str or _ID(own_id) is None):
        return None
    meaning = meaning_of(kind)
    channel, direction = get("channel"), get("direction")
    if channel is None:
        channel = meaning.channel
    elif type(channel) is not str or _CHANNEL(channel) is None:
        return None
    if direction is None:
        direction = meaning.direction
    elif direction not in _DIRECTIONS:
        return None
    machine, history = get("machine", False), get("backfill", False)
    if type(machine) is not bool or type(history) is not bool:
        return None
    properties = get("properties", _NONE)
    if type(properties) is not dict:
        return None
    try:
        record = record_of(
            type=kind,
            key=key,
            people=people,
            occurred_at=occurred_at,
            properties=properties,
            machine=machine,
            backfill=history if backfill is None else backfill,
            id=own_id or id,
            channel=channel,
            direction=direction,
            received_at=received_at,
            source=source,
        )
    except TypeError:
        return None
    value = record.value
    # Flat properties without a NUL are storable (half a surrogate pair was no JSON above); others have to be walked.
    flat = value.count(b"{") == 2 and b"[" not in value
    if b"\\u0000" in value or not (flat or unstorable(properties) is None):
        return None
    return record


_NONE: dict[str, Any] = {}
