"""What a profile keeps, and its limits: the same set of touchpoints leads to the same values, in any order.

Two kinds of sets make that true. A value by name is the latest one, by (occurred_at, id, source). A bounded set
keeps the *newest* of its members by that order, never the first to arrive: what is dropped once is older than all
that is kept, and the kept only get newer, so it would be dropped in every order.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from touchline_schemas.mail_events import CONSENT_GIVEN
from touchline_schemas.touchpoint_types import STANDARD_TYPES

DatedValue = list[Any]
"""[value, occurred_at in microseconds, touchpoint id and source]"""
Seen = list[Any]
"""[occurred_at in microseconds, short hash of (id, source), direction is inbound]"""

TRAIT, CONSENT = "trait.", "consent."

KEPT_PER_TYPE = 50
"""Touchpoints of one type that history keeps; a condition can't count further."""
KEPT_OF_OWN_TYPES = 500
"""Touchpoints that history keeps of all custom types together: the number of their names has no bound."""
KEPT_TRAITS = 100
KEPT_CONSENTS = 500
"""Consents beside those for the standard channels. No company has so many lists; the limit bounds invented names."""
KEPT_LAST = 50
"""Types beside the standard ones whose newest properties are kept."""
KEPT_ADDRESSES = 20
"""Mentions of addresses."""

_ALWAYS_KEPT = frozenset(("all", "email", "web", "other", "sms", "push", "phone", "slack", "webhook", "post"))
_STANDARD = frozenset({*STANDARD_TYPES, *CONSENT_GIVEN, "identified"})
_MAX_TEXT = 1000
_MAX_PROPERTIES_BYTES = 4000
_TOO_LARGE = 1 << 63


def keep(values: dict[str, DatedValue], name: str, dated: DatedValue) -> bool:
    """Keep the latest value of a name; whether that changed something.

    Of two contents under one id at one time one stays, the same in every order: a refusal, else the smaller JSON.
    """
    before = values.get(name)
    if before is not None:
        if (dated[1], dated[2]) < (before[1], before[2]):
            return False
        if (dated[1], dated[2]) == (before[1], before[2]) and _text(dated[0]) >= _text(before[0]):
            return False
    values[name] = dated
    return True


def _text(value: Any) -> str:
    # "false" sorts before "true": a refusal stays.
    return json.dumps(value, sort_keys=True)


def trim_values(values: dict[str, DatedValue]) -> None:
    """Drop the oldest traits and consents beyond the bounds; an address, a time zone or a locale never."""
    _drop_oldest(values, KEPT_TRAITS, lambda name: name.startswith(TRAIT))
    _drop_oldest(
        values, KEPT_CONSENTS, lambda name: name.startswith(CONSENT) and name[len(CONSENT) :] not in _ALWAYS_KEPT
    )


def trim_last(last: dict[str, DatedValue]) -> None:
    """Drop the newest properties of the types that were not used for the longest time."""
    _drop_oldest(last, KEPT_LAST, lambda kind: kind not in _STANDARD)


def _drop_oldest(values: dict[str, DatedValue], most: int, counts: Callable[[str], bool]) -> None:
    if len(values) <= most:
        return
    names = [name for name in values if counts(name)]
    if len(names) > most:
        names.sort(key=lambda name: (values[name][1], values[name][2], name))
        for name in names[: len(names) - most]:
            del values[name]


def remember(seen: dict[str, list[Seen]], kind: str, entry: Seen) -> None:
    """Add a touchpoint to the history of its type; taking it again changes nothing."""
    entries = seen.setdefault(kind, [])
    if entry in entries:
        return
    entries.append(entry)
    entries.sort(key=_newest_first)
    del entries[KEPT_PER_TYPE:]
    if kind not in _STANDARD:
        _forget_oldest(seen)


def _newest_first(entry: Seen) -> tuple[int, str, bool]:
    return (-entry[0], entry[1], entry[2])


def _forget_oldest(seen: dict[str, list[Seen]]) -> None:
    """Keep the newest touchpoints of all custom types together."""
    count = sum(len(entries) for kind, entries in seen.items() if kind not in _STANDARD)
    while count > KEPT_OF_OWN_TYPES:
        oldest = max(
            (kind for kind in seen if kind not in _STANDARD), key=lambda kind: (_newest_first(seen[kind][-1]), kind)
        )
        seen[oldest].pop()
        if not seen[oldest]:
            del seen[oldest]
        count -= 1


def keep_address(addresses: list[list[Any]], mention: list[Any]) -> None:
    """Note that an address was mentioned: the newest mentions, [occurred_at, touchpoint id and source, address]."""
    if mention not in addresses:
        addresses.append(mention)
        addresses.sort(reverse=True)
        del addresses[KEPT_ADDRESSES:]


def short(order: str) -> str:
    """Eight bytes of a hash, in hex."""
    return hashlib.blake2b(order.encode(), digest_size=8).hexdigest()


def scalar(value: Any) -> bool:
    """Whether a value is kept: a number that fits, a text that isn't too long, true, false or null."""
    if isinstance(value, int):
        return abs(value) < _TOO_LARGE
    return value is None or isinstance(value, float) or (isinstance(value, str) and len(value) < _MAX_TEXT)


def scalars(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties that are kept of a type's newest touchpoint: the first by name, of 4,000 characters in all."""
    kept: dict[str, Any] = {}
    room = _MAX_PROPERTIES_BYTES
    for name, value in sorted(properties.items()):
        if not scalar(value) or len(name) >= 100:
            continue
        room -= len(name) + (len(value) if isinstance(value, str) else 8)
        if room < 0 or len(kept) == 50:
            break
        kept[name] = value
    return kept
