"""Keeps a sender's own fields apart from Touchline's.

Most properties mean the same for all senders (``amount``, ``score``). A few decide whether mail is sent, and there a
sender's own ``channel: newsletter`` beside an unsubscribe would leave the address open. These go under
``sender_fields`` where they are none of our words.

Amounts of money that are written as texts are read as numbers, so that they add up.
"""

from collections.abc import Mapping
from typing import Any

from touchline_schemas.mail_events import CONSENT_GIVEN, EMAIL_BOUNCED, RECIPIENT, Bounce

from touchline_ingest.core.mapping.amounts import amount_of

SENDER_FIELDS = "sender_fields"
_CHANNELS = frozenset({"all", "email", "sms", "push", "phone", "post", "slack", "webhook", "whatsapp"})
_BOUNCE_FIELDS = ("bounce", "bounce_type", "bounceType", "bounce_category", "type", "severity")
_BOUNCES: Mapping[str, Bounce] = {
    "hard": "hard",
    "hard_bounce": "hard",
    "hardbounce": "hard",
    "permanent": "hard",
    "soft": "soft",
    "soft_bounce": "soft",
    "softbounce": "soft",
    "temporary": "soft",
    "transient": "soft",
    "block": "blocked",
    "blocked": "blocked",
}


_PAYMENTS = frozenset({"purchased", "renewed", "refunded"})
_VALUED = _PAYMENTS | {"upgraded"}
_AMOUNTS = ("value", "amount", "total", "revenue")
_ADDED = ("value", "amount", "total")
"""What the engine adds up: the first of these that is a number."""


def payment_type(touchpoint_type: str, properties: Mapping[str, Any]) -> str:
    """The type of a foreign event that was understood as ``touchpoint_type``.

    Where nothing was paid (a free order, a trial), nothing was purchased: the type is then another one.
    """
    return f"{touchpoint_type}_zero" if is_nothing_paid(touchpoint_type, properties) else touchpoint_type


def is_nothing_paid(touchpoint_type: str, properties: Mapping[str, Any]) -> bool:
    """Whether a payment is stated to be of zero, as a number or as a text."""
    if touchpoint_type not in _PAYMENTS:
        return False
    stated = [amount for name in _AMOUNTS if (amount := amount_of(properties.get(name))) is not None]
    return bool(stated) and not any(stated)


def understood_properties(touchpoint_type: str, properties: dict[str, Any]) -> dict[str, Any]:
    """The properties of a foreign event, with fields that collide with Touchline's moved aside.

    A bounce whose sender says nothing of its kind is ``unknown``, which suppresses nothing.
    """
    if touchpoint_type in CONSENT_GIVEN:
        channel = properties.get("channel")
        # Any value may come: an array is no consent channel.
        foreign = [] if channel is None or (isinstance(channel, str) and channel in _CHANNELS) else ["channel"]
        return _moved(properties, *foreign, *({RECIPIENT} & properties.keys()))
    if touchpoint_type == EMAIL_BOUNCED:
        stated = (properties.get(name) for name in _BOUNCE_FIELDS)
        words = (
            value.strip().lower().replace("-", "_").replace(" ", "_") for value in stated if isinstance(value, str)
        )
        kind = next((_BOUNCES[word] for word in words if word in _BOUNCES), "unknown")
        moved = properties if properties.get("bounce") in (None, kind) else _moved(properties, "bounce")
        return {**moved, "bounce": kind}
    return _with_amount(properties) if touchpoint_type in _VALUED else properties


def _with_amount(properties: dict[str, Any]) -> dict[str, Any]:
    """A payment's properties with its ``amount`` as a number, where the sender wrote a text, or ``revenue`` alone."""
    if any(isinstance(one, int | float) and not isinstance(one, bool) for one in map(properties.get, _ADDED)):
        return properties
    amount = next((found for name in _AMOUNTS if (found := amount_of(properties.get(name))) is not None), None)
    if amount is None:
        return properties
    moved = properties if properties.get("amount") is None else _moved(properties, "amount")
    return {**moved, "amount": amount}


def _moved(properties: dict[str, Any], *names: str) -> dict[str, Any]:
    if not names:
        return properties
    rest = {key: value for key, value in properties.items() if key not in names}
    return {**rest, SENDER_FIELDS: {name: properties[name] for name in names}}
