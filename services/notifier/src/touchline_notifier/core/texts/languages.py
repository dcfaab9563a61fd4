"""Which of several languages a customer gets: theirs, the same without its region, or the default."""

from collections.abc import Iterable, Mapping
from typing import Any

from babel import Locale, UnknownLocaleError

ENGLISH = "en"
_LONGEST = 35


def canonical(name: str) -> str:
    """``de-AT`` of ``de_at``.

    Raises:
        ValueError: it is no locale.
    """
    try:
        if len(name) > _LONGEST:
            raise ValueError
        return str(Locale.parse(name.replace("-", "_"))).replace("_", "-")
    except (UnknownLocaleError, ValueError, TypeError):
        raise ValueError(f"there is no locale {name[:_LONGEST]!r}: write one such as de, de-AT or pt-BR") from None


def chain(name: str) -> list[str]:
    """The language and what it falls back to: ``zh-Hant-TW``, ``zh-Hant``, ``zh`` (RFC 4647 §3.4, lookup)."""
    parts = [part for part in name.replace("_", "-").lower().split("-") if part]
    chained = []
    while parts:
        chained.append("-".join(parts))
        parts.pop()
        if parts and len(parts[-1]) == 1:  # a singleton names what follows it
            parts.pop()
    return chained


def choose(wanted: Iterable[str], available: Iterable[str]) -> str | None:
    """The best of the available languages; None: none of them is wanted."""
    known = {name.replace("_", "-").lower(): name for name in available}
    return next((known[tag] for name in wanted for tag in chain(name) if tag in known), None)


def stated(customer: Mapping[str, Any]) -> list[str]:
    """The languages of a customer's view, the best first: what :attr:`Profile.languages` says of a profile."""
    traits = customer.get("traits")
    found = (customer.get("locale"), traits.get("language") if isinstance(traits, Mapping) else None)
    return [language for language in found if isinstance(language, str)]
