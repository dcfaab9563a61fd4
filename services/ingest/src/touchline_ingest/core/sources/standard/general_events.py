"""Events of general envelopes (CloudEvents, Standard Webhooks): a type, a time, and data of any shape.

Data is read as a touchpoint's fields where it can only be that; otherwise its identifiers are lifted out of it and
the rest are the properties. Nothing is dropped.
"""

from collections.abc import Mapping
from typing import Any

from touchline_ingest.core.mapping.event_names import EventNames
from touchline_ingest.core.sources.foreign_fields import is_nothing_paid, payment_type, understood_properties
from touchline_ingest.core.sources.interface import TouchpointDraft
from touchline_ingest.core.sources.values import UnreadableError, as_email, as_identifier, without_none

TOUCHPOINT_TYPES = frozenset({"touchline.touchpoint", "touchpoint"})
FIELDS = frozenset(
    {
        *("id", "type", "channel", "direction", "customer_id", "anonymous_id", "email", "external_id"),
        *("occurred_at", "properties", "machine", "backfill", "source", "received_at"),
    }
)
IDENTIFIERS = ("customer_id", "anonymous_id", "email", "external_id")
# ``type`` or ``direction`` alone may be a sender's own word, and would hide the envelope's type.
_TELLING = frozenset({"properties", "occurred_at"})


def looks_like_touchpoint(data: Mapping[str, Any]) -> bool:
    """Whether an object has only a touchpoint's fields, among them an identifier and a type."""
    return (
        data.keys() <= FIELDS
        and any(data.get(name) for name in IDENTIFIERS)
        and any(data.get(name) is not None for name in _TELLING)
    )


def type_of(names: EventNames, name: str, overrides: Mapping[str, Any] | None, data: Any) -> str:
    """The touchpoint type of an event: a payment of zero keeps the sender's name, unless ``overrides`` map it.

    Args:
        data: what the event says of the amount, if it is an object.
    """
    found = names.type_of_typed(name, overrides)
    properties = data if isinstance(data, dict) else {}
    if names.own(name, overrides) is not None or not is_nothing_paid(found, properties):
        return found
    return payment_type(names.as_type(name), properties)


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
        subject: the customer, when the data names none.
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
        if draft.get("occurred_at") is None:
            draft["occurred_at"] = occurred_at
    else:
        draft = {"id": event_id, "type": event_type, "occurred_at": occurred_at}
        properties: dict[str, Any] = {}
        if isinstance(data, dict):
            people = {name: _identifier(name, data.get(name)) for name in IDENTIFIERS}
            draft |= without_none(people)
            properties = {name: value for name, value in data.items() if people.get(name) is None}
            properties = understood_properties(event_type, properties)
        elif data is not None:
            properties["data"] = data
        for name, value in (extra or {}).items():
            properties.setdefault(name, value)
        draft["properties"] = properties
    if not any(_identifier(name, draft.get(name)) for name in IDENTIFIERS):
        named = as_identifier(subject)
        if named is not None:
            draft["customer_id"] = named
    return without_none(draft)


def _identifier(name: str, value: Any) -> str | None:
    return as_email(value) if name == "email" else as_identifier(value)
