"""Audiences: the list, one with its members, and the form that saves one, with a count while it is filled in."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import orjson
from touchline_runtime.exports.csv_text import csv_lines

from touchline_console.application.parts import part, parts
from touchline_console.application.people import CSV_PAGE, SEEN, Asked, as_parameters
from touchline_console.application.ports import Rejected, Services
from touchline_console.application.titles import Titles
from touchline_console.core.conditions import conditions_in_words

PAGE = 50
CSV_HEAD = (
    "customer_id", "email", "name", "value", "purchases", "last_purchase_at", "last_seen_at", "first_seen_at",
    "first_channel", "first_source", "member_since",
)  # fmt: skip
_DAYS = re.compile(r"P?([1-9][0-9]{0,4})[dD]")


@dataclass(frozen=True)
class AudienceDraft:
    """What the form holds.

    Attributes:
        asked: the conditions that the form has fields for.
        rest: other conditions of the audience, which the form keeps.
        base: the version that it was made from; 0: it is new.
    """

    name: str = ""
    title: str = ""
    description: str = ""
    comment: str = ""
    asked: Asked = field(default_factory=Asked)
    rest: Mapping[str, Any] = field(default_factory=dict)
    base: int = 0

    @property
    def conditions(self) -> dict[str, Any]:
        """The whole filter."""
        return {**self.rest, **self.asked.as_filter()}

    @property
    def rest_json(self) -> str:
        """The other conditions, for a field of the form."""
        return orjson.dumps(dict(self.rest)).decode()


def _path(name: str, *steps: str) -> str:
    return "/".join(["/v1/audiences", quote(name, safe=""), *steps])


async def audiences(services: Services, cursor: str | None) -> dict[str, Any]:
    """A page of audiences, and their conditions in words."""
    found = await parts(
        audiences=services.engine.get("/v1/audiences", limit=PAGE, cursor=cursor),
        lifecycles=services.engine.get("/v1/lifecycles"),
    )
    titles = Titles(found["lifecycles"].items)
    conditions = {one["name"]: conditions_in_words(one["filter"], titles) for one in found["audiences"].items}
    return {"audiences": found["audiences"], "conditions": conditions}


async def audience(services: Services, name: str, cursor: str | None) -> dict[str, Any]:
    """One audience and a page of its members.

    Raises:
        NotFound: there is none of this name.
    """
    found = await services.engine.get(_path(name))
    rest = await parts(
        members=services.engine.get(_path(name, "members"), limit=PAGE, cursor=cursor),
        lifecycles=services.engine.get("/v1/lifecycles"),
    )
    titles = Titles(rest["lifecycles"].items)
    return {"audience": found, "members": rest["members"], "conditions": conditions_in_words(found["filter"], titles)}


async def as_csv(services: Services, name: str) -> AsyncIterator[str]:
    """Every member, as CSV, a page at a time; the head comes with the first page."""
    head, cursor = csv_lines([CSV_HEAD]), None
    while True:
        page = await services.engine.get(_path(name, "members"), limit=CSV_PAGE, cursor=cursor)
        yield head + csv_lines([item[column] for column in CSV_HEAD] for item in page["items"])
        head, cursor = "", page["next"]
        if cursor is None:
            return


async def form(services: Services, draft: AudienceDraft) -> dict[str, Any]:
    """What the form offers, and the draft's other conditions in words."""
    found = await parts(
        lifecycles=services.engine.get("/v1/lifecycles"), firsts=services.engine.get("/v1/first-touchpoints")
    )
    lifecycles = found["lifecycles"].items
    titles = Titles(lifecycles)
    channels = {item["channel"] for item in found["firsts"].items}
    return {
        "draft": draft,
        "asked": draft.asked.fitting(lifecycles) if found["lifecycles"].ok else draft.asked,
        "lifecycles": lifecycles,
        "titles": titles,
        "channels": sorted({*channels, *filter(None, [draft.asked.channel])}),
        "rest": conditions_in_words(draft.rest, titles),
    }


async def draft_of(services: Services, name: str) -> AudienceDraft:
    """The audience in force, as the form holds it.

    Raises:
        NotFound: there is none of this name.
    """
    found = await services.engine.get(_path(name))
    asked, rest = fields_of(found["filter"])
    return AudienceDraft(name, found["title"], found["description"], "", asked, rest, found["version"])


def fields_of(conditions: Mapping[str, Any]) -> tuple[Asked, dict[str, Any]]:
    """Conditions as the form's fields, and those that it has no field for."""
    values: dict[str, str] = {}
    rest = dict(conditions)
    for name, of_form in (
        ("lifecycle", "lifecycle"), ("stage", "stage"), ("first_channel", "channel"), ("trait", "trait"),
    ):  # fmt: skip
        if name in rest:
            values[of_form] = str(rest.pop(name))
    for name, of_form in (("entered_within", "entered"), ("in_stage_for", "in_stage")):
        if days := _DAYS.fullmatch(str(rest.get(name, ""))):
            values[of_form] = days[1]
            del rest[name]
    if "min_value" in rest:
        values["min_value"] = f"{rest.pop('min_value'):.15g}"
    for name, sign in (("seen_within", ""), ("not_seen_for", "-")):
        days = _DAYS.fullmatch(str(rest.get(name, "")))
        if days and f"{sign}{days[1]}" in dict(SEEN) and "seen" not in values:
            values["seen"] = f"{sign}{days[1]}"
            del rest[name]
    if "stalled" in rest:
        values["state"] = "stalled" if rest.pop("stalled") else "not_stalled"
    elif rest.pop("at_risk", None):
        values["state"] = "at_risk"
    return replace(Asked(), **values), rest


async def count(services: Services, draft: AudienceDraft) -> dict[str, Any]:
    """How many customers match now; nobody is asked for where there is no condition."""
    conditions = draft.conditions
    if not conditions:
        return {"matching": None}
    return {"matching": await part(services.engine.get("/v1/customers", limit=1, **as_parameters(conditions)))}


async def save(services: Services, draft: AudienceDraft) -> str:
    """Add or replace an audience; its name.

    Raises:
        Rejected: it is wrong, the name is taken, or another version is in force than its base.
    """
    body: dict[str, Any] = {
        "title": draft.title or draft.name, "description": draft.description, "filter": draft.conditions,
        "comment": draft.comment,
    }  # fmt: skip
    if draft.base:
        await services.engine.send("PUT", _path(draft.name), body | {"base": draft.base})
        return draft.name
    name = draft.name or _slug(draft.title)
    await services.engine.send("POST", "/v1/audiences", body | {"name": name})
    return name


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60].strip("-")


def faults_of(error: Rejected) -> list[str]:
    """What the engine says is wrong, line by line."""
    errors = error.body.get("errors") or []
    said = [
        f"{str(one.get('path', '')).removeprefix('filter.')}: {one['message']}" for one in errors if "message" in one
    ]
    return said or [error.detail]


async def delete(services: Services, name: str, base: int, reason: str | None) -> None:
    """Delete an audience.

    Raises:
        Rejected: another version is in force than the base.
    """
    query = f"?base={base}" + (f"&reason={quote(reason, safe='')}" if reason else "")
    await services.engine.send("DELETE", _path(name) + query)
