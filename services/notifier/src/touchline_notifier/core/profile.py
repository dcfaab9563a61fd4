"""What is known of a customer, folded from touchpoints so that their order of arrival doesn't matter.

Every single value carries the (occurred_at, id) of the touchpoint that said it, and the later one stays. History keeps,
per type, the newest touchpoints by (occurred_at, id) and the scalar properties of the newest. So the same touchpoints
give the same profile, late, repeated, or split over keys that turn out to be one person.

What is read:

| touchpoint | gives |
| --- | --- |
| any with ``email`` | the address |
| ``identified``, or ``properties.traits`` of any | traits, and from them time zone, locale and address |
| ``timezone``, ``time_zone`` and ``locale`` in ``properties`` or ``properties.context`` of any | time zone and locale |
| ``properties.consent: {email: true}`` of any | consent by channel |
| ``unsubscribed``, ``subscribed`` | refused, given: for ``properties.channel`` (or ``all``), else the touchpoint's |
| ``email_bounced`` (unless ``properties.bounce`` is soft or blocked), ``email_complained`` | a suppressed address |
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from touchline_schemas.identity import EMAIL, normalise_email
from touchline_schemas.times import from_micros, to_micros
from touchline_schemas.touchpoint import Touchpoint
from touchline_schemas.touchpoint_types import NOTIFIER_SOURCE

KEPT_PER_TYPE = 50
"""Touchpoints of one type that history keeps; a condition can't count further."""

ALL_CHANNELS = "all"
_MAX_TEXT = 1000
_MAX_VALUES = 100
_TOO_LARGE = 1 << 63

Said = list[Any]
"""[value, occurred_at in microseconds, touchpoint id]"""


@dataclass(slots=True)
class Profile:
    """A customer's profile. ``values`` by name: ``email``, ``time_zone``, ``locale``, ``trait.…``, ``consent.…``."""

    values: dict[str, Said] = field(default_factory=dict)
    seen: dict[str, list[list[Any]]] = field(default_factory=dict)
    """type → newest first: [occurred_at in microseconds, short hash of (source, id), direction is inbound]"""
    last: dict[str, Said] = field(default_factory=dict)
    """type → the scalar properties of its newest touchpoint"""

    def get(self, name: str) -> Any:
        """A value, or None."""
        said = self.values.get(name)
        return said[0] if said else None

    @property
    def email(self) -> str | None:
        """The address mails go to."""
        value = self.get("email")
        return value if isinstance(value, str) else None

    @property
    def traits(self) -> dict[str, Any]:
        """Everything said under traits."""
        return {name[6:]: said[0] for name, said in self.values.items() if name.startswith("trait.")}

    def consent(self, channel: str) -> bool | None:
        """Given, refused, or never said; what was said last of the channel or of all of them."""
        said = [self.values[name] for name in (f"consent.{channel}", f"consent.{ALL_CHANNELS}") if name in self.values]
        return bool(max(said, key=lambda one: (one[1], one[2]))[0]) if said else None

    def consented_at(self, channel: str) -> datetime | None:
        """When consent was last given, if it is."""
        if not self.consent(channel):
            return None
        names = (f"consent.{channel}", f"consent.{ALL_CHANNELS}")
        return from_micros(max(self.values[name][1] for name in names if name in self.values))

    def times(self, types: tuple[str, ...], *, since: datetime | None = None) -> list[datetime]:
        """When touchpoints of these types occurred, as far as history keeps them."""
        least = to_micros(since) if since is not None else -(1 << 62)
        wanted = self.seen if "*" in types else {name: self.seen[name] for name in types if name in self.seen}
        return [from_micros(entry[0]) for entries in wanted.values() for entry in entries if entry[0] > least]

    def take(self, touchpoint: Touchpoint) -> None:
        """Fold one touchpoint in; taking it again changes nothing."""
        if touchpoint.machine or touchpoint.source == NOTIFIER_SOURCE:
            return
        at, order = to_micros(touchpoint.occurred_at), f"{touchpoint.id}\x1f{touchpoint.source}"
        for name, value in _said(touchpoint):
            _later(self.values, name, [value, at, order])
        _later(self.last, touchpoint.type, [_scalars(touchpoint.properties), at, order])
        self._remember(touchpoint.type, [at, _short(order), touchpoint.direction == "inbound"])

    def _remember(self, kind: str, entry: list[Any]) -> None:
        entries = self.seen.setdefault(kind, [])
        if entry not in entries:
            entries.append(entry)
            entries.sort(key=lambda one: (-one[0], one[1]))
            del entries[KEPT_PER_TYPE:]

    def merge(self, other: "Profile") -> None:
        """Take in all that is known of another key that turned out to be this customer."""
        for name, said in other.values.items():
            _later(self.values, name, said)
        for name, said in other.last.items():
            _later(self.last, name, said)
        for kind, entries in other.seen.items():
            for entry in entries:
                self._remember(kind, entry)

    def view(self) -> dict[str, Any]:
        """What conditions and templates see: email, time_zone, locale, traits, last.<type>.<property>."""
        return {
            "email": self.email,
            "time_zone": self.get("time_zone"),
            "locale": self.get("locale"),
            "traits": self.traits,
            "last": {name: said[0] for name, said in self.last.items()},
        }

    def to_row(self) -> dict[str, Any]:
        """JSON for the ``profile`` column."""
        return {"values": self.values, "seen": self.seen, "last": self.last}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Profile":
        """Read back what :meth:`to_row` wrote."""
        return cls(row.get("values", {}), row.get("seen", {}), row.get("last", {}))


