"""Faults in a document that a person wrote: where they are, and what to write instead."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indexes from the top of the document: ("stages", 0, "stall", "after")."""


class Fault(NamedTuple):
    """One thing that is wrong.

    `file` may be empty where the caller names the file; `line` counts from 1, and is None where the document
    came without a text; `path` is empty for the whole document; `instead` is empty where `message` says it all.
    """

    file: str
    line: int | None
    path: str
    message: str
    instead: str = ""

    def __str__(self) -> str:
        line = "" if self.line is None else f":{self.line}" if self.file else f"line {self.line}"
        said = f"{self.message}; {self.instead}" if self.instead else self.message
        return ": ".join(part for part in (f"{self.file}{line}", self.path, said) if part)


class FaultyDocumentError(ValueError):
    """A document that must not be used, with every fault found in it; its text has one line a fault."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class SourcePositions:
    """The line of each part of a document in its file.

    Args:
        blocks: texts written as a block (`|`), and the line that their own first line is on.
    """

    def __init__(
        self, file: str, lines: Mapping[Path, int] | None = None, blocks: Mapping[Path, int] | None = None
    ) -> None:
        self.file = file
        self._lines = lines or {}
        self._blocks = blocks or {}

    def fault(self, path: Sequence[str | int], message: str, instead: str = "", *, within: int | None = None) -> Fault:
        """A fault at `path`, with the line of the nearest part that is there.

        Args:
            within: the line within the text at `path`, from 1.
        """
        line = self.line(path)
        if within is not None:
            first = self._blocks.get(tuple(path))
            if first is not None:
                line = first + within - 1
            elif within > 1:
                message = f"{message} (line {within} of the text)"
        return Fault(self.file, line, describe_path(path), message, instead)

    def line(self, path: Sequence[str | int]) -> int | None:
        """The line of a part, or of the part around it."""
        path = tuple(path)
        for end in range(len(path), -1, -1):
            if path[:end] in self._lines:
                return self._lines[path[:end]]
        return None


def describe_path(path: Sequence[str | int]) -> str:
    """`stages[0].stall.after`; keys with a dot of their own keep quotes around them."""

    def parts() -> Iterator[str]:
        for step in path:
            if isinstance(step, int):
                yield f"[{step}]"
            elif "." in step:
                yield f'["{step}"]'
            else:
                yield f".{step}"

    return "".join(parts()).removeprefix(".")


def written_path(document: Any, location: Sequence[str | int]) -> Path:
    """The part of pydantic's location that the document contains, and a missing key at its end.

    pydantic also names the branch of a union that it tried, and an index where one item was written without a list.
    """
    path: list[str | int] = []
    here = document
    for index, step in enumerate(location):
        is_there = (isinstance(here, dict) and step in here) or (
            isinstance(here, list) and isinstance(step, int) and step < len(here)
        )
        if is_there:
            here = here[step]
            path.append(step)
        elif index == len(location) - 1 and isinstance(here, dict) and isinstance(step, str):
            path.append(step)
    return tuple(path)
