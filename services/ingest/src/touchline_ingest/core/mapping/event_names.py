"""From the event names of others to touchpoint types: a table that ships, a company's own table over it, snake_case."""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from touchline_runtime.yaml.text import read_document

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BETWEEN_WORDS = re.compile(r"[^A-Za-z0-9]+")
TYPE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,99}")
MAX_TYPE = 100


def snake_case(name: str) -> str:
    """``Order Completed``, ``orderCompleted`` and ``order-completed`` as ``order_completed``.

    A name without a Latin letter or digit, or too long for a type, becomes ``event_`` and a hash: names stay distinct.
    """
    words = _BETWEEN_WORDS.sub("_", _CAMEL.sub("_", name)).strip("_").lower()
    lossless = name.isascii() and len(words) <= MAX_TYPE
    if words and lossless:
        return words
    suffix = sha256(name.encode(errors="replace")).hexdigest()[:12]
    return f"{words[: MAX_TYPE - 20].strip('_') or 'event'}_{suffix}"


@lru_cache(maxsize=2048)
def _configured(name: str) -> str:
    """The spelling of a name in a sources file: few, and looked at with every event."""
    return snake_case(name)


class EventNames:
    """Which type each event name means.

    Args:
        table: type by name; the spelling of names is normalised.
    """

    def __init__(self, table: Mapping[str, str]) -> None:
        self._types = {snake_case(name): type_name for name, type_name in table.items()}

    def lookup(self, name: str, overrides: Mapping[str, Any] | None = None) -> str | None:
        """The type a name is mapped to, or None. ``overrides`` (a source's ``events``) come first.

        An override may be written exactly as sent, or in any other spelling of the name.
        """
        found = self.own(name, overrides)
        return self._types.get(snake_case(name)) if found is None else found

    @staticmethod
    def own(name: str, overrides: Mapping[str, Any] | None) -> str | None:
        """The type that a source's own ``events`` map a name to, or None."""
        if not overrides:
            return None
        found = overrides.get(name)
        if not isinstance(found, str):
            spelt = snake_case(name)
            found = next((to for other, to in overrides.items() if _configured(str(other)) == spelt), None)
        return found if isinstance(found, str) else None

    def type_of(self, name: str, overrides: Mapping[str, Any] | None = None) -> str:
        """The type of an event name: as mapped, else the name in snake_case."""
        return self.lookup(name, overrides) or snake_case(name)

    def type_of_typed(self, name: str, overrides: Mapping[str, Any] | None = None) -> str:
        """The type of a name that is a type already (CloudEvents): as mapped, else as it is where that is allowed."""
        return self.lookup(name, overrides) or self.as_type(name)

    @staticmethod
    def as_type(name: str) -> str:
        """The type of a name that is mapped to none: as it is where that is allowed, else in snake_case."""
        return name if TYPE_NAME.fullmatch(name) else snake_case(name)


def check_events(overrides: Any) -> list[str]:
    """What is wrong with a source's ``events``."""
    if overrides is None:
        return []
    if not isinstance(overrides, Mapping):
        return ["events: write a mapping from event names to touchpoint types, such as {Order Completed: purchased}"]
    return [
        f"events.{name}: {to!r} is no touchpoint type; write letters, digits and _ only, such as order_completed"
        for name, to in overrides.items()
        if not (isinstance(to, str) and TYPE_NAME.fullmatch(to))
    ]


@cache
def shipped_event_names() -> EventNames:
    """The table that ships with this package (``event_names.yaml``)."""
    file = "event_names.yaml"
    text = files("touchline_ingest.core.mapping").joinpath(file).read_text(encoding="utf-8")
    by_type: dict[str, list[str]] = read_document(text, file).value
    return EventNames({name: type_name for type_name, names in by_type.items() for name in names})
