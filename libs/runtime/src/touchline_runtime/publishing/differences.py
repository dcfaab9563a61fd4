"""Differences between two versions of a definition, as text and in meaning."""

import difflib
from typing import NamedTuple


class Difference(NamedTuple):
    """One difference in meaning. ``where``: the part of the definition, such as `stages.<name>`."""

    where: str
    text: str


def text_difference(before: str, after: str, before_name: str, after_name: str) -> list[str]:
    """A unified diff, as lines."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), before_name, after_name, lineterm="")
    return list(lines)
