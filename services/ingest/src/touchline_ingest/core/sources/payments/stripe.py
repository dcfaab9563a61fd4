"""Stripe's webhooks: ``Stripe-Signature: t=…,v1=…``, hex HMAC-SHA256 of ``{t}.{body}`` under ``whsec_…``.

Deduplication is by event id. One payment raises several events (a checkout session, a payment intent, an invoice):
subscribe to the one that says what you sell, for each that is mapped to a purchase counts as one.

| event | type |
| --- | --- |
| checkout.session.completed (paid, mode payment), …async_payment_succeeded | purchased |
| payment_intent.succeeded, charge.succeeded, charge.captured (without an invoice) | purchased |
| invoice.paid, invoice.payment_succeeded: first, recurring, other | purchased, renewed, purchased |
| charge.refunded, refund.created | refunded |
| customer.subscription.created (trialing) | trial_started |
| customer.subscription.updated (price up, price down) | upgraded, downgraded |
| customer.subscription.deleted | cancelled |

Where nothing was paid (a trial's first invoice, a coupon of 100 %), nothing was purchased or renewed: such an event is
named ``invoice.paid zero`` and so on, which ``events`` may map. A refund's amount is what this refund gave back:
Stripe's ``amount_refunded`` counts all refunds of a charge.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from touchline_ingest.core.mapping.event_names import check_events, snake_case
from touchline_ingest.core.mapping.vendor_events import meaning
from touchline_ingest.core.sources.interface import ReadResult, Request, RequestRejection, SourceConfig, TouchpointDraft
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
    as_identifier,
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
    "charge.captured alone": "purchased",
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
# By the beginning of an event's name: the fields that say how much, the first present one counts.
_AMOUNTS = {
    "checkout.session.": ("amount_total",),
    "invoice.paid": ("amount_paid",),
    "invoice.payment_succeeded": ("amount_paid",),
    "invoice.": ("amount_due", "total"),
    "payment_intent.succeeded": ("amount_received", "amount"),
    "charge.succeeded": ("amount_captured", "amount"),
    "charge.captured": ("amount_captured", "amount"),
}
_PAID = frozenset(name.partition(" ")[0] for name, meant in _TYPES.items() if meant in ("purchased", "renewed"))
_REFUNDS = frozenset({"charge.refunded", "refund.created"})


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

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """Check the signature and its age, then read the event."""
        refusal = _refusal(request, config, now)
        if refusal:
            return refusal
        return understand_json(request.body, lambda event: _draft(event, config.options, request.body))


def _refusal(request: Request, config: SourceConfig, now: datetime) -> RequestRejection | None:
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
    secrets = [secret for secret in config.secrets if secret]
    expected = (hmac_sha256(secret, signed, body) for secret in secrets for body in request.signed_bodies)
    if not any_matches(expected, signatures):
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
    before = child(event, "data", "previous_attributes")
    minor = _minor(name, thing, before)
    names = _names(name, thing, before, minor)
    meant = meaning(names, _TYPES, options.get("events"), "commerce", fallback=snake_case(name))
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
                    "amount": _amount(minor, thing.get("currency")),
                    "amount_minor": minor,
                    "amount_refunded_minor": _whole(thing.get("amount_refunded")) if name in _REFUNDS else None,
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


def _names(name: str, thing: dict[str, Any], before: Any, minor: int | None) -> tuple[str, ...]:
    """The event's names, the most telling first. One of nothing paid or given back has a name of its own alone."""
    if name in _PAID | _REFUNDS and minor is not None and minor <= 0:
        return (f"{name} zero",)
    if name == "refund.created" and thing.get("status") in ("failed", "canceled"):
        return (f"{name} failed",)
    detail = _detail(name, thing, before)
    return (f"{name} {detail}", name) if detail else (name,)


def _detail(name: str, thing: dict[str, Any], before: Any) -> str | None:
    """What tells one event of a name from another."""
    if name == "checkout.session.completed":
        # A subscription's session is followed by an invoice, an unpaid one by async_payment_succeeded.
        paid = thing.get("payment_status") in (None, "paid", "no_payment_required")
        return "paid" if thing.get("mode") in (None, "payment") and paid else None
    if name in ("payment_intent.succeeded", "charge.succeeded", "charge.captured"):
        partial = thing.get("invoice") or (name.startswith("charge.") and thing.get("payment_intent"))
        # An authorization that is not captured yet is no payment.
        return None if partial or thing.get("captured") is False else "alone"
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


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _minor(name: str, thing: dict[str, Any], before: Any) -> int | None:
    """How much was paid or given back, in the currency's smallest unit; None where the event doesn't say."""
    if name == "charge.refunded":
        return _refunded(thing, before)
    beginning = next((one for one in _AMOUNTS if name.startswith(one)), None)
    fields = _AMOUNTS[beginning] if beginning else ("amount",)
    paid = next((value for value in (_whole(thing.get(field)) for field in fields) if value is not None), None)
    if paid == 0 and thing.get("paid_out_of_band") is True:
        return _whole(thing.get("total"))
    return paid


def _refunded(charge: dict[str, Any], before: Any) -> int | None:
    """What this refund gave back: the rise of ``amount_refunded``, else the newest of the refunds that are listed."""
    in_all, earlier = _whole(charge.get("amount_refunded")), _whole(child(before, "amount_refunded"))
    if in_all is not None and earlier is not None:
        return in_all - earlier
    listed = child(charge, "refunds", "data")
    refunds = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    newest = max(refunds, key=lambda one: _whole(one.get("created")) or 0, default={})
    amount = _whole(newest.get("amount"))
    return in_all if amount is None else amount


# Currencies without a smaller unit, and those with a thousandth. Icelandic krónur and Ugandan shillings have no smaller
# one any more, and Stripe goes on writing 500 for 5 of them.
_WHOLE = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)
_THOUSANDTHS = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))


def _amount(minor: int | None, currency: Any) -> float | None:
    if minor is None or not isinstance(currency, str):
        return None
    code = currency.lower()
    return float(minor) if code in _WHOLE else minor / (1000 if code in _THOUSANDTHS else 100)


def _people(thing: dict[str, Any]) -> dict[str, str | None]:
    """The company's own id (client_reference_id or metadata.customer_id), the address, and Stripe's customer."""
    customer = thing.get("id") if thing.get("object") == "customer" else thing.get("customer")
    emails = (
        child(thing, "customer_details", "email"),
        *(thing.get(name) for name in ("customer_email", "receipt_email", "email")),
        child(thing, "billing_details", "email"),
    )
    return {
        "customer_id": as_identifier(thing.get("client_reference_id"))
        or as_identifier(child(thing, "metadata", "customer_id")),
        "email": next((address for address in map(as_email, emails) if address), None),
        "external_id": as_identifier(child(customer, "id") if isinstance(customer, dict) else customer),
    }
