"""What is wrong with a definition: where, and what to write instead."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys and places from the top of the document: ("stages", 0, "stall", "after")."""


class Problem(NamedTuple):
    """One fault. `line` counts from 1, and is None where the definition came without a text."""

    file: str
    line: int | None
    path: str
    message: str
    instead: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.path or 'the whole file'}: {self.message}; {self.instead}"


class DefinitionError(ValueError):
    """A definition that must not run, with every problem found in it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Places:
    """Where each part of a document stands in its file."""

    def __init__(self, file: str, lines: Mapping[Path, int] | None = None) -> None:
        self.file = file
        self._lines = lines or {}

    def problem(self, path: Path, message: str, instead: str) -> Problem:
        """A problem at `path`, with the line of the nearest part that is there."""
        return Problem(self.file, self.line(path), describe_path(path), message, instead)

    def line(self, path: Path) -> int | None:
        """The line of a part, or of the part around it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self._lines:
                return self._lines[path[:end]]
        return None


def describe_path(path: Path) -> str:
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
