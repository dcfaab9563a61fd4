"""What one text of a play changes in the meaning of another."""

from collections.abc import Iterator, Mapping
from typing import Any

from touchline_runtime.publishing.differences import Difference
from touchline_runtime.yaml.positions import FaultyDocumentError

from touchline_notifier.core.plays.parse import read_plays
from touchline_notifier.core.plays.play import Play

_LONGEST = 300
"""Characters of a value that are shown."""


def play_of(text: str, file: str = "") -> Play:
    """The play of a text.

    Raises:
        FaultyDocumentError: what is wrong with it.
    """
    parsed = read_plays([(file, text)])
    if parsed.faults:
        raise FaultyDocumentError(parsed.faults)
    (play,) = parsed.plays.values()
    return play


def differences(before: Play, after: Play) -> list[Difference]:
    """Every value that differs. Values that a text leaves out count as their defaults."""
    old, new = (dict(_values((), _whole(play))) for play in (before, after))
    return [
        Difference(".".join(path), f"{_shown(old.get(path))} → {_shown(new.get(path))}")
        for path in dict.fromkeys((*old, *new))
        if old.get(path) != new.get(path)
    ]


def _whole(play: Play) -> dict[str, Any]:
    """Every value, defaults among them; of a sequence without `action`, which is its first message."""
    return play.model_dump(mode="json", by_alias=True, exclude={"action"} if play.steps else None)


def _values(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _values((*path, str(name)), item)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping) and path[0] == "steps":
        for number, item in enumerate(value, 1):
            yield from _values((*path, str(number)), {name: of for name, of in item.items() if of is not None})
    else:
        yield path, value


def _shown(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value).strip()
    # A layout: the comparison of the texts shows its lines.
    return text if len(text) <= _LONGEST else f"a text of {len(text):,} characters"
