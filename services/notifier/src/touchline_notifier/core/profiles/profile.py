"""What is known about a customer, folded from touchpoints so that their order of arrival does not matter.

Every single value carries the (occurred_at, id) of the touchpoint that said it, and the later one stays. History keeps,
per type, the newest touchpoints by (occurred_at, id) and the scalar properties of the newest. So the same touchpoints
give the same profile, late, repeated, or split over keys that turn out to be one person.

What is read:

| touchpoint | gives |
| --- | --- |
| any with ``email``, unless it names the recipient of a mail (``mail_events.names_recipient``) | the address |
| ``identified``, or ``properties.traits`` of any | traits, and from them time zone, locale and address |
| ``timezone``, ``time_zone`` and ``locale`` in ``properties`` or ``properties.context`` of any | time zone and locale |
| ``properties.consent: {email: true}`` of any | consent by channel |
| ``unsubscribed``, ``subscribed`` | refused, given: for ``properties.channel`` (or ``all``), else the touchpoint's |
| ``email_bounced`` (hard), ``email_complained``, ``email_suppressed`` | a suppressed address |
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from touchline_schemas.identity import EMAIL, address_in
from touchline_schemas.mail_events import (
    CONSENT_GIVEN,
    EMAIL_BOUNCED,
    EMAIL_COMPLAINED,
    EMAIL_SUPPRESSED,
    SUBSCRIBED,
    UNSUBSCRIBED,
    bounce_of,
    names_recipient,
)
from touchline_schemas.placeholders import is_placeholder_email
from touchline_schemas.times import from_micros, to_micros
from touchline_schemas.touchpoint import Touchpoint
from touchline_schemas.touchpoint_types import NOTIFIER_SOURCE

from touchline_notifier.core.limits.quiet_hours import zone_named
from touchline_notifier.core.profiles.kept_values import (
    KEPT_ADDRESSES,
    DatedValue,
    Seen,
    keep,
    keep_address,
    remember,
    scalar,
    scalars,
    short,
    trim_last,
    trim_values,
)

UNSUBSCRIBE_LINK = "unsubscribe-link"
"""The source of clicks on the link in a mail; ``properties.channel`` is taken literally."""

MAIL_TRACKING = "mail-tracking"
"""The source of opens and clicks of our own mails."""

ALL_CHANNELS = "all"
MAIL_WIDE = frozenset({"email", ALL_CHANNELS})
"""Consent channels whose refusal is an opt-out of the address."""
_LONGEST_CHANNEL = 64
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}(?:[.@].{0,20})?").fullmatch
"""``de``, ``pt-BR``, ``zh_Hant_TW``, ``de_DE.UTF-8``."""

_TROUBLE = "trouble"
"""A bounce or complaint that names no address: it is about the one the customer had by then."""
_RESTORED = "restored"
"""Consent for mail that ends such trouble: any but the preference page's."""


class Statement(NamedTuple):
    """The latest statement about a channel."""

    given: bool
    at: datetime


