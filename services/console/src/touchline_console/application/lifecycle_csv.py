"""The figures of a lifecycle's page as CSV, table by table."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from touchline_runtime.exports.csv_text import csv_lines

from touchline_console.application.lifecycle import View, population_filters
from touchline_console.application.ports import NotFound, Services

TABLES = ("funnel", "flows", "population", "time-in-stage", "cohorts", "drop-out", "losses", "effort")


async def table(services: Services, name: str, what: str, view: View) -> str:
    """One table as CSV, with a head.

    Raises:
        NotFound: there is no such table, or lifecycle.
    """
    if what not in TABLES:
        raise NotFound("console", f"there is no table {what!r}: {', '.join(TABLES)}")
    path = f"/v1/lifecycles/{name}/{'drop-out' if what == 'losses' else what}"
    filters = population_filters(view) if what == "population" else view.filters()
    if what == "cohorts":
        filters["stage"] = view.stage
    found = await services.engine.get(path, **filters)
    head, rows = _ROWS[what](found)
    return csv_lines([head, *rows])


def _columns(items: Iterable[dict[str, Any]], *names: str) -> tuple[Sequence[str], list[list[Any]]]:
    return names, [[item[name] for name in names] for item in items]


def _population(found: dict[str, Any]) -> tuple[Sequence[str], list[list[Any]]]:
    stages = found["stages"]
    days = zip(found["days"], *(stage["customers"] for stage in stages), strict=True)
    return ["day", *(stage["stage"] for stage in stages)], [list(day) for day in days]


def _time_in_stage(found: dict[str, Any]) -> tuple[Sequence[str], list[list[Any]]]:
    head = ["stage", "days", "share", "lower", "upper", "at_risk"]
    return head, [[stage["stage"], *point.values()] for stage in found["stages"] for point in stage["curve"]]


def _cohorts(found: dict[str, Any]) -> tuple[Sequence[str], list[list[Any]]]:
    rows = [
        [cohort["month"], cohort["size"], index, share]
        for cohort in found["cohorts"]
        for index, share in enumerate(cohort["shares"])
    ]
    return ["month", "size", "months_since", "share"], rows


_Table = tuple[Sequence[str], list[list[Any]]]
_ROWS: dict[str, Callable[[dict[str, Any]], _Table]] = {
    "funnel": lambda found: _columns(
        found["stages"], "stage", "title", "reached", "conversion_from_previous", "conversion_overall", "customers",
        "stalled", "median_seconds",
    ),
    "flows": lambda found: _columns(
        found["items"], "from_stage", "to_stage", "move", "moves", "customers", "median_seconds"
    ),
    "population": _population,
    "time-in-stage": _time_in_stage,
    "cohorts": _cohorts,
    "drop-out": lambda found: _columns(
        found["stages"], "stage", "title", "reached", "ended_here", "stalled", "left_back", "lost", "lost_share"
    ),
    "losses": lambda found: _columns(found["months"], "month", "stage", "arrived", "stalled", "back"),
    "effort": lambda found: _columns(
        found["stages"], "stage", "title", "customers", "outbound", "inbound", "feedback", "feedback_asked", "minutes",
        "listening_ratio",
    ),
}  # fmt: skip
