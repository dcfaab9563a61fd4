"""YAML 1.2 text to plain values, with the line of every part.

Plain scalars mean what YAML 1.2's core schema says, whatever a `%YAML` line or a library's leanings: `on` and `21:00`
and `2026-03-01` are strings, `014` is fourteen. What has no index in plain values (tags, merge keys, a key twice) is
refused rather than guessed at.
"""

import math
import re
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

from touchline_runtime.yaml.positions import Fault, FaultyDocumentError, Path, SourcePositions

_PLAIN = Tag(suffix="plain")
_STRING = "tag:yaml.org,2002:str"
_TAGS = {str(_PLAIN), *(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map", "null", "bool", "int", "float"))}
_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MOST_DIGITS = 20
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


class Document(NamedTuple):
    """The parsed value, and the position of each part. An empty text has the value None."""

    value: Any
    positions: SourcePositions


_INSTEAD = {r"'\t'": "indent with spaces", "another document": "write one document a file"}
"""What to write where ruamel.yaml's words alone don't say."""


def read_document(text: str, file: str = "", *, any_keys: bool = False) -> Document:
    """Read one YAML document.

    Args:
        file: the name that faults carry.
        any_keys: keys are names of others', who number theirs as well: `404` is one, as it is written. Else a key that
            isn't a text is a fault.

    Raises:
        FaultyDocumentError: it isn't YAML, holds several documents, or what plain values have no place for.
    """

    def refused(line: int, message: str, instead: str) -> FaultyDocumentError:
        return FaultyDocumentError([Fault(file, line, "", message, instead)])

    reader = _Reader(file, any_keys=any_keys)
    try:
        yaml = YAML(typ="safe", pure=True)
        yaml.Resolver = _LeavesScalarsToUs
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "cannot be read"
        instead = next((instead for found, instead in _INSTEAD.items() if found in what), "correct the syntax")
        raise refused(1 if mark is None else mark.line + 1, f"not YAML: {what}", instead) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise refused(line, f"not YAML: {error.reason}", "correct the syntax") from None
    except YAMLError as error:
        raise refused(1, f"not YAML: {error}", "correct the syntax") from None
    except RecursionError:
        raise refused(1, "is nested too deeply", "write fewer brackets") from None
    if node is None:
        return Document(None, SourcePositions(file, {(): 1}))
    value = reader.value(node, ())
    if reader.faults:
        raise FaultyDocumentError(reader.faults)
    return Document(value, SourcePositions(file, reader.lines, reader.blocks))


class _LeavesScalarsToUs(VersionedResolver):
    """Marks what is written without quotes and tag as plain, rather than guess its type by the version it is in."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is ScalarNode and implicit[0]:
            return _PLAIN
        return super().resolve(kind, value, (False, True))


def _scalar(node: ScalarNode) -> Any:
    text: str = node.value
    if node.tag == _STRING:
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
    def __init__(self, file: str, *, any_keys: bool) -> None:
        self.file = file
        self.lines: dict[Path, int] = {}
        self.blocks: dict[Path, int] = {}
        self.faults: list[Fault] = []
        self._any_keys = any_keys
        self._open: set[int] = set()

    def value(self, node: Node, path: Path) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if node.tag not in _TAGS:
            self._fault(path, f"has the tag {node.tag}, and tags mean nothing here", "write a plain value")
            return None
        if isinstance(node, ScalarNode):
            value = _scalar(node)
            if node.style == "|":
                self.blocks[path] = node.start_mark.line + 2  # the text begins below the bar
            if isinstance(value, float) and not math.isfinite(value):
                self._fault(path, "is too large a number, or none at all", "write a finite one, or put it in quotes")
            return value
        if id(node) in self._open:
            self._fault(path, "refers to itself", "write it out")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, MappingNode)
            return self._mapping(node, path)
        finally:
            self._open.remove(id(node))

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._fault(path, "has a key that is no text", "write names as keys")
                continue
            key: str = key_node.value
            at = (*path, key)
            self.lines[at] = key_node.start_mark.line + 1
            if key == "<<" and key_node.tag == str(_PLAIN):
                self._fault(at, "merge keys are not part of YAML 1.2", "write the keys out")
            elif not (self._any_keys or isinstance(_scalar(key_node), str)):
                self._fault(at, "a key must be a text", "put it in quotes")
            elif key in result:
                self._fault(at, "is written twice", "keep one of the two")
            else:
                result[key] = self.value(value_node, at)
        return result

    def _fault(self, path: Path, message: str, instead: str) -> None:
        self.faults.append(SourcePositions(self.file, self.lines).fault(path, message, instead))