@dataclass(slots=True)
class Profile:
    """A customer's profile. ``values`` by name: ``email``, ``time_zone``, ``locale``, ``trait.…``, ``consent.…``.

    What is kept, in which bounds and why in no order of arrival: :mod:`touchline_notifier.core.profiles.kept_values`.

    ``key_email`` is the address of a customer who is known by an address alone; it is not kept in the row.
    """

    values: dict[str, DatedValue] = field(default_factory=dict)
    seen: dict[str, list[Seen]] = field(default_factory=dict)
    """type → newest first"""
    last: dict[str, DatedValue] = field(default_factory=dict)
    """type → the scalar properties of its newest touchpoint"""
    addresses: list[list[Any]] = field(default_factory=list)
    """Mentions of addresses, the newest first: [occurred_at, touchpoint id and source, address]"""
    key_email: str | None = field(default=None, compare=False)

    def get(self, name: str) -> Any:
        """A value, or None."""
        dated = self.values.get(name)
        return dated[0] if dated else None

    @property
    def email(self) -> str | None:
        """The address mails go to."""
        value = self.get("email")
        return value if isinstance(value, str) else self.key_email

    @property
    def traits(self) -> dict[str, Any]:
        """All traits."""
        return {name[6:]: dated[0] for name, dated in self.values.items() if name.startswith("trait.")}

    def consent(self, channel: str, carrier: str | None = None) -> bool | None:
        """True, False, or None when never stated; the latest statement about the channel or all channels counts.

        Args:
            carrier: the channel that carries the messages. Who refuses all mail refuses every list of mails with it,
                until they give consent for the list again.
        """
        names = (f"consent.{channel}", f"consent.{ALL_CHANNELS}")
        dated = [self.values[name] for name in names if name in self.values]
        refusal = self.values.get(f"consent.{carrier}") if carrier is not None else None
        if refusal is not None and not refusal[0]:
            dated.append(refusal)
        return bool(max(dated, key=lambda one: (one[1], one[2]))[0]) if dated else None

    def stated(self, channel: str) -> Statement | None:
        """The latest statement about this channel itself."""
        dated = self.values.get(f"consent.{channel}")
        return Statement(bool(dated[0]), from_micros(dated[1])) if dated is not None else None

    @property
    def last_consent_at(self) -> datetime | None:
        """When consent for any channel was last given or refused."""
        dated = [dated[1] for name, dated in self.values.items() if name.startswith("consent.")]
        return from_micros(max(dated)) if dated else None

    def gave_consent_since(self, refused: str) -> bool:
        """Whether any consent was given after the latest refusal of a channel or of all channels."""
        names = (f"consent.{refused}", f"consent.{ALL_CHANNELS}")
        since = max((dated[1:] for name in names if (dated := self.values.get(name)) and not dated[0]), default=None)
        return any(
            name.startswith("consent.") and bool(dated[0]) and (since is None or dated[1:] > since)
            for name, dated in self.values.items()
        )

    def times(self, types: tuple[str, ...], *, since: datetime | None = None) -> list[datetime]:
        """When touchpoints of these types occurred, as far as history keeps them."""
        least = to_micros(since) if since is not None else -(1 << 62)
        wanted = self.seen if "*" in types else {name: self.seen[name] for name in types if name in self.seen}
        return [from_micros(entry[0]) for entries in wanted.values() for entry in entries if entry[0] > least]

    def newest(self) -> Iterator[tuple[str, datetime, Mapping[str, Any]]]:
        """(type, when, properties that are no lists or objects) of the newest touchpoint of each type."""
        for kind, (properties, at, _) in self.last.items():
            yield kind, from_micros(at), properties

    def take(self, touchpoint: Touchpoint) -> None:
        """Fold one touchpoint; folding it again changes nothing."""
        if touchpoint.machine or touchpoint.source == NOTIFIER_SOURCE:
            return
        at, order = to_micros(touchpoint.occurred_at), f"{touchpoint.id}\x1f{touchpoint.source}"
        for name, value in _said(touchpoint):
            keep(self.values, name, [value, at, order])
            if name == "email":
                keep_address(self.addresses, [at, order, value])
        keep(self.last, touchpoint.type, [scalars(touchpoint.properties), at, order])
        remember(self.seen, touchpoint.type, [at, short(order), touchpoint.direction == "inbound"])
        self._trim()

    def _trim(self) -> None:
        trim_values(self.values)
        trim_last(self.last)

    def merge(self, other: "Profile") -> None:
        """Add everything known about another key that belongs to this customer."""
        for name, dated in other.values.items():
            keep(self.values, name, dated)
        for name, dated in other.last.items():
            keep(self.last, name, dated)
        for kind, entries in other.seen.items():
            for entry in entries:
                remember(self.seen, kind, entry)
        for mention in other.addresses:
            keep_address(self.addresses, mention)
        self._trim()

    @property
    def trouble(self) -> str | None:
        """Why nothing may be sent to the address, by a bounce or complaint that named none: it was the customer's then.

        Consent for mail given after it ends it, unless it was given on the preference page. Of a customer who named an
        address so often since that the one of then isn't known any more, it is taken for the same.
        """
        return self.trouble_after(None)

    def trouble_after(self, lifted_at: datetime | None) -> str | None:
        """The trouble, unless an operator lifted it then, with the suppressions of the address."""
        dated, address = self.values.get(_TROUBLE), self.email
        if dated is None or address is None:
            return None
        of_then = next((mention[2] for mention in self.addresses if mention[0] <= dated[1]), None)
        all_known = 0 < len(self.addresses) < KEPT_ADDRESSES
        if of_then != address and (of_then is not None or all_known):
            return None
        restored = self.values.get(_RESTORED)
        ended = (restored[1] if restored is not None else None, to_micros(lifted_at) if lifted_at is not None else None)
        return None if any(at is not None and at > dated[1] for at in ended) else str(dated[0])

    @property
    def trouble_at(self) -> datetime | None:
        """When it was reported."""
        return from_micros(self.values[_TROUBLE][1]) if _TROUBLE in self.values else None

    @property
    def languages(self) -> list[str]:
        """The customer's languages, as they were stated: ``de``, ``pt_BR``. The first is the best."""
        found = (self.get("locale"), self.get("trait.language"))
        return [language for language in found if isinstance(language, str)]

    def view(self) -> dict[str, Any]:
        """What conditions and templates know: email, time_zone, locale, traits, last.<type>.<property>."""
        return {
            "email": self.email,
            "time_zone": self.get("time_zone"),
            "locale": self.get("locale"),
            "traits": self.traits,
            "last": {name: dated[0] for name, dated in self.last.items()},
        }

    def to_row(self) -> dict[str, Any]:
        """JSON for the ``profile`` column."""
        return {"values": self.values, "seen": self.seen, "last": self.last, "addresses": self.addresses}

    @classmethod
    def from_row(cls, row: Mapping[str, Any], customer_id: str = "") -> "Profile":
        """Read back what :meth:`to_row` wrote."""
        key_email = customer_id[len(EMAIL) :] if customer_id.startswith(EMAIL) else None
        return cls(
            row.get("values", {}), row.get("seen", {}), row.get("last", {}), row.get("addresses", []), key_email or None
        )


