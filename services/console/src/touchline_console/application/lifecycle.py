"""One lifecycle over all customers: its views, each with the charts and tables it shows."""

from dataclasses import dataclass
from typing import Any

from touchline_console.application.parts import Part, parts
from touchline_console.application.ports import Services
from touchline_console.application.titles import Titles
from touchline_console.core.charts import movement, statistics
from touchline_console.core.charts.common import Options
from touchline_console.core.charts.diagram import diagram
from touchline_console.core.period import Period

VIEWS = (
    ("movement", "Movement"),
    ("time", "Time in stage"),
    ("cohorts", "Cohorts"),
    ("drop-out", "Where they drop out"),
    ("effort", "Effort and listening"),
    ("stalled", "At risk"),
    ("definition", "Definition"),
)
_DAYS_SHOWN = 800


@dataclass(frozen=True)
class View:
    """What the filter bar asks for."""

    name: str
    period: Period
    channel: str = ""
    source: str = ""
    stage: str = ""
    compare: bool = False

    def filters(self) -> dict[str, Any]:
        """Parameters for the engine."""
        return {**self.period.parameters(), "channel": self.channel, "source": self.source}

    def before(self) -> dict[str, Any] | None:
        """The same for the period before; None where it is not wanted, or where there is none."""
        earlier = self.period.before if self.compare else None
        if earlier is None:
            return None
        return {**earlier.explicit(), "channel": self.channel, "source": self.source}

    def query(self, **changed: str) -> dict[str, str]:
        """Parameters of this page's address."""
        values = {
            "view": self.name,
            "days": "" if self.period.chosen == "custom" else self.period.chosen,
            "from": self.period.first,
            "to": self.period.last,
            "channel": self.channel,
            "source": self.source,
            "stage": self.stage,
            "compare": "1" if self.compare else "",
        } | changed
        return {name: value for name, value in values.items() if value}


async def lifecycle(services: Services, name: str, view: View) -> dict[str, Any]:
    """What the page of a lifecycle shows in one view.

    Raises:
        NotFound: no such lifecycle runs.
    """
    found = await services.engine.get(f"/v1/lifecycles/{name}")
    common = await parts(firsts=services.engine.get("/v1/first-touchpoints"))
    titles = Titles([found])
    show = _SHOWS.get(view.name, _movement)
    content = await show(services, name, view, titles, found)
    firsts = common["firsts"].items
    return {
        "lifecycle": found,
        "titles": titles,
        "view": view,
        "channels": sorted({first["channel"] for first in firsts}),
        "sources": sorted({first["source"] for first in firsts}),
        "charts": {},
        **content,
    }


async def _movement(services: Services, name: str, view: View, titles: Titles, about: Any) -> dict[str, Any]:
    path, filters, before = f"/v1/lifecycles/{name}", view.filters(), view.before()
    works = {
        "funnel": services.engine.get(f"{path}/funnel", **filters),
        "flows": services.engine.get(f"{path}/flows", **filters),
        "population": services.engine.get(f"{path}/population", **population_filters(view)),
    }
    if before is not None:
        works["funnel_before"] = services.engine.get(f"{path}/funnel", **before)
        works["flows_before"] = services.engine.get(f"{path}/flows", **before)
    found = await parts(**works)
    names = {stage: title for (_, stage), title in titles.stages.items()}
    charts: dict[str, Options | None] = {}
    if found["funnel"].ok:
        charts["funnel"] = movement.funnel(found["funnel"].get("stages"), _steps(found, "funnel_before"))
    if found["flows"].ok:
        charts["flows"] = movement.flows(found["flows"].items, names, titles.order(name))
    if found["population"].ok:
        stages = [(stage["title"], stage["customers"]) for stage in found["population"].get("stages")]
        charts["population"] = movement.population(found["population"].get("days"), stages)
    return {
        **found,
        "charts": charts,
        "flows_before": _moves_before(found.get("flows_before")),
        "reached_before": {step["stage"]: step for step in _steps(found, "funnel_before")} or None,
        "published": _published(found["funnel"]),
        "comparison_missing": _comparison_missing(found),
    }


def _moves_before(earlier: Part[Any] | None) -> dict[tuple[str, str, str], int] | None:
    """Flow → moves in the period before; None where there is no comparison: what is missing is not zero."""
    if earlier is None or not earlier.ok:
        return None
    return {(flow["from_stage"], flow["to_stage"], flow["move"]): flow["moves"] for flow in earlier.items}


def _comparison_missing(found: dict[str, Part[Any]]) -> dict[str, str] | None:
    """Why figures of the period before are missing; None where they are there, or were not asked for."""
    return next((part.missing for name, part in found.items() if name.endswith("_before") and not part.ok), None)


