"""Conditions of audiences in words. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

_SPAN = re.compile(r"P?T?([0-9]+)([smhdwSMHDW])")
_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
_WORDS = {
    "entered_since": "entered the stage from {} on",
    "entered_before": "entered the stage before {}",
    "entered_within": "entered the stage less than {} ago",
    "in_stage_for": "in the stage for at least {}",
    "min_value": "value from {}",
    "max_value": "value up to {}",
    "seen_since": "last seen from {} on",
    "seen_before": "last seen before {}",
    "seen_within": "seen in the last {}",
    "not_seen_for": "not seen for {}",
    "first_channel": "first channel {}",
    "first_source": "first source {}",
    "trait": "trait {}",
}


class StageTitles(Protocol):
    """Looks up titles."""

    def lifecycle(self, name: str) -> str:
        """Title of a lifecycle."""

    def stage(self, lifecycle: str, name: str | None) -> str:
        """Title of a stage."""


def conditions_in_words(conditions: Mapping[str, Any], titles: StageTitles) -> list[str]:
    """One text for each condition."""
    found = []
    for name, value in conditions.items():
        if name == "lifecycle":
            found.append(titles.lifecycle(value))
        elif name == "stage":
            found.append(f"stage {titles.stage(conditions.get('lifecycle', ''), value)}")
        elif name == "stalled":
            found.append("stalled" if value else "not stalled")
        elif name == "at_risk":
            found.append("at risk")
        elif name in _WORDS:
            found.append(_WORDS[name].format(_in_words(value)))
        else:
            found.append(f"{name} {value}")
    return found


def _in_words(value: Any) -> str:
    if isinstance(value, int | float):
        return f"{value:,.10g}"
    if span := _SPAN.fullmatch(value):
        number, unit = int(span[1]), _UNITS[span[2].lower()]
        return f"{number:,} {unit}{'' if number == 1 else 's'}"
    return str(value)
