"""The fast path for touchpoints in the common form, which is nearly all of them.

It writes the same record as the model, by the contract's checks of fields. Everything else, invalid or merely unusual,
is left to the model. The fast path costs half as much as the model.
"""

from typing import Any

from touchline_schemas.touchpoint import PostedTouchpoint, unstorable
from touchline_schemas.touchpoint_fast_path import (
    are_plain_properties,
    is_plain_id,
    is_plain_kind,
    plain_names,
    wire_micros,
)
from touchline_schemas.touchpoint_types import STAGE_SET, meaning_of

from touchline_ingest.core.touchpoints.records import Record, record_of

_FIELDS = frozenset(PostedTouchpoint.model_fields) - {"source", "received_at"}
_NONE: dict[str, Any] = {}


def _shortest(wire_time: str) -> str:
    """A time on the wire as the services write it: six digits of a fraction, or none."""
    if len(wire_time) == 20:
        return wire_time
    if not wire_time[20:-1].strip("0"):
        return wire_time[:19] + "Z"
    return wire_time if len(wire_time) == 27 else wire_time[:-1] + "000Z"


def fast_record(
    item: dict[str, Any],
    *,
    id: str,  # noqa: A002
    source: str,
    received_at: str,
    latest: int,
    backfill: bool | None,
) -> Record | None:
    """The record of an item in the common form, or None: judge it with the model.

    Args:
        id: for an item without one.
        received_at: as on the wire.
        latest: the latest time allowed, in microseconds since the epoch.
    """
    get = item.get
    kind = get("type")
    if type(kind) is not str or kind == STAGE_SET or not item.keys() <= _FIELDS:
        return None
    try:
        micros = wire_micros(get("occurred_at"))
        if micros is None or micros > latest:
            return None
        meaning = meaning_of(kind)
        channel, direction = get("channel"), get("direction")
        channel = meaning.channel if channel is None else channel
        direction = meaning.direction if direction is None else direction
        if not is_plain_kind(source, kind, channel, direction) or (names := plain_names(item, source)) is None:
            return None
        people, keys = names
        for value in people.values():
            if not value.isascii() and "\ufffd" in value:
                return None
        own_id, machine, history = get("id"), get("machine", False), get("backfill", False)
        properties = get("properties", _NONE)
        if (
            (own_id is not None and not (is_plain_id(own_id) and (own_id.isascii() or "\ufffd" not in own_id)))
            or type(machine) is not bool
            or type(history) is not bool
            or type(properties) is not dict
        ):
            return None
        record = record_of(
            type=kind,
            key=keys[0],
            people=people,
            occurred_at=_shortest(item["occurred_at"]),
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
        # An object or an array instead of a text, or a property that is no JSON.
        return None
    # The second check reads integers beyond 64 bits as they are: ingest's JSON reader does not round them.
    if are_plain_properties(properties, record.value) or unstorable(properties) is None:
        return record
    return None
