"""Touchpoints as the topic carries them: their order, the keys that they name, and which of two contents stays."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from touchline_checker.semantics.times import instant

NOTIFIER = "notifier"
"""The source of the notifier's reports: they enter nobody and count for no rule."""

_PREFIXES = {"customer_id": "", "anonymous_id": "anon:", "email": "email:", "external_id": "ext:"}
_ORDER = ("anon:", "email:", "ext:")
_PLACEHOLDERS = frozenset(
    ("undefined", "null", "none", "nil", "nan", "[object object]", "unknown", "anonymous", "guest")
)
_ZEROS = re.compile(r"[0\s\-_.,:;]*").fullmatch
_TEMPLATE = re.compile(r"\{\{.*\}\}|\$\{.*\}|<%.*%>|%%.*%%|\*\|.*\|\*").fullmatch


class NotATouchpointError(ValueError):
    """A record that lacks a field of the contract."""


@dataclass(frozen=True)
class Touchpoint:
    """One record of the touchpoints topic. Times in microseconds.

    Attributes:
        key: the key it is filed under, which is the record's key.
        arrived_at: the record's timestamp; 0 where it is not known.
        place: its place in the log, among all records of the topic.
    """

    occurred_at: int
    id: str
    source: str
    type: str
    channel: str
    direction: str
    properties: Mapping[str, Any]
    machine: bool
    backfill: bool
    received_at: int
    key: str
    identifiers: Mapping[str, str] = field(default_factory=dict)
    arrived_at: int = 0
    place: int = 0

    @property
    def name(self) -> tuple[str, str]:
        """(source, id)."""
        return (self.source, self.id)

    @property
    def order(self) -> tuple[int, str, str]:
        """The canonical order among one customer's touchpoints."""
        return (self.occurred_at, self.id, self.source)

    @cached_property
    def preference(self) -> tuple[int, bytes]:
        """Of two contents of one (source, id), the one with the smaller value stays."""
        content = {
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "channel": self.channel,
            "direction": self.direction,
            "occurred_at": self.occurred_at,
            "properties": self.properties,
            "machine": self.machine,
            "backfill": self.backfill,
            "key": self.key,
            "identifiers": self.identifiers if len(self.identifiers) > 1 else None,
        }
        return (self.occurred_at, hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest())

    @cached_property
    def other_keys(self) -> tuple[str, ...]:
        """The keys it names beside the one it is filed under."""
        named = []
        for name, value in self.identifiers.items():
            prefix = _PREFIXES[name] if name != "external_id" else f"ext:{self.source}:"
            if not is_placeholder(value):
                named.append(prefix + value)
        return tuple(key for key in dict.fromkeys(named) if key != self.key)


def is_placeholder(value: str) -> bool:
    """Whether an identifier names nobody, as far as the documentation lists such values."""
    text = value.strip().casefold()
    return text in _PLACEHOLDERS or _ZEROS(text) is not None or _TEMPLATE(text) is not None


def is_known(key: str) -> bool:
    """Whether a key is a customer's own id."""
    return not key.startswith(_ORDER)


def rank(key: str) -> tuple[int, str]:
    """Order among the keys of one person: the least stands for the person."""
    kind = next((place for place, prefix in enumerate(_ORDER, 1) if key.startswith(prefix)), 0)
    return (kind, key)


def read_touchpoint(data: Any, key: str | None = None, *, arrived_at: int = 0, place: int = 0) -> Touchpoint:
    """A touchpoint of its JSON data; ``key`` is the record's key, by default the first that the data names.

    Raises:
        NotATouchpointError: a field is missing or has another type.
    """
    try:
        identifiers = {name: data[name] for name in _PREFIXES if data.get(name) is not None}
        if "email" in identifiers:
            identifiers["email"] = identifiers["email"].strip().lower()
        made = Touchpoint(
            instant(data["occurred_at"]), data["id"], data["source"], data["type"], data["channel"], data["direction"],
            data.get("properties") or {}, bool(data.get("machine")), bool(data.get("backfill")),
            instant(data["received_at"]), key or "", identifiers, arrived_at, place,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotATouchpointError(f"{type(error).__name__}: {error}") from None
    if key is None:
        if not made.other_keys:
            raise NotATouchpointError("it names no customer")
        made = Touchpoint(**{**_fields(made), "key": made.other_keys[0]})
    return made


def _fields(touchpoint: Touchpoint) -> dict[str, Any]:
    return {name: getattr(touchpoint, name) for name in Touchpoint.__dataclass_fields__}
