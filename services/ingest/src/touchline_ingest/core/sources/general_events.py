"""Events of general envelopes (CloudEvents, Standard Webhooks): a type, a time, and data of any shape.

Data is read as a touchpoint's fields where it can only be that; otherwise its identifiers are lifted out of it and
the rest are the properties. Nothing is dropped.
"""

from collections.abc import Mapping
from typing import Any

from touchline_ingest.core.sources.interface import TouchpointDraft
from touchline_ingest.core.sources.values import UnreadableError, without_none

TOUCHPOINT_TYPES = frozenset({"touchline.touchpoint", "touchpoint"})
FIELDS = frozenset(
    {
        *("id", "type", "channel", "direction", "customer_id", "anonymous_id", "email", "external_id"),
        *("occurred_at", "properties", "machine", "backfill", "source", "received_at"),
    }
)
IDENTIFIERS = ("customer_id", "anonymous_id", "email", "external_id")
_TELLING = frozenset({"type", "properties", "occurred_at", "direction"})


def looks_like_touchpoint(data: Mapping[str, Any]) -> bool:
    """Whether an object has a touchpoint's fields alone: somebody named, and a field that says it is one."""
    return data.keys() <= FIELDS and any(data.get(name) for name in IDENTIFIERS) and not _TELLING.isdisjoint(data)


def draft_of(
    data: Any,
    *,
    event_id: str | None,
    event_type: str,
    occurred_at: Any,
    subject: str | None = None,
    is_touchpoint: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> TouchpointDraft:
    """The draft of an event.

    Args:
        event_id: the envelope's id; a touchpoint's own id inside the data wins.
        event_type: the touchpoint type, unless the data is a touchpoint that names its own.
        subject: the customer, when the data names nobody.
        is_touchpoint: the envelope says that the data is a touchpoint.
        extra: properties of the envelope, added where the data has none of that name.

    Raises:
        UnreadableError: a touchpoint without a type.
    """
    if isinstance(data, dict) and (is_touchpoint or looks_like_touchpoint(data)):
        draft = dict(data)
        if draft.get("id") is None:
            draft["id"] = event_id
        if draft.get("type") is None:
            if is_touchpoint:
                raise UnreadableError("has data without type: give the touchpoint's type")
            draft["type"] = event_type
        draft.setdefault("occurred_at", occurred_at)
    else:
        draft = {"id": event_id, "type": event_type, "occurred_at": occurred_at}
        properties: dict[str, Any] = {}
        if isinstance(data, dict):
            draft |= {name: data[name] for name in IDENTIFIERS if isinstance(data.get(name), str) and data[name]}
            properties = {name: value for name, value in data.items() if name not in draft or name not in IDENTIFIERS}
        elif data is not None:
            properties["data"] = data
        for name, value in (extra or {}).items():
            properties.setdefault(name, value)
        draft["properties"] = properties
    if subject and not any(draft.get(name) for name in IDENTIFIERS):
        draft["customer_id"] = subject
    return without_none(draft)
