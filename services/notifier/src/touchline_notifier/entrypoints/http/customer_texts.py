"""The texts of the pages that customers see, in their language: ``templates/customer_texts.toml``."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files

from touchline_notifier.core.texts.languages import choose

ENGLISH = "en"
_LONGEST_HEADER = 1000
_MOST_LANGUAGES = 20


@cache
def texts() -> Mapping[str, Mapping[str, str]]:
    """Language → key → text."""
    found = files("touchline_notifier.entrypoints.http").joinpath("templates", "customer_texts.toml")
    return tomllib.loads(found.read_text(encoding="utf-8"))


def language(stated: Iterable[str], accept_language: str | None) -> str:
    """The best language that there are texts in: the customer's own, else one that the browser asks for, else English.

    Args:
        stated: the customer's languages, the best first, such as ``pt-BR`` or ``de_AT``.
        accept_language: the header (RFC 9110 §12.5.4).
    """
    wanted = [*stated, *_accepted(accept_language or "")]
    found = choose(wanted, texts())
    return found[0] if found is not None else ENGLISH


def _accepted(header: str) -> Iterator[str]:
    """Languages of the header, the best first; what can't be read is passed over."""
    weighed: list[tuple[float, str]] = []
    for part in header[:_LONGEST_HEADER].split(",")[:_MOST_LANGUAGES]:
        name, _, parameter = part.partition(";")
        try:
            weight = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if name.strip() not in ("", "*") and 0 < weight <= 1:
            weighed.append((weight, name.strip()))
    return (name for _, name in sorted(weighed, key=lambda one: -one[0]))