def _said(touchpoint: Touchpoint) -> Iterator[tuple[str, Any]]:
    properties = touchpoint.properties
    stated = properties.get("traits")
    traits: Mapping[str, Any] = stated if isinstance(stated, Mapping) else {}
    if touchpoint.type == "identified":
        traits = {**{name: value for name, value in properties.items() if name != "traits"}, **traits}
    if not names_recipient(touchpoint.type, touchpoint.channel, properties):
        named = touchpoint.customer_id or ""
        key = named[len(EMAIL) :] if named.startswith(EMAIL) else None
        address = address_in(touchpoint.email) or address_in(traits.get("email")) or address_in(key)
        if address is not None:
            yield "email", address
    context = properties.get("context")
    for source in (properties, context if isinstance(context, Mapping) else {}, traits):
        # What can't be read as one replaces no earlier one that can.
        zones = (source.get("time_zone"), source.get("timezone"))
        zone = next((one for one in zones if isinstance(one, str) and len(one) < 64 and zone_named(one)), None)
        if zone is not None:
            yield "time_zone", zone
        locale = source.get("locale")
        if isinstance(locale, str) and _LOCALE(locale):
            yield "locale", locale
    for name, value in traits.items():
        if scalar(value) and len(name) < 100:
            yield f"trait.{name}", value
    of_page = touchpoint.source == UNSUBSCRIBE_LINK
    for channel, given in _consents(touchpoint):
        yield f"consent.{channel}", given
        if given and channel in ("email", ALL_CHANNELS) and not of_page:
            yield _RESTORED, touchpoint.type
    if _own_address(touchpoint) is None and _suppresses(touchpoint):
        yield _TROUBLE, touchpoint.type


