"""Stripe's webhooks: ``Stripe-Signature: t=…,v1=…``, hex HMAC-SHA256 of ``{t}.{body}`` under ``whsec_…``.

Deduplication is by event id. One payment raises several events (a checkout session, a payment intent, an invoice):
subscribe to the one that says what you sell, for each that is mapped to a purchase counts as one.

| event | type |
| --- | --- |
| checkout.session.completed (paid, mode payment), …async_payment_succeeded | purchased |
| payment_intent.succeeded, charge.succeeded (without an invoice) | purchased |
| invoice.paid, invoice.payment_succeeded: first, recurring, other | purchased, renewed, purchased |
| charge.refunded, refund.created | refunded |
| customer.subscription.created (trialing) | trial_started |
| customer.subscription.updated (price up, price down) | upgraded, downgraded |
| customer.subscription.deleted | cancelled |
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from touchline_ingest.core.mapping.event_names import check_events
from touchline_ingest.core.mapping.vendor_events import meaning
from touchline_ingest.core.sources.interface import Reading, Refused, Request, SourceConfig, TouchpointDraft
from touchline_ingest.core.sources.proofs import (
    any_matches,
    check_secret,
    check_tolerance,
    from_hex,
    hmac_sha256,
    not_genuine,
    tolerance_of,
    wrong_age,
)
from touchline_ingest.core.sources.values import (
    UnreadableError,
    as_email,
    as_object,
    as_text,
    child,
    content_id,
    fitting_id,
    from_unix,
    required_time,
    understand_json,
    without_none,
)

_MAX_SIGNATURES = 16
_TYPES = {
    "checkout.session.completed paid": "purchased",
    "checkout.session.async_payment_succeeded": "purchased",
    "payment_intent.succeeded alone": "purchased",
    "charge.succeeded alone": "purchased",
    "invoice.paid subscription_cycle": "renewed",
    "invoice.paid": "purchased",
    "invoice.payment_succeeded subscription_cycle": "renewed",
    "invoice.payment_succeeded": "purchased",
    "charge.refunded": "refunded",
    "refund.created": "refunded",
    "customer.subscription.created trialing": "trial_started",
    "customer.subscription.updated up": "upgraded",
    "customer.subscription.updated down": "downgraded",
    "customer.subscription.deleted": "cancelled",
}


class Stripe:
    """Reads Stripe's events, one a request."""

    kind = "stripe"

    def check(self, config: SourceConfig) -> Sequence[str]:
        """A signing secret is needed."""
        return [
            *check_secret(config, "the endpoint's signing secret (whsec_…)"),
            *check_tolerance(config),
            *check_events(config.options.get("events")),
        ]

    def read(self, request: Request, config: SourceConfig, now: datetime) -> Reading:
        """Check the signature and its age, then read the event."""
        refusal = _refusal(request, config, now)
        if refusal:
            return refusal
        return understand_json(request.body, lambda event: _draft(event, config.options, request.body))


def _refusal(request: Request, config: SourceConfig, now: datetime) -> Refused | None:
    timestamp = ""
    signatures: list[bytes] = []
    for part in request.headers.get("stripe-signature", "").split(",")[: _MAX_SIGNATURES + 1]:
        name, _, value = part.strip().partition("=")
        if name == "t":
            timestamp = value
        elif name == "v1":
            signature = from_hex(value)
            if signature:
                signatures.append(signature)
    if not timestamp or not signatures:
        return not_genuine("The header Stripe-Signature is needed, with t= and v1=.")
    signed = timestamp.encode(errors="replace") + b"."
    if not any_matches((hmac_sha256(secret, signed, request.body) for secret in config.secrets if secret), signatures):
        return not_genuine(
            "No v1 signature matches the body under this source's secret: check that it is this endpoint's signing "
            "secret (test and live endpoints have different ones), and that nothing on the way rewrites the body."
        )
    return wrong_age(from_unix(timestamp) if timestamp.isdigit() else None, now, tolerance_of(config))


