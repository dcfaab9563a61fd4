"""Lengths of time in plays: as everywhere in Touchline, but never zero, and in days where others would say weeks."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from touchline_schemas.definitions.durations import PATTERN, describe_duration, parse_duration

_MICROSECOND = timedelta(microseconds=1)


def parse(value: Any) -> timedelta:
    """The duration in a text.

    Raises:
        ValueError: it says none, or zero; with what to write instead.
    """
    if isinstance(value, timedelta):
        return value
    length = parse_duration(str(value))
    if not length:
        raise ValueError(f"{value!r} is no time at all: leave it out, or write a longer one")
    return timedelta(microseconds=length)


def say(length: timedelta) -> str:
    """A length in the largest unit up to days that divides it: ``14d``, ``36h``, ``90s``."""
    return describe_duration(length // _MICROSECOND, units="dhms")


Duration = Annotated[
    timedelta,
    BeforeValidator(parse),
    PlainSerializer(say, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["12h", "14d"]}),
]
"""A positive length of time, written as text."""
