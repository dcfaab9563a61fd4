"""Lengths of time in plays: ``90s``, ``30m``, ``12h``, ``14d``, ``8w``, or ISO 8601 (``P14D``, ``PT36H``)."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SHORT = re.compile(r"(\d{1,6})([smhdw])")
_ISO = re.compile(r"P(?=[\dT])(?:(\d+)W)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(value: Any) -> timedelta:
    """The length a text says.

    Raises:
        ValueError: it says none, or zero.
    """
    if isinstance(value, timedelta):
        return value
    text = str(value)
    if match := _SHORT.fullmatch(text):
        length = timedelta(**{_UNITS[match[2]]: int(match[1])})
    elif match := _ISO.fullmatch(text):
        weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    else:
        raise ValueError(f"{text!r} is no duration: write 30m, 12h, 14d, 8w, or ISO 8601 such as PT36H")
    if not length:
        raise ValueError(f"{text!r} is no time at all: leave it out, or write a longer one")
    return length


def say(length: timedelta) -> str:
    """A length in the largest unit that divides it: ``14d``, ``36h``, ``90s``."""
    seconds = int(length.total_seconds())
    for letter, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(say, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^([0-9]+[smhdw]|P[0-9TWDHMS]+)$", "examples": ["12h", "14d"]}),
]
"""A positive length of time, written as text."""