def _consents(touchpoint: Touchpoint) -> Iterator[tuple[str, bool]]:
    properties = touchpoint.properties
    consent = properties.get("consent")
    if isinstance(consent, Mapping):
        for channel, given in consent.items():
            if isinstance(given, bool) and len(channel) <= _LONGEST_CHANNEL:
                yield channel, given
    if touchpoint.type in CONSENT_GIVEN:
        stated = properties.get("channel")
        channel = stated if isinstance(stated, str) and 0 < len(stated) <= _LONGEST_CHANNEL else touchpoint.channel
        given = CONSENT_GIVEN[touchpoint.type]
        # A mail service's list or a web form: what they unsubscribe from is mail, unless it says otherwise.
        if channel in ("web", "other") and touchpoint.source != UNSUBSCRIBE_LINK:
            yield "email", given
        if channel not in ("web", "other") or stated == channel:
            yield channel, given


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that nothing may be sent to any more.

    Attributes:
        lifted: the touchpoint gives consent again, so an earlier suppression ends.
        by_page: on the preference page, which ends an opt-out alone: a bounce or a complaint stays.
    """

    address: str
    reason: str
    at: datetime
    lifted: bool = False
    by_page: bool = False


def _own_address(touchpoint: Touchpoint) -> str | None:
    """The address that a touchpoint names: its own, or the one it is filed under."""
    if touchpoint.email and not is_placeholder_email(touchpoint.email):
        return touchpoint.email
    return touchpoint.key[len(EMAIL) :] if touchpoint.key.startswith(EMAIL) else None


def _suppresses(touchpoint: Touchpoint) -> bool:
    return touchpoint.type in (EMAIL_COMPLAINED, EMAIL_SUPPRESSED) or (
        touchpoint.type == EMAIL_BOUNCED and bounce_of(touchpoint.properties) == "hard"
    )


def suppression_of(touchpoint: Touchpoint) -> Suppression | None:
    """The suppression of the address that a touchpoint names; without one it is :attr:`Profile.trouble`.

    What is reported under an address alone counts for the address, whichever customer it belongs to.
    """
    if touchpoint.machine or touchpoint.source == NOTIFIER_SOURCE:
        return None
    under = touchpoint.key.startswith(EMAIL)
    address = _own_address(touchpoint)
    if address is None:
        return None
    kind, properties = touchpoint.type, touchpoint.properties
    if _suppresses(touchpoint):
        return Suppression(address, kind, touchpoint.occurred_at)
    if kind in CONSENT_GIVEN:
        channel = properties.get("channel")
        channel = touchpoint.channel if channel is None else channel
        by_page = touchpoint.source == UNSUBSCRIBE_LINK
        if channel in MAIL_WIDE or (channel in ("web", "other") and not by_page):
            return Suppression(address, kind, touchpoint.occurred_at, lifted=CONSENT_GIVEN[kind], by_page=by_page)
    consent = properties.get("consent")
    given = consent.get("email", consent.get(ALL_CHANNELS)) if under and isinstance(consent, Mapping) else None
    if isinstance(given, bool):
        return Suppression(address, SUBSCRIBED if given else UNSUBSCRIBED, touchpoint.occurred_at, lifted=given)
    return None


def is_activity(touchpoint: Touchpoint, passive: frozenset[str]) -> bool:
    """Whether it counts as the customer's return: inbound, by a person, not of a passive type."""
    return (
        touchpoint.direction == "inbound"
        and not touchpoint.machine
        and touchpoint.source != NOTIFIER_SOURCE
        and touchpoint.type not in passive
    )


def within(length: timedelta | None, now: datetime) -> datetime | None:
    """The beginning of a trailing window."""
    return None if length is None else now - length
