"""YAML 1.2 text to plain values, with the line of every part.

Plain scalars mean what YAML 1.2's core schema says, whatever a `%YAML` line or a library's leanings: `on` and `21:00`
and `2026-03-01` are strings, `014` is fourteen.
"""

import math
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from touchline_stage_engine.core.problems import DefinitionError, Path, Places, Problem

_STRING_TAG = "tag:yaml.org,2002:str"
_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MOST_DIGITS = 20
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


def _scalar(node: ScalarNode) -> Any:
    text: str = node.value
    if node.style in ("'", '"', "|", ">") or node.tag == _STRING_TAG:
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    for pattern, base in ((_INTEGER, 10), (_OCTAL, 8), (_HEXADECIMAL, 16)):
        if pattern.fullmatch(text):
            return int(text, base) if len(text) <= _MOST_DIGITS else math.inf
    if _NO_NUMBER.fullmatch(text):
        return math.nan
    return float(text) if _FLOAT.fullmatch(text) else text


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()

    def value(self, node: Node, path: Path) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            value = _scalar(node)
            if isinstance(value, float) and not math.isfinite(value):
                self._problem(path, "is no number that a touchpoint could have", "write a finite number")
            return value
        if id(node) in self._open:
            self._problem(path, "refers to itself", "write it out")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.value(item, (*path, place)) for place, item in enumerate(node.value)]
            assert isinstance(node, MappingNode)
            return self._mapping(node, path)
        finally:
            self._open.remove(id(node))

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            at = (*path, str(key))
            if key is None or not isinstance(_scalar(key_node), str):
                self.lines.setdefault(at, key_node.start_mark.line + 1)
                self._problem(at, "a key must be a text", "put it in quotes")
                continue
            if key in result:
                self.lines[at] = key_node.start_mark.line + 1
                self._problem(at, "is written twice", "keep one of the two")
                continue
            self.lines[at] = key_node.start_mark.line + 1
            result[key] = self.value(value_node, at)
        return result

    def _problem(self, path: Path, message: str, instead: str) -> None:
        self.problems.append(Places(self.file, self.lines).problem(path, message, instead))


def read_document(text: str, file: str) -> tuple[Any, Places]:
    """The values of one YAML document and where they stand.

    Raises:
        DefinitionError: it isn't YAML, holds several documents, or a key twice.
    """
    reader = _Reader(file)
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        what = error.problem or error.context or "cannot be read"
        raise DefinitionError([Problem(file, line, "", f"not YAML: {what}", "correct the syntax")]) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DefinitionError([Problem(file, line, "", f"not YAML: {error.reason}", "correct the syntax")]) from None
    except YAMLError as error:
        raise DefinitionError([Problem(file, 1, "", f"not YAML: {error}", "correct the syntax")]) from None
    except RecursionError:
        raise DefinitionError([Problem(file, 1, "", "is nested too deeply", "write fewer brackets")]) from None
    if node is None:
        raise DefinitionError([Problem(file, 1, "", "is empty", "write lifecycle:, version: and stages:")])
    value = reader.value(node, ())
    if reader.problems:
        raise DefinitionError(reader.problems)
    return value, Places(file, reader.lines)