def _draft(event: dict[str, Any], options: Any, whole: bytes) -> TouchpointDraft:
    name = event.get("type")
    if not isinstance(name, str) or not name:
        raise UnreadableError("has no type: it is no Stripe event")
    thing = as_object(child(event, "data", "object"), "data.object")
    detail = _detail(name, thing, child(event, "data", "previous_attributes"))
    meant = meaning((f"{name} {detail}", name) if detail else (name,), _TYPES, options.get("events"), "commerce")
    people = _people(thing)
    if not any(people.values()):
        raise UnreadableError(f"{name} names no customer: it has neither customer, e-mail nor client_reference_id")
    return without_none(
        {
            "id": fitting_id(event.get("id")) or content_id("stripe", event, whole),
            "type": meant.type,
            "channel": meant.channel,
            "direction": meant.direction,
            **people,
            "occurred_at": required_time(from_unix(event.get("created")), "created"),
            "properties": without_none(
                {
                    "stripe_event": name,
                    "object_id": thing.get("id"),
                    "amount": _amount(thing),
                    "amount_minor": _minor(thing),
                    "currency": thing.get("currency"),
                    "status": thing.get("status"),
                    "description": thing.get("description"),
                    "billing_reason": thing.get("billing_reason"),
                    "metadata": thing.get("metadata") or None,
                    "livemode": event.get("livemode"),
                }
            ),
        }
    )


def _detail(name: str, thing: dict[str, Any], before: Any) -> str | None:
    """What tells one event of a name from another."""
    if name == "checkout.session.completed":
        # A subscription's session is followed by an invoice, an unpaid one by async_payment_succeeded.
        paid = thing.get("payment_status") in (None, "paid", "no_payment_required")
        return "paid" if thing.get("mode") in (None, "payment") and paid else None
    if name in ("payment_intent.succeeded", "charge.succeeded"):
        partial = thing.get("invoice") or (name == "charge.succeeded" and thing.get("payment_intent"))
        return None if partial else "alone"
    if name.startswith("invoice."):
        return as_text(thing.get("billing_reason"))
    if name == "customer.subscription.created":
        return as_text(thing.get("status"))
    if name == "customer.subscription.updated":
        old, new = _price(before), _price(thing)
        if old is not None and new is not None and old != new:
            return "up" if new > old else "down"
    return None


def _price(subscription: Any) -> float | None:
    """What a subscription costs a month, in the smallest unit; None when its items don't say."""
    items = child(subscription, "items", "data")
    if not isinstance(items, list) or not items:
        return None
    months = {"day": 1 / 30, "week": 7 / 30, "month": 1, "year": 12}
    total = 0.0
    for item in items:
        amount, interval = child(item, "price", "unit_amount"), child(item, "price", "recurring", "interval")
        count, quantity = child(item, "price", "recurring", "interval_count") or 1, child(item, "quantity")
        sound = all(isinstance(number, int) for number in (amount, count)) and isinstance(interval, str)
        if not sound or interval not in months or count <= 0:
            return None
        total += amount * (quantity if isinstance(quantity, int) else 1) / (months[interval] * count)
    return total


def _minor(thing: dict[str, Any]) -> int | None:
    for field in ("amount_total", "amount_paid", "amount_received", "amount_refunded", "amount"):
        value = thing.get(field)
        if isinstance(value, int) and not isinstance(value, bool) and value:
            return value
    return None


# Stripe's currencies without a smaller unit.
_WHOLE = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf")
)


def _amount(thing: dict[str, Any]) -> float | None:
    minor, currency = _minor(thing), thing.get("currency")
    if minor is None or not isinstance(currency, str):
        return None
    return float(minor) if currency.lower() in _WHOLE else minor / 100


def _people(thing: dict[str, Any]) -> dict[str, str | None]:
    """The company's own id (client_reference_id or metadata.customer_id), the address, and Stripe's customer."""
    customer = thing.get("id") if thing.get("object") == "customer" else thing.get("customer")
    emails = (
        child(thing, "customer_details", "email"),
        *(thing.get(name) for name in ("customer_email", "receipt_email", "email")),
        child(thing, "billing_details", "email"),
    )
    return {
        "customer_id": as_text(thing.get("client_reference_id")) or as_text(child(thing, "metadata", "customer_id")),
        "email": next((address for address in map(as_email, emails) if address), None),
        "external_id": as_text(child(customer, "id") if isinstance(customer, dict) else customer),
    }
