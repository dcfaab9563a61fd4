"""The list of customers: search, filters, sorting, pages, and all of it as CSV."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from touchline_runtime.exports.csv_text import csv_lines

from touchline_console.application.parts import part, parts
from touchline_console.application.ports import Services
from touchline_console.application.titles import Titles

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
CHOICES = {"sorts": SORTS, "states": STATES, "seen": SEEN}
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
    in_stage: str = ""
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

    def as_filter(self) -> dict[str, Any]:
        """The conditions, as the engine's list and its audiences have them. What makes no sense is left out."""
        seen, entered, in_stage = _days(self.seen), _days(self.entered), _days(self.in_stage)
        conditions: dict[str, Any] = {
            "lifecycle": self.lifecycle,
            "stage": self.stage,
            "stalled": {"stalled": True, "not_stalled": False}.get(self.state),
            "at_risk": True if self.state == "at_risk" else None,
            "entered_within": _span(entered) if entered > 0 else None,
            "in_stage_for": _span(in_stage) if in_stage > 0 else None,
            "min_value": _number(self.min_value),
            "seen_within": _span(seen) if seen > 0 else None,
            "not_seen_for": _span(-seen) if seen < 0 else None,
            "first_channel": self.channel,
            "trait": self.trait if ":" in self.trait.strip(":") else None,
        }
        return {name: value for name, value in conditions.items() if value is not None and value != ""}

    def for_engine(self) -> dict[str, Any]:
        """Parameters of the engine's list."""
        sort = self.sort if self.sort in dict(SORTS) else "value"
        if sort == "entered" and not self.lifecycle:
            sort = "value"
        order = self.order if self.order in ("asc", "desc") else None
        return as_parameters(self.as_filter()) | {"q": self.q, "sort": sort, "order": order}


def as_parameters(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions as query parameters."""
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in conditions.items()}


def _days(text: str) -> float:
    """A number of days; 0: none."""
    value = _number(text)
    return value if value is not None and abs(value) < 36_500 else 0


def _span(days: float) -> str:
    return f"{int(days)}d" if days == int(days) else f"{max(1, round(days * 86_400))}s"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e15 else None


def asked_of(given: Mapping[str, Any]) -> Asked:
    """What a request's parameters ask for."""
    values = {field.name: str(given.get(field.name) or "").strip()[:400] for field in fields(Asked)}
    return Asked(**{name: value for name, value in values.items() if value})


async def listed(services: Services, asked: Asked, cursor: str | None) -> dict[str, Any]:
    """A page of customers, and what the filter bar offers."""
    lifecycles = await part(services.engine.get("/v1/lifecycles"))
    asked = asked.fitting(lifecycles.items) if lifecycles.ok else asked
    found = await parts(
        customers=services.engine.get("/v1/customers", **asked.for_engine(), limit=PAGE, cursor=cursor),
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


async def as_csv(services: Services, asked: Asked) -> AsyncIterator[str]:
    """Every customer that the filters let through, as CSV, a page at a time; the head comes with the first page."""
    lifecycles = await part(services.engine.get("/v1/lifecycles"))
    asked = asked.fitting(lifecycles.items) if lifecycles.ok else asked
    names = [one["name"] for one in lifecycles.items]
    head = csv_lines([[*CSV_HEAD, *(f"{name} {what}" for name in names for what in STAGE_COLUMNS)]])
    cursor = None
    while True:
        page = await services.engine.get("/v1/customers", **asked.for_engine(), limit=CSV_PAGE, cursor=cursor)
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
