"""A customer's profile from their touchpoints: name, address, external ids and traits. Later values replace earlier."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from touchline_schemas.identity import address_in
from touchline_schemas.mail_events import names_recipient

MAX_TRAITS = 50
MAX_TEXT = 300
_NAMING = ("identified", "signed_up")


@dataclass
class Profile:
    """The profile of one customer."""

    name: str | None = None
    email: str | None = None
    traits: dict[str, str | int | float | bool] = field(default_factory=dict)
    external_ids: dict[str, None] = field(default_factory=dict)

    def add(self, kind: str, channel: str, properties: Mapping[str, Any], identifiers: Mapping[str, Any]) -> None:
        """Add one touchpoint, which is later than all before."""
        external = identifiers.get("external_id")
        if isinstance(external, str) and external:
            self.external_ids.setdefault(_text(external))
        traits = properties.get("traits")
        given: Mapping[str, Any] = traits if isinstance(traits, Mapping) else {}
        if kind in _NAMING:
            given = {**{key: value for key, value in properties.items() if key != "traits"}, **given}
        if not names_recipient(kind, channel, properties):
            # An event of a mail service says where a mail went, not where the customer is reached.
            self.email = address_in(identifiers.get("email")) or address_in(given.get("email")) or self.email
        for key, value in given.items():
            if len(self.traits) < MAX_TRAITS or key in self.traits:
                if isinstance(value, str):
                    self.traits[_text(key)] = _text(value)
                elif isinstance(value, bool | int | float):
                    self.traits[_text(key)] = value
        self.name = name_of(given) or self.name


def name_of(given: Mapping[str, Any]) -> str | None:
    """The name in traits: ``name``, else first and last name."""
    name = given.get("name")
    if isinstance(name, str) and name.strip():
        return _text(name.strip())
    for first, last in (("first_name", "last_name"), ("firstName", "lastName"), ("firstname", "lastname")):
        parts = [part.strip() for part in (given.get(first), given.get(last)) if isinstance(part, str) and part.strip()]
        if parts:
            return _text(" ".join(parts))
    return None


def read_all(rows: Iterable[tuple[str, str, str, Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Profile]:
    """Customer → profile, from (customer, type, channel, properties, identifiers) in order."""
    found: dict[str, Profile] = {}
    for customer_id, kind, channel, properties, identifiers in rows:
        found.setdefault(customer_id, Profile()).add(kind, channel, properties, identifiers)
    return found


def _text(text: str) -> str:
    """A text that PostgreSQL accepts: without NUL and surrogates, cut to `MAX_TEXT`."""
    return "".join(one for one in text[:MAX_TEXT] if one != "\x00" and not "\ud800" <= one <= "\udfff")
