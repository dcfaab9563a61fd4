"""The shape of a lifecycle definition's YAML, and the JSON Schema for editors.

`checks` verifies names and rules; `compile` gives them their meaning. Durations and times stay text here.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema
from touchline_schemas.definitions.durations import PATTERN, parse_duration
from touchline_schemas.definitions.operators import Scalar
from touchline_schemas.times import parse_instant

ANY_TYPE = "*"
NEXT = "next"
PREVIOUS = "previous"
FIRST = "first"
RELATIVE_TARGETS = (NEXT, PREVIOUS, FIRST)

SCHEMA_ID = "https://touchline.dev/schemas/lifecycle.schema.json"

_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


def _positive_duration(text: str) -> str:
    if parse_duration(text) == 0:
        raise ValueError(f"{text!r} is not a positive duration; write a duration above zero, such as 14d")
    return text


def _instant(text: str) -> str:
    parse_instant(text)
    return text


def _as_list(value: Any) -> Any:
    """A single name may be written without brackets."""
    return [value] if isinstance(value, str) else value


def _as_operators(value: Any) -> Any:
    """A literal means eq."""
    if isinstance(value, list):
        raise ValueError("a list cannot be compared; write in: [a, b]")
    return value if isinstance(value, dict | Operators) else {"eq": value}


Name = Annotated[str, Field(pattern=_NAME_PATTERN)]
Duration = Annotated[
    str,
    AfterValidator(_positive_duration),
    Field(description="30m, 12h, 14d, 8w, or ISO 8601 such as P14D", json_schema_extra={"pattern": PATTERN}),
]
_Word = Annotated[str, Field(min_length=1)]
_ONE_OR_MORE = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
    ]
}
Words = Annotated[
    list[_Word], BeforeValidator(_as_list), Field(min_length=1), WithJsonSchema(_ONE_OR_MORE, mode="validation")
]
_SCALAR_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)


class Operators(_Model):
    """Operators that a value at a path must all pass. A missing path passes only `exists: false`."""

    eq: Scalar = None
    ne: Scalar = None
    lt: str | int | float | None = None
    lte: str | int | float | None = None
    gt: str | int | float | None = None
    gte: str | int | float | None = None
    in_: list[Scalar] | None = Field(default=None, alias="in", min_length=1)
    exists: bool | None = None

    def given(self) -> dict[str, Any]:
        """The operators that are written, by name."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class _LiteralOrOperators:
    """Adds a literal to the JSON Schema where operators are expected."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [_SCALAR_SCHEMA, handler(schema)]}


Where = dict[str, Annotated[Operators, BeforeValidator(_as_operators), _LiteralOrOperators()]]


class Condition(_Model):
    """Which touchpoints count, and how many of them within how long."""

    when: Words = Field(description='types of touchpoint, or "*" for every one')
    channel: Words | None = None
    direction: Literal["inbound", "outbound", "any"] = "inbound"
    where: Where = Field(default_factory=dict, description="dotted paths with a literal or operators")
    count: int = Field(default=1, ge=1, le=100_000, description="how many since the stage was entered")
    within: Duration | None = Field(default=None, description="a trailing window of event time")


class Rule(_Model):
    """Where a customer goes when a condition, or every one of `all`, holds."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["when"]}, {"required": ["all"]}]})

    when: Words | None = Field(default=None, description='types of touchpoint, or "*" for every one')
    channel: Words | None = None
    direction: Literal["inbound", "outbound", "any"] | None = Field(default=None, description="inbound unless said")
    where: Where | None = Field(default=None, description="dotted paths with a literal or operators")
    count: int | None = Field(default=None, ge=1, le=100_000, description="how many since the stage was entered")
    within: Duration | None = Field(default=None, description="a trailing window of event time")
    all_: list[Condition] | None = Field(
        default=None, alias="all", min_length=1, description="conditions that must all hold, in any order"
    )
    to: _Word = Field(description="a stage, next, previous or first")
    reason: str | None = Field(default=None, description="why, in the move's reason")

    @property
    def conditions(self) -> list[Condition]:
        """The rule's conditions, one or more, in either form."""
        if self.all_ is not None:
            return self.all_
        return [
            Condition(
                when=self.when or [],
                channel=self.channel,
                direction=self.direction or "inbound",
                where=self.where or {},
                count=self.count or 1,
                within=self.within,
            )
        ]


class StallLevels(_Model):
    """How long without activity until a customer is stalled, level by level, from the same start."""

    after: Duration
    then: Annotated[list[Duration], BeforeValidator(_as_list)] = Field(
        default_factory=list, description="further levels; each longer than the one before"
    )

    @property
    def levels(self) -> list[str]:
        """The durations of level 1, 2, …"""
        return [self.after, *self.then]


class Lapse(_Model):
    """Where time alone takes a customer."""

    after: Duration
    to: _Word = Field(description="a stage, next, previous or first")


class Stage(_Model):
    """One stage: the rules that move a customer on, its stall levels and its lapse."""

    name: Name
    title: str | None = None
    about: str | None = None
    stall: StallLevels | None = None
    lapse: Lapse | None = None
    rules: list[Rule] = Field(default_factory=list, description="tried in order, after the lifecycle's own")

    @property
    def label(self) -> str:
        """The title, else the name."""
        return self.title or self.name


class Definition(_Model):
    """A named, versioned lifecycle: ordered stages and the rules that move a customer between them."""

    lifecycle: Name
    version: int = Field(ge=1, le=2_147_483_647, description="1, 2, 3 …; a later version has a larger number")
    title: str | None = None
    about: str | None = None
    cyclic: bool = Field(default=False, description="true: the last stage renews into the first")
    effective_from: (
        Annotated[str, AfterValidator(_instant), Field(json_schema_extra={"format": "date-time"})] | None
    ) = Field(default=None, description="event time from which this version is in force; else its first start")
    on_change: Literal["pin", "refold"] = Field(
        default="pin", description="pin: customers keep the old version until their first move; refold: fold all again"
    )
    passive: Annotated[list[_Word], BeforeValidator(_as_list)] = Field(
        default_factory=list, description="further types that are no sign of activity"
    )
    rules: list[Rule] = Field(default_factory=list, description="for any stage; tried before the stage's own")
    stages: list[Stage] = Field(min_length=1, description="in order")
    off_path: list[Stage] = Field(default_factory=list, description="stages beside the order")

    @property
    def label(self) -> str:
        """The title, else the name."""
        return self.title or self.lifecycle

    @property
    def every_stage(self) -> list[Stage]:
        """The stages in order, then those off the path."""
        return [*self.stages, *self.off_path]

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the content: two texts of one version must have the same."""
        content = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a definition's YAML, for editors."""
    schema = Definition.model_json_schema(by_alias=True, mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **schema,
        "title": "A Touchline lifecycle",
    }