def _steps(found: dict[str, Part[Any]], name: str) -> list[Any]:
    """The stages of a funnel that may not have been asked for, or may be missing."""
    return (found[name].get("stages") or []) if name in found else []


def population_filters(view: View) -> dict[str, Any]:
    """The population's parameters: it needs a beginning, and shows some years at most."""
    parameters = view.filters()
    if parameters["since"] is None or (view.period.days or 0) > _DAYS_SHOWN:
        earliest = view.period.until.timestamp() - min(view.period.days or 365, _DAYS_SHOWN - 1) * 86_400
        parameters["since"] = (
            f"{view.period.until.fromtimestamp(earliest, view.period.until.tzinfo):%Y-%m-%dT00:00:00Z}"
        )
    return parameters


def _published(funnel: Part[Any]) -> list[tuple[str, float]]:
    rates = funnel.get("published_conversion") or {}
    return sorted(rates.items(), key=lambda pair: -pair[1])


async def _time(services: Services, name: str, view: View, titles: Titles, about: Any) -> dict[str, Any]:
    path = f"/v1/lifecycles/{name}/time-in-stage"
    works = {"times": services.engine.get(path, **view.filters())}
    before = view.before()
    if before is not None:
        works["times_before"] = services.engine.get(path, **before)
    found = await parts(**works)
    stages = found["times"].get("stages") or []
    charts = {
        stage["stage"]: statistics.survival(
            stage["curve"], None if stage["median_seconds"] is None else stage["median_seconds"] / 86_400
        )
        for stage in stages
        if stage["curve"]
    }
    earlier = {stage["stage"]: stage for stage in _steps(found, "times_before")}
    missing = _comparison_missing(found)
    return {**found, "charts": charts, "stages": stages, "earlier": earlier, "comparison_missing": missing}


async def _cohorts(services: Services, name: str, view: View, titles: Titles, about: Any) -> dict[str, Any]:
    path = f"/v1/lifecycles/{name}/cohorts"
    found = await parts(cohorts=services.engine.get(path, stage=view.stage, **view.filters()))
    rows = found["cohorts"].get("cohorts") or []
    months = max((len(row["shares"]) for row in rows), default=0)
    charts = {"cohorts": statistics.cohorts(rows, months) if rows else None}
    return {**found, "charts": charts, "rows": rows, "months": months, "stage_options": about["stages"]}


async def _drop_out(services: Services, name: str, view: View, titles: Titles, about: Any) -> dict[str, Any]:
    found = await parts(drop_out=services.engine.get(f"/v1/lifecycles/{name}/drop-out", **view.filters()))
    stages = found["drop_out"].get("stages") or []
    months = found["drop_out"].get("months") or []
    worst = max((stage for stage in stages if stage["reached"]), key=lambda stage: stage["lost"], default=None)
    charts: dict[str, Options | None] = {"lost": statistics.lost(stages) if stages else None}
    charts["months"] = statistics.losses_by_month(months, [(stage["stage"], stage["title"]) for stage in stages])
    return {
        **found,
        "charts": charts,
        "stages": stages,
        "worst": worst if worst and worst["lost"] else None,
        "since": statistics.peak_month(months, worst["stage"]) if worst else None,
        "month_rows": months,
    }


async def _effort(services: Services, name: str, view: View, titles: Titles, about: Any) -> dict[str, Any]:
    found = await parts(effort=services.engine.get(f"/v1/lifecycles/{name}/effort", **view.filters()))
    stages = found["effort"].get("stages") or []
    return {**found, "charts": {"effort": statistics.effort(stages) if stages else None}, "stages": stages}


async def _stalled(services: Services, name: str, view: View, titles: Titles, about: Any) -> dict[str, Any]:
    found = await parts(
        customers=services.engine.get("/v1/customers", lifecycle=name, stage=view.stage, at_risk="true", limit=100)
    )
    return {**found, "stage_options": [*about["stages"], *about["off_path"]]}


async def _definition(services: Services, name: str, view: View, titles: Titles, about: Any) -> dict[str, Any]:
    found = await parts(rules=services.engine.get(f"/v1/lifecycles/{name}/rules"))
    stages = found["rules"].get("stages") or []
    return {**found, "stages": stages, "charts": {"diagram": diagram(stages) if stages else None}}


_SHOWS = {
    "movement": _movement,
    "time": _time,
    "cohorts": _cohorts,
    "drop-out": _drop_out,
    "effort": _effort,
    "stalled": _stalled,
    "definition": _definition,
}
