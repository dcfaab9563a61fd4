"""Which of several languages a customer gets: theirs, the same without its region, or the default."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from babel import Locale, UnknownLocaleError

_LONGEST = 35


def checked(name: str) -> str:
    """The name of a locale that is known, as it is.

    Raises:
        ValueError: it is none.
    """
    if not is_known(name):
        raise ValueError(f"there is no locale {name[:_LONGEST]!r}: write one such as de, de-AT or pt-BR")
    return name


def is_known(name: str) -> bool:
    """Whether dates and numbers can be written in it."""
    return _parsed(name) is not None


@lru_cache(1024)
def _parsed(name: str) -> str | None:
    """``zh-hant-tw`` of ``zh_TW``; None: no such locale is known."""
    if not name or len(name) > _LONGEST:
        return None
    try:
        return str(Locale.parse(name.replace("-", "_"))).replace("_", "-").lower()
    except (UnknownLocaleError, ValueError, TypeError):
        return None


def tag(name: str) -> str:
    """The same for every spelling of a locale."""
    return _parsed(name) or name.replace("_", "-").lower()


def chain(name: str) -> list[str]:
    """The tags that a language falls back to, itself first: ``zh-hant-tw``, ``zh-hant``, ``zh`` (RFC 4647 §3.4)."""
    parts = [part for part in tag(name).split("-") if part]
    return ["-".join(parts[:end]) for end in range(len(parts), 0, -1)]


def choose(wanted: Iterable[str], available: Iterable[str]) -> tuple[str, str] | None:
    """The best of the available languages, and the wanted one that it is for; None: none of them is wanted."""
    known = {tag(name): name for name in available}
    return next(((known[one], name) for name in wanted for one in chain(name) if one in known), None)


def stated(customer: Mapping[str, Any]) -> list[str]:
    """The languages of a customer's view, the best first: what :attr:`Profile.languages` says of a profile."""
    traits = customer.get("traits")
    found = (customer.get("locale"), traits.get("language") if isinstance(traits, Mapping) else None)
    return [language for language in found if isinstance(language, str)]
