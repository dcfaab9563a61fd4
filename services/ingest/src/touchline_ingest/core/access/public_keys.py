"""What a public key may post. Anyone can read it in a web page, so anyone may be the sender.

By default such a key reports what a visitor does, and nothing that an attacker could gain from inventing:

- no consent, bounces and complaints, no sales and no payments (a source's ``types`` may list them);
- nothing outbound, no history (``backfill``), no manual moves, no aliases;
- no address, traits, consent or external id, which would become a known customer's once the visitor is linked to one.

**Identity verification** lifts the last of these, as Intercom and Customer.io do: the site's server computes
``user_hash``, the hexadecimal HMAC-SHA256 of the customer id under the source's ``identity_secret``. Where such a
secret is configured, everything that names a known customer needs it.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from touchline_schemas.identity import ANONYMOUS, EMAIL, EXTERNAL
from touchline_schemas.mail_events import CONSENT_GIVEN, RECIPIENT, names_recipient
from touchline_schemas.touchpoint_types import STAGE_SET, STANDARD_TYPES, meaning_of

USER_HASH = "user_hash"
_VISITOR_TYPES = frozenset(("email_opened", "email_clicked", "demo_booked"))
_NOT_OF_VISITORS = frozenset(("sales", "commerce", "company", "email"))
_FORBIDDEN = (
    frozenset(name for name, meaning in STANDARD_TYPES.items() if meaning.channel in _NOT_OF_VISITORS)
    | frozenset(CONSENT_GIVEN)
    | {STAGE_SET, "aliased", "email_changed", "subscription_changed", "invoice_paid", "payment_received"}
) - _VISITOR_TYPES


@dataclass(frozen=True, slots=True)
class PublicTerms:
    """On what terms a public key's touchpoints are accepted.

    Attributes:
        identity_secrets: any of which may have signed (more than one while rotating); empty: no verification.
        types: types the operator listed for this source, which are then allowed.
        trusts_pages: the operator lets pages say who somebody is, unverified.
    """

    identity_secrets: tuple[str, ...] = ()
    types: frozenset[str] = frozenset()
    trusts_pages: bool = False

    def refusal(self, item: Mapping[str, Any], user_hash: object) -> str | None:
        """Why an item is refused; None when it may be judged further. Never raises, for any item.

        Args:
            item: a touchpoint's fields, without ``user_hash``.
        """
        return self._not_of_visitors(item) or self._not_verified(item, user_hash)

    def _not_of_visitors(self, item: Mapping[str, Any]) -> str | None:
        kind = item.get("type")
        if isinstance(kind, str) and kind not in self.types and _forbidden(kind):
            return (
                f"type {kind!r} is nothing that a public key may report: post it from your server with an `api` key, "
                "or list it in `types` of this source if anybody may claim it"
            )
        direction = item.get("direction")
        if direction is None and isinstance(kind, str):
            direction = meaning_of(kind).direction
        if direction == "outbound":
            return "direction: a public key reports what visitors do, nothing outbound: use an `api` key on your server"
        if item.get("backfill") not in (None, False):
            return "backfill: a public key can't post history: use an `api` key on your server"
        return None

    def _not_verified(self, item: Mapping[str, Any], user_hash: object) -> str | None:
        known, address = _names(item)
        if self.identity_secrets:
            if known is None and address is None and not _personal(item):
                return None
            who = known or address
            if who is not None and self._is_signed(who, user_hash):
                return None
            return (
                "user_hash: is missing or wrong, and this names a known customer: send the hexadecimal HMAC-SHA256 of "
                "the customer_id (of the email where there is none) under this source's identity_secret, made on your "
                "server"
            )
        if self.trusts_pages:
            return None
        personal = "email" if address is not None else _personal(item)
        if personal is None:
            return None
        return (
            f"{personal}: a public key may not post it unverified: configure `identity_secret` for "
            "this source and send user_hash, post it from your server with an `api` key, or set `trust_pages: true`"
        )

    def _is_signed(self, who: str, user_hash: object) -> bool:
        if not isinstance(user_hash, str) or not user_hash.isascii():
            return False
        given, found = user_hash.strip().lower(), False
        for secret in self.identity_secrets:
            expected = hmac.new(secret.encode(), who.encode("utf-8", "replace"), sha256).hexdigest()
            found |= hmac.compare_digest(expected, given)
        return found


def _forbidden(kind: str) -> bool:
    if kind in _FORBIDDEN:
        return True
    plain = kind.strip().lower()
    return plain in _FORBIDDEN or (plain not in _VISITOR_TYPES and names_recipient(plain, "email", {RECIPIENT: True}))


def _names(item: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The known customer and the address that an item names; an address is given as it is normalised."""
    customer, email = item.get("customer_id"), item.get("email")
    known = customer.strip() if isinstance(customer, str) and customer.strip() else None
    address = email.strip().lower() if isinstance(email, str) and email.strip() else None
    if known is not None and known.startswith(EMAIL):
        # A customer_id that begins so is read as that key.
        named = known[len(EMAIL) :].strip().lower()
        known, address = None, address or named
    elif known is not None and known.startswith(ANONYMOUS):
        known = None
    return known, address


def _personal(item: Mapping[str, Any]) -> str | None:
    """The field that identifies a customer, or their consent; None when there is none."""
    customer = item.get("customer_id")
    if item.get("external_id") is not None or (isinstance(customer, str) and customer.strip().startswith(EXTERNAL)):
        return "external_id"
    properties = item.get("properties")
    if not isinstance(properties, Mapping):
        return None
    if item.get("type") == "identified" and properties.keys() - {"context"}:
        return "properties (traits)"
    context = properties.get("context")
    for name in ("traits", "consent"):
        if properties.get(name) or (isinstance(context, Mapping) and context.get(name)):
            return f"properties.{name}"
    return None


def without_user_hash(item: dict[str, Any]) -> tuple[dict[str, Any], object]:
    """An item without its ``user_hash``, and that one: it proves the identity and is never stored.

    It is a field of the item, or of ``properties.context`` (Segment's libraries send a context).
    """
    user_hash = item.get(USER_HASH)
    if USER_HASH in item:
        item = {name: value for name, value in item.items() if name != USER_HASH}
    properties = item.get("properties")
    context = properties.get("context") if isinstance(properties, dict) else None
    if isinstance(context, dict) and USER_HASH in context:
        kept = {name: value for name, value in context.items() if name != USER_HASH}
        user_hash = context[USER_HASH] if user_hash is None else user_hash
        item = {**item, "properties": {**properties, "context": kept}}  # type: ignore[dict-item]
    return item, user_hash
