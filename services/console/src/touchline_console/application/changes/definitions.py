"""The editor of a lifecycle: its text, checks, comparison, simulation and publication."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from touchline_console.application.parts import Part, part, parts
from touchline_console.application.ports import NotFound, Rejected, Services
from touchline_console.application.titles import Titles
from touchline_console.core.charts.common import Options
from touchline_console.core.charts.diagram import diagram

_NEW = """\
lifecycle: {name}
version: 1
title: {title}
stages:
  - name: interested
    title: Interested
    stall: {{after: 14d}}
    rules:
      - {{when: [purchased], to: next, reason: the first purchase}}
  - name: customer
    title: Customer
    stall: {{after: 30d}}
"""


@dataclass(frozen=True)
class Draft:
    """What the form of the editor holds. ``base``: the version that it was made from; 0: none was in force."""

    text: str
    base: int
    comment: str = ""
    on_change: str = "pin"
    effective_from: str = ""

    def request(self) -> dict[str, Any]:
        """The body of a publication."""
        return {
            "definition": self.text,
            "base": self.base,
            "comment": self.comment,
            "on_change": self.on_change,
            "effective_from": self.effective_from or None,
        }


def _path(name: str, *steps: str) -> str:
    return "/".join(["/v1/lifecycles", quote(name, safe=""), *steps])


async def editor(services: Services, name: str, version: int | None) -> dict[str, Any]:
    """What the editor shows at first: the text in force, an earlier version's, or that of a new lifecycle."""
    engine = services.engine
    found = await part(engine.get(_path(name)))
    versions = await part(engine.get(_path(name, "versions"), limit=200))
    if isinstance(found.fault, NotFound):
        title = name.replace("-", " ").capitalize()
        text = _NEW.format(name=name, title=title)
        lifecycle: dict[str, Any] = {"name": name, "title": title, "version": 0, "managed_by": "api"}
    elif found.value is None:
        assert found.fault is not None
        raise found.fault
    else:
        lifecycle, text = found.value, found.value["definition"]
    if version is not None and version != lifecycle["version"]:
        text = (await engine.get(_path(name, "versions", str(version))))["definition"]
    draft = Draft(text, lifecycle["version"])
    return {"lifecycle": lifecycle, "versions": versions.items, "draft": draft, "from_version": version}


async def checked(services: Services, name: str, text: str) -> dict[str, Any]:
    """Errors of a text with their lines; where there are none, its diagram and what it changes."""
    found = await part(services.engine.send("POST", "/v1/lifecycles/check", {"definition": text}))
    compared: Part[Any] | None = None
    chart: Options | None = None
    if found.get("ok"):
        compared = await part(services.engine.send("POST", _path(name, "differences"), {"definition": text}))
        chart = diagram(found.get("stages"))
    return {"checked": found, "compared": compared, "diagram": chart}


async def publish(services: Services, name: str, draft: Draft) -> int:
    """Publish a draft; its version.

    Raises:
        Rejected: it is wrong, or another version is in force than its base.
    """
    published = await services.engine.send("POST", _path(name, "versions"), draft.request())
    return int(published["version"])


async def why_not(services: Services, name: str, draft: Draft, error: Rejected) -> dict[str, Any]:
    """What the editor shows after a refused publication: the text is kept, and compared with what is in force now."""
    shown = await editor(services, name, None)
    compared = await part(services.engine.send("POST", _path(name, "differences"), {"definition": draft.text}))
    return shown | {
        "draft": draft,
        "refused": error.detail,
        "conflict": error.status == 409,
        "compared": compared,
        "in_force": shown["lifecycle"]["version"],
    }


async def simulate(services: Services, name: str, draft: Draft) -> dict[str, Any]:
    """Start a simulation. The facts that each play would consider are counted."""
    plays = (await part(services.notifier.get("/v1/plays"))).items
    body = {
        "definition": draft.text,
        "on_change": draft.on_change,
        "effective_from": draft.effective_from or None,
        "plays": [{"play": play["play"], "when": _trigger(play["when"])} for play in plays],
    }
    try:
        started = await services.engine.send("POST", _path(name, "simulations"), body)
    except Rejected as error:
        return {"refused": error.detail}
    return await simulation(services, started["id"])


def _trigger(when: dict[str, Any]) -> dict[str, Any]:
    known = ("fact", "lifecycle", "stage", "from_stage", "move", "level")
    return {name: when[name] for name in known if when.get(name) not in (None, [])}


async def simulation(services: Services, number: str) -> dict[str, Any]:
    """A simulation's progress, and its result as the page shows it."""
    path = f"/v1/simulations/{quote(number, safe='')}"
    found = await parts(simulation=services.engine.get(path), lifecycles=services.engine.get("/v1/lifecycles"))
    if not found["simulation"].ok:
        return {"refused": (found["simulation"].missing or {}).get("detail", "")}
    value: dict[str, Any] = found["simulation"].value or {}
    result = value["result"]
    return {"simulation": value, "titles": Titles(found["lifecycles"].items), "rows": _rows(result) if result else None}


async def cancel(services: Services, number: str) -> None:
    """Cancel a simulation."""
    await services.engine.send("DELETE", f"/v1/simulations/{quote(number, safe='')}")


def _rows(result: dict[str, Any]) -> dict[str, Any]:
    """The tables of a result: stages now and then, stalls, and plays."""
    before, after = result["running"], result["candidate"]
    empty: dict[str, Any] = {"funnel": [], "stalls": [], "now_in": {}, "plays": {}, "stalled_now": []}
    before = before or empty
    reached_before = {step["stage"]: step["reached"] for step in before["funnel"]}
    reached_after = {step["stage"]: step["reached"] for step in after["funnel"]}
    stages = list(dict.fromkeys([*reached_after, *reached_before, *after["now_in"], *before["now_in"]]))
    return {
        "stages": [
            {
                "stage": stage,
                "reached_before": reached_before.get(stage),
                "reached_after": reached_after.get(stage),
                "in_before": before["now_in"].get(stage, 0),
                "in_after": after["now_in"].get(stage, 0),
            }
            for stage in stages
        ],
        "stalls": _pairs(before["stalls"], after["stalls"]),
        "stalled_now": _pairs(before["stalled_now"], after["stalled_now"]),
        "plays": [
            (play, before["plays"].get(play, 0), after["plays"].get(play, 0))
            for play in sorted({*before["plays"], *after["plays"]})
        ],
    }


def _pairs(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[tuple[str, int, int, int]]:
    """(stage, level, count now, count then)."""
    old = {(one["stage"], one["level"]): one["count"] for one in before}
    new = {(one["stage"], one["level"]): one["count"] for one in after}
    return [(*key, old.get(key, 0), new.get(key, 0)) for key in sorted({*old, *new})]
