"""Requests and responses of the routes about audiences."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from touchline_runtime.http.parameters import WITHOUT_NUL
from touchline_runtime.publishing.answers import Comment
from touchline_schemas.times import from_micros, to_wire

from touchline_stage_engine.application.audiences.values import StoredAudience
from touchline_stage_engine.core.audiences.audience import FIELDS, LONGEST_NAME
from touchline_stage_engine.entrypoints.http.answers import Page, Time
from touchline_stage_engine.entrypoints.http.people_answers import CustomerSummary

_LARGEST_VERSION = 2_147_483_647
Title = Annotated[str, Field(min_length=1, max_length=200), WITHOUT_NUL]
Description = Annotated[str, Field(max_length=2000), WITHOUT_NUL]
Filter = Annotated[
    dict[str, Any],
    Field(
        max_length=40,
        description=f"conditions that hold together, as the filters of `GET /v1/customers`: {', '.join(FIELDS)}",
        examples=[{"lifecycle": "service-cycle", "stage": "retention", "in_stage_for": "P14D", "min_value": 250}],
    ),
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: Title
    description: Description = ""
    filter: Filter
    comment: Comment = ""


class NewAudience(_Request):
    """An audience to add."""

    name: Annotated[str, Field(max_length=LONGEST_NAME, examples=["quiet-big-buyers"])]


class ChangedAudience(_Request):
    """An audience to replace. `base` is the version that the change was made from."""

    base: int = Field(ge=1, le=_LARGEST_VERSION)


class Audience(BaseModel):
    """An audience. `evaluated`: partitions on which every customer was compared with this version, of `partitions`.

    `members` counts the members as they are recorded; it is complete once `evaluated` is `partitions`.
    """

    name: str
    title: str
    description: str
    filter: dict[str, Any]
    version: int
    incarnation: int
    author: str
    created_at: Time
    changed_at: Time
    members: int
    evaluated: int
    partitions: int


class SavedAudience(Audience):
    """The audience in force. `changed` false: it was so already."""

    changed: bool


class DeletedAudience(BaseModel):
    """What was deleted: its members leave, one event each."""

    name: str
    version: int
    members: int


class Member(CustomerSummary):
    """A member's summary, and since when they are a member."""

    member_since: Time


class Members(Page[Member]):
    """A page of members, by id."""

    total: int


def audience_json(audience: StoredAudience, partitions: int) -> dict[str, Any]:
    """An audience as the API shows it."""
    return {
        "name": audience.name,
        "title": audience.title,
        "description": audience.description,
        "filter": {name: audience.filter[name] for name in FIELDS if name in audience.filter},
        "version": audience.version,
        "incarnation": audience.incarnation,
        "author": audience.author,
        "created_at": to_wire(from_micros(audience.created_at)),
        "changed_at": to_wire(from_micros(audience.changed_at)),
        "members": audience.members,
        "evaluated": audience.evaluated,
        "partitions": partitions,
    }
