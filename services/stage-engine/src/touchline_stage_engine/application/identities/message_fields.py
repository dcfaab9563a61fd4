"""What the fields of a message on the identity topic have to be: a message that is not so becomes a dead letter."""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, Field, StrictBool, StrictInt, TypeAdapter, ValidationError
from touchline_schemas.touchpoint import MAX_KEY_BYTES, unstorable

_LATEST = 4_102_444_800_000_000  # 2100-01-01, in microseconds


def _a_key(text: str) -> str:
    if not 0 < len(text.encode(errors="replace")) <= MAX_KEY_BYTES:
        raise ValueError(f"must be 1 to {MAX_KEY_BYTES} bytes long")
    return _storable(text)


def _storable(text: str) -> str:
    if why := unstorable(text):
        raise ValueError(why)
    return text


def _a_json_object(text: str) -> str:
    _read_object(text)
    return text


def _identifiers(text: str) -> str:
    if not all(isinstance(value, str) and value for value in _read_object(text).values()):
        raise ValueError("must be the text of a JSON object whose values are texts")
    return text


def _read_object(text: str) -> dict[str, Any]:
    value = orjson.loads(text)
    if not isinstance(value, dict):
        raise ValueError("must be the text of a JSON object")
    if why := unstorable(value):
        raise ValueError(why)
    return value


_Key = Annotated[str, AfterValidator(_a_key)]
_Text = Annotated[str, Field(max_length=256), AfterValidator(_storable)]
_Name = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_storable)]
_Instant = Annotated[StrictInt, Field(ge=0, le=_LATEST)]
"""Microseconds since 1970: no touchpoint, erasure or timer is from before."""
_Json = Annotated[str, AfterValidator(_a_json_object)]
_Identifiers = Annotated[str, AfterValidator(_identifiers)]
_Weight = tuple[_Instant, _Name, _Name, Annotated[str, Field(max_length=1100)], Annotated[str, Field(max_length=1100)]]
# The label of a known customer begins before every link, at no touchpoint.
_LabelWeight = tuple[
    Annotated[StrictInt, Field(ge=-(2**62), le=_LATEST)],
    _Text,
    _Text,
    Annotated[str, Field(max_length=1100)],
    Annotated[str, Field(max_length=1100)],
]
_Label = tuple[_LabelWeight | None, Annotated[StrictInt, Field(ge=0)], _Key, list[_Key]]
_Touchpoint = tuple[
    _Instant,
    _Name,
    _Name,
    Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)],
    _Name,
    _Name,
    Annotated[StrictInt, Field(ge=0, lt=8)],
    _Instant,
    _Json,
    _Identifiers | None,
]


class LinkRequested(BaseModel):
    """A link that another key makes, and the label that the key reports."""

    other: _Key
    weight: _Weight | None
    label: _Label | None


class LinksRequested(BaseModel):
    """Links that several other keys make, and what each of these keys says of itself."""

    links: Annotated[list[tuple[_Key, tuple[_Instant, _Name, _Name] | None, _Label | None]], Field(min_length=1)]


class LinkRemoved(BaseModel):
    """A link that is gone with an erasure."""

    other: _Key
    before: _Instant


class Transferred(BaseModel):
    """Touchpoints handed over."""

    alias: _Key
    touchpoints: list[_Touchpoint]
    bulk: StrictBool


class Withdrawn(BaseModel):
    """Touchpoints handed over before, to be given back."""

    alias: _Key


class EraseRequested(BaseModel):
    """An erasure."""

    erased_at: _Instant
    by: _Key | None = None
    linked_to: _Key | None = None


_KEY = TypeAdapter(_Key)


def problem_with_key(key: str) -> str | None:
    """Why no customer can have a key: it is empty, too long, or cannot be stored; None when one can."""
    try:
        _a_key(key)
    except ValueError as error:
        return str(error)
    return None


def problem_with(recipient: str, data: Mapping[str, Any], model: type[BaseModel] | None) -> str | None:
    """What is wrong with a message's recipient or fields; None when nothing is."""
    try:
        _KEY.validate_python(recipient)
        if model is not None:
            model.model_validate(data)
    except ValidationError as error:
        return "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'key'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False, include_context=False)[:10]
        )
    return None
