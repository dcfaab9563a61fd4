"""Ids that stay the same for all attempts of a delivery, so that receivers can recognise a repetition.

A webhook carries ``webhook-id``; a mail carries ``Message-ID``, and an envelope sender that may name the delivery, so
that a bounce finds its way back to it (VERP).
"""

from uuid import UUID, uuid5

# Never changed: receivers recognise repetitions by ids derived from it.
_DELIVERY_NAMESPACE = UUID("c53b0f4e-3f0a-5d0b-9f0c-5d2a7b1e6c44")


def delivery_id(cause: UUID | str, endpoint: str) -> UUID:
    """The id of the delivery that one action or fact causes at one endpoint.

    Args:
        cause: the action's id, or the fact's ``ce_id`` for a subscription.
        endpoint: its name.
    """
    return uuid5(_DELIVERY_NAMESPACE, f"{cause}\x1f{endpoint}")


def webhook_id(delivery_id: UUID | str) -> str:
    """``msg_`` and the delivery's id in hex: no full stop, which the signature uses as its separator."""
    return "msg_" + UUID(str(delivery_id)).hex


def mail_message_id(delivery_id: UUID | str, domain: str) -> str:
    """``<hex@domain>`` (RFC 5322 §3.6.4): one delivery, one id, on every attempt."""
    return f"<{UUID(str(delivery_id)).hex}@{domain}>"


def envelope_sender(template: str, delivery_id: UUID | str) -> str:
    """Where bounces go: the endpoint's ``bounce_address``, with ``{delivery}`` in it as the delivery's id in hex."""
    return template.replace("{delivery}", UUID(str(delivery_id)).hex)
