"""YAML 1.2 with places: the value of a text, and the line of every path in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a file.

    Attributes:
        file: its name.
        line: from 1; 0 when the fault is the whole file's.
        path: dotted, ``limits.per_customer.within``; empty for the whole.
        message: what is wrong and what to write instead.
    """

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class FaultyFileError(ValueError):
    """A file can't be used. Its text has one line a fault."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain values, and where each was written."""

    file: str
    value: Any
    _node: Node | None

    def line(self, path: Sequence[str | int]) -> int:
        """The line, from 1, of the value at a path, or of the nearest thing around it."""
        node = self._node
        if node is None:
            return 0
        found = node.start_mark.line
        for step in path:
            if isinstance(node, MappingNode):
                # Mappings are searched from the end only for a key that exists once: duplicates are refused before.
                for key, value in node.value:
                    if key.value == str(step):
                        found, node = key.start_mark.line, value
                        break
                else:
                    break
            elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                found = node.start_mark.line
            else:
                break
        return int(found) + 1

    def fault(self, path: Sequence[str | int], message: str) -> Fault:
        """A fault at a path."""
        return Fault(self.file, self.line(path), ".".join(str(step) for step in path), message)


def read(text: str, file: str) -> Document:
    """Parse one document.

    Raises:
        FaultyFileError: it isn't YAML, or repeats a key; with the line.
    """
    try:
        value = YAML(typ="safe", pure=True).load(text)
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 0
        message = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise FaultyFileError([Fault(file, line, "", f"not YAML: {message.splitlines()[0]}")]) from None
    except YAMLError as error:
        raise FaultyFileError([Fault(file, 0, "", f"not YAML: {error}")]) from None
    return Document(file, value, node)
