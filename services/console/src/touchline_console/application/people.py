"""The list of customers: search, filters, sorting, pages, and all of it as CSV."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from touchline_runtime.exports.csv_text import csv_lines

from touchline_console.application.parts import part, parts
from touchline_console.application.ports import Services
from touchline_console.application.titles import Titles
from touchline_console.core.period import wire

PAGE = 50
CSV_PAGE = 1000
SEEN = (
    ("7", "seen in 7 days"),
    ("30", "seen in 30 days"),
    ("-30", "not seen for 30 days"),
    ("-90", "not seen for 90 days"),
)
SORTS = (
    ("value", "Value"), ("last_seen", "Last seen"), ("first_seen", "First seen"), ("name", "Name"), ("id", "Id"),
    ("entered", "Entered the stage"),
)  # fmt: skip
STATES = (("stalled", "stalled"), ("not_stalled", "not stalled"), ("at_risk", "at risk: stalled or slipped back"))
STAGE_COLUMNS = {"stage": "stage", "stalled level": "stalled_level", "slipped back by": "slipped_by"}
CSV_HEAD = (
    "customer_id", "name", "email", "value", "purchases", "touchpoints", "last_seen_at", "first_seen_at",
    "first_channel", "first_source", "last_purchase_at",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """The values of the filter bar; empty where none was given."""

    q: str = ""
    lifecycle: str = ""
    stage: str = ""
    state: str = ""
    entered: str = ""
    min_value: str = ""
    seen: str = ""
    channel: str = ""
    trait: str = ""
    sort: str = "value"
    order: str = ""

    def as_query(self, **changed: str | None) -> dict[str, str]:
        """Parameters of this page's address, with some changed."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__} | changed
        return {name: value for name, value in values.items() if value and (name, value) != ("sort", "value")}

    def fitting(self, lifecycles: list[Any]) -> "Asked":
        """The same without a lifecycle or stage that does not exist (any more)."""
        names = {one["name"]: {stage["name"] for stage in (*one["stages"], *one["off_path"])} for one in lifecycles}
        lifecycle = self.lifecycle if self.lifecycle in names else ""
        known = names[lifecycle] if lifecycle else {stage for stages in names.values() for stage in stages}
        return replace(self, lifecycle=lifecycle, stage=self.stage if self.stage in known else "")

    def for_engine(self, now: datetime) -> dict[str, Any]:
        """Parameters of the engine's list. What makes no sense is left out."""
        sort = self.sort if self.sort in dict(SORTS) else "value"
        if sort == "entered" and not self.lifecycle:
            sort = "value"
        asked: dict[str, Any] = {
            "q": self.q,
            "lifecycle": self.lifecycle,
            "stage": self.stage,
            "stalled": {"stalled": "true", "not_stalled": "false"}.get(self.state),
            "at_risk": "true" if self.state == "at_risk" else None,
            "min_value": _number(self.min_value),
            "first_channel": self.channel,
            "trait": self.trait if ":" in self.trait.strip(":") else None,
            "sort": sort,
            "order": self.order if self.order in ("asc", "desc") else None,
        }
        days = _number(self.entered)
        if days and 0 < days < 36_500:
            asked["entered_since"] = wire(now - timedelta(days=days))
        days = _number(self.seen)
        if days and abs(days) < 36_500:
            asked["seen_since" if days > 0 else "seen_before"] = wire(now - timedelta(days=abs(days)))
        return asked


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e15 else None


async def listed(services: Services, asked: Asked, cursor: str | None, now: datetime) -> dict[str, Any]:
    """A page of customers, and what the filter bar offers."""
    lifecycles = await part(services.engine.get("/v1/lifecycles"))
    asked = asked.fitting(lifecycles.items) if lifecycles.ok else asked
    found = await parts(
        customers=services.engine.get("/v1/customers", **asked.for_engine(now), limit=PAGE, cursor=cursor),
        firsts=services.engine.get("/v1/first-touchpoints"),
    )
    channels = sorted({item["channel"] for item in found["firsts"].items})
    return {
        "asked": asked,
        "customers": found["customers"],
        "lifecycles": lifecycles.items,
        "channels": channels,
        "titles": Titles(lifecycles.items),
    }


async def as_csv(services: Services, asked: Asked, now: datetime) -> AsyncIterator[str]:
    """Every customer that the filters let through, as CSV, a page at a time; the head comes with the first page."""
    lifecycles = await part(services.engine.get("/v1/lifecycles"))
    asked = asked.fitting(lifecycles.items) if lifecycles.ok else asked
    names = [one["name"] for one in lifecycles.items]
    head = csv_lines([[*CSV_HEAD, *(f"{name} {what}" for name in names for what in STAGE_COLUMNS)]])
    cursor = None
    while True:
        page = await services.engine.get("/v1/customers", **asked.for_engine(now), limit=CSV_PAGE, cursor=cursor)
        yield head + csv_lines(_row(item, names) for item in page["items"])
        head = ""
        cursor = page["next"]
        if cursor is None:
            return


def _row(item: Mapping[str, Any], names: list[str]) -> list[Any]:
    stages = item["stages"]
    nowhere: dict[str, Any] = {}
    return [
        *(item[column] for column in CSV_HEAD),
        *(stages.get(name, nowhere).get(what) for name in names for what in STAGE_COLUMNS.values()),
    ]
