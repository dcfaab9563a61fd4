"""Variables ``TOUCHLINE_…`` that nothing reads, mostly misspelt ones, which would be ignored silently.

All services share one environment in many deployments, so that a service has to know the others' variables, and those
of the tools around them. They are listed in ``known_variables.txt``, which ``make docs`` generates from all
settings; a test fails when it is out of date.
"""

import difflib
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import NamedTuple

PREFIX = "TOUCHLINE_"
KNOWN_FILE = "known_variables.txt"


class Unknown(NamedTuple):
    """A variable that nothing reads, and the known one it looks like."""

    name: str
    nearest: str | None


def known_variables() -> frozenset[str]:
    """Every variable that some part of Touchline reads."""
    return frozenset((files("touchline_runtime") / KNOWN_FILE).read_text("utf-8").split())


def unknown_variables(names: Iterable[str], known: frozenset[str]) -> Iterator[Unknown]:
    """Names with our prefix that are not known variables, sorted. Case doesn't matter, as in settings."""
    endings = [name.removeprefix(PREFIX) for name in sorted(known)]
    for name in sorted(names):
        upper = name.upper()
        if upper.startswith(PREFIX) and upper not in known:
            near = difflib.get_close_matches(upper.removeprefix(PREFIX), endings, n=1)
            yield Unknown(name, PREFIX + near[0] if near else None)
