"""Read a definition from YAML. Every fault says where it is and what to write instead."""

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from touchline_runtime.yaml.positions import Fault, FaultyDocumentError, Path, SourcePositions, written_path
from touchline_runtime.yaml.text import read_document

from touchline_stage_engine.core.definitions.checks import check
from touchline_stage_engine.core.definitions.model import (
    Condition,
    Definition,
    Lapse,
    Operators,
    Rule,
    Stage,
    StallLevels,
)

_TYPE_NAMES = {
    "string_type": "a text (in quotes if it looks like a number, or like true or false)",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list: [a, b]",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
}

_LENGTHS = frozenset({"after", "then", "within"})
"""Keys whose values are durations."""


def read_definition(text: str, file: str) -> Definition:
    """Read one lifecycle from YAML. Messages name it `file`.

    Raises:
        FaultyDocumentError: the text is not YAML 1.2, has the wrong shape, or fails `checks`; it lists every fault.
    """
    value, positions = read_document(text, file)
    if not isinstance(value, dict):
        message = "is empty" if value is None else "is not a lifecycle"
        raise FaultyDocumentError(
            [positions.fault((), message, "write keys and values: lifecycle:, version:, stages:")]
        )
    try:
        definition = Definition.model_validate(value)
    except ValidationError as error:
        raise FaultyDocumentError(_faults(error, value, positions)) from None
    faults = check(definition, positions)
    if faults:
        raise FaultyDocumentError(faults)
    return definition


def _faults(error: ValidationError, document: Any, positions: SourcePositions) -> list[Fault]:
    """One fault for each path. Where several forms are valid, pydantic reports each of them; they are joined."""
    by_path: dict[str, Fault] = {}
    for details in error.errors():
        fault = _fault(details, document, positions)
        known = by_path.setdefault(fault.path, fault)
        if known.message == fault.message and fault.instead not in known.instead:
            instead = f"{known.instead}, or {fault.instead.removeprefix('write ')}"
            by_path[fault.path] = known._replace(instead=instead)
    return list(by_path.values())


def _fault(details: ErrorDetails, document: Any, positions: SourcePositions) -> Fault:
    path, kind, context = written_path(document, details["loc"]), details["type"], details.get("ctx", {})
    message, instead = details["msg"], "see the JSON Schema of lifecycles"
    if kind == "extra_forbidden":
        message, instead = _unknown_key(path, details["input"])
    elif kind == "missing":
        message, instead = "is missing", f"add {path[-1]}:"
    elif kind == "string_type" and type(details["input"]) is int and _LENGTHS & {*path[-2:]}:
        message, instead = f"'{details['input']}' has no unit", f"write one of s m h d w, such as {details['input']}d"
    elif kind in _TYPE_NAMES:
        message, instead = f"is {_shown(details['input'])}", f"write {_TYPE_NAMES[kind]}"
    elif kind == "value_error":
        message, _, instead = str(context["error"]).partition("; ")
    elif kind == "literal_error":
        message, instead = f"is {_shown(details['input'])}", f"write {context['expected']}"
    elif kind == "string_pattern_mismatch":
        message = f"{_shown(details['input'])} is not a name"
        instead = "write letters, digits, - _ and . (at most 64, beginning with a letter or digit)"
    elif kind == "greater_than_equal":
        message, instead = f"is {_shown(details['input'])}", f"write {context['ge']} or more"
    elif kind == "less_than_equal":
        message, instead = f"is {_shown(details['input'])}", f"write {context['le']} or less"
    elif kind in ("too_short", "string_too_short"):
        message, instead = "is empty", "write at least one, or leave the key out"
    return positions.fault(path, message, instead)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "empty"
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "keys and values"
    return repr(value)


_SHAPES: dict[str, type[BaseModel]] = {
    "rules": Rule,
    "all": Condition,
    "stages": Stage,
    "off_path": Stage,
    "stall": StallLevels,
    "lapse": Lapse,
}


def _keys(shape: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in shape.model_fields.items()]


def _unknown_key(path: Path, value: Any) -> tuple[str, str]:
    *around, key = path
    names = [step for step in around if isinstance(step, str)]
    shape: type[BaseModel] = Definition
    if "where" in names:
        shape = Operators
    elif names:
        shape = _SHAPES.get(names[-1], Definition)
    known = _keys(shape)
    close = difflib.get_close_matches(str(key), known, n=1)
    word = "operator" if shape is Operators else "key"
    if close and shape is not Operators:
        return f"is not a known {word}", f"did you mean {close[0]}?"
    if value is None:
        return f"is not a known {word}", "put quotes around a text that contains a comma"
    return f"is not a known {word}", f"write one of {', '.join(known)}"