def _later(values: dict[str, Said], name: str, said: Said) -> None:
    before = values.get(name)
    if before is None:
        if len(values) < _MAX_VALUES:
            values[name] = said
    elif (said[1], said[2]) > (before[1], before[2]):
        values[name] = said


def _short(order: str) -> str:
    return hashlib.blake2b(order.encode(), digest_size=8).hexdigest()


def _scalar(value: Any) -> bool:
    if isinstance(value, int):
        return abs(value) < _TOO_LARGE
    return value is None or isinstance(value, float) or (isinstance(value, str) and len(value) < _MAX_TEXT)


def _scalars(properties: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in properties.items() if _scalar(value) and len(name) < 100}
    return dict(sorted(kept.items())[:50])


def _said(touchpoint: Touchpoint) -> Iterator[tuple[str, Any]]:
    properties = touchpoint.properties
    traits = properties if touchpoint.type == "identified" else properties.get("traits")
    traits = traits if isinstance(traits, Mapping) else {}
    address = touchpoint.email or _address(traits.get("email"))
    if address:
        yield "email", address
    elif (touchpoint.customer_id or "").startswith(EMAIL):
        yield "email", (touchpoint.customer_id or "")[len(EMAIL) :]
    context = properties.get("context")
    for source in (properties, context if isinstance(context, Mapping) else {}, traits):
        zone = source.get("time_zone") or source.get("timezone")
        if isinstance(zone, str) and 0 < len(zone) < 64:
            yield "time_zone", zone
        locale = source.get("locale")
        if isinstance(locale, str) and 0 < len(locale) < 36:
            yield "locale", locale
    for name, value in traits.items():
        if _scalar(value) and len(name) < 100:
            yield f"trait.{name}", value
    consent = properties.get("consent")
    if isinstance(consent, Mapping):
        for channel, given in consent.items():
            if isinstance(given, bool) and len(channel) < 64:
                yield f"consent.{channel}", given
    if touchpoint.type in ("unsubscribed", "subscribed"):
        channel = properties.get("channel")
        channel = channel if isinstance(channel, str) and len(channel) < 64 else touchpoint.channel
        # A mail service's list or a web form: what they unsubscribe from is mail, unless it says otherwise.
        yield f"consent.{'email' if channel in ('web', 'other') else channel}", touchpoint.type == "subscribed"


def _address(value: Any) -> str | None:
    return normalise_email(value) if isinstance(value, str) and "@" in value and len(value) <= 254 else None


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that nothing may be sent to any more.

    Attributes:
        lifted: the touchpoint gives consent again, so an earlier suppression ends.
    """

    address: str
    reason: str
    at: datetime
    lifted: bool = False


def suppression_of(touchpoint: Touchpoint, known_address: str | None) -> Suppression | None:
    """What a touchpoint says of an address: its own, else the customer's known one.

    What is said under an address alone counts for the address, whoever's it turns out to be.
    """
    if touchpoint.machine or touchpoint.source == NOTIFIER_SOURCE:
        return None
    under = touchpoint.key[len(EMAIL) :] if touchpoint.key.startswith(EMAIL) else None
    own = touchpoint.email or under
    address = own or known_address
    if address is None:
        return None
    kind, properties = touchpoint.type, touchpoint.properties
    if kind == "email_complained" or (
        kind == "email_bounced" and str(properties.get("bounce", "hard")).lower() not in ("soft", "blocked")
    ):
        return Suppression(address, kind, touchpoint.occurred_at)
    if kind in ("unsubscribed", "subscribed") and own:
        channel = properties.get("channel", touchpoint.channel)
        if channel in ("email", ALL_CHANNELS, "web", "other"):
            return Suppression(address, kind, touchpoint.occurred_at, lifted=kind == "subscribed")
    consent = properties.get("consent")
    given = consent.get("email", consent.get(ALL_CHANNELS)) if under and isinstance(consent, Mapping) else None
    if isinstance(given, bool):
        return Suppression(address, "subscribed" if given else "unsubscribed", touchpoint.occurred_at, lifted=given)
    return None


def is_activity(touchpoint: Touchpoint, passive: frozenset[str]) -> bool:
    """Whether a customer came back by it: inbound, a person's, not of a passive type."""
    return (
        touchpoint.direction == "inbound"
        and not touchpoint.machine
        and touchpoint.source != NOTIFIER_SOURCE
        and touchpoint.type not in passive
    )


def within(length: timedelta | None, now: datetime) -> datetime | None:
    """The beginning of a trailing window."""
    return None if length is None else now - length
