"""The terms by which a customer is found, and the words of a search."""

import re
from collections.abc import Iterable

from touchline_schemas.identity import normalise_email

MAX_TERM_LENGTH = 200
"""Maximum characters of a term; longer ids are found by their beginning."""
MAX_TERMS = 60
_WORDS = re.compile(r"\S+")


def normalise(text: str) -> str:
    """A text in comparable form: casefolded, single spaces, cut to `MAX_TERM_LENGTH`."""
    return " ".join(_WORDS.findall(text.casefold().replace("\x00", "")))[:MAX_TERM_LENGTH]


def terms_of(keys: Iterable[str], email: str | None, name: str | None) -> list[str]:
    """The terms of a customer: keys with and without prefix, address, name, and the words of the name."""
    found: dict[str, None] = {}

    def add(text: str | None) -> None:
        term = normalise(text) if text else ""
        if term:
            found.setdefault(term)

    add(email)
    add(name)
    for word in _WORDS.findall(name or ""):
        add(word)
    for key in keys:
        add(key)
        prefix, separator, rest = key.partition(":")
        if separator and prefix in ("anon", "email"):
            add(rest)
        elif separator and prefix == "ext":
            add(rest)
            add(rest.partition(":")[2])
    return list(found)[:MAX_TERMS]


def search_words(query: str) -> list[str]:
    """The words of a search, the longest first. Each must be the beginning of one of the customer's terms."""
    words = {normalise(normalise_email(word)) if "@" in word else word for word in normalise(query).split(" ")}
    return sorted(words - {""}, key=lambda word: (-len(word), word))


def after_prefix(prefix: str) -> str:
    """The least text that is greater than every text with the prefix, by code point."""
    for index in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[index])
        following = 0xE000 if code == 0xD7FF else code + 1
        if following <= 0x10FFFF:
            return prefix[:index] + chr(following)
    return "\U0010ffff" * (len(prefix) + 1)
