"""Whatever part of a page is missing, and for whatever reason, the rest of the page is there."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from touchline_console.application import lifecycle, overview, people, plays, sources
from touchline_console.application.changes import audiences
from touchline_console.application.parts import explain
from touchline_console.application.ports import (
    Computing,
    NotFound,
    Rejected,
    Service,
    ServiceFault,
    Services,
    Unreachable,
)
from touchline_console.core.period import read_period

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ABOUT = {
    "name": "n", "title": "N", "version": 1, "cyclic": False, "stages": [{"name": "a", "title": "A"}], "off_path": [],
}  # fmt: skip
FAULTS = (
    Unreachable("engine", "away"),
    Computing("engine", "computing"),
    NotFound("engine", "unknown"),
    Rejected("engine", "no", 422),
)


class Failing(Service):
    """A service that answers what a page can't do without, and fails at everything else."""

    def __init__(self, name: str, fault: ServiceFault) -> None:
        self.name = name
        self._fault = fault

    async def get(self, path: str, **parameters: Any) -> Any:
        if path == "/v1/lifecycles/n":
            return ABOUT
        if path == "/v1/plays/p":
            return {"play": "p", "title": None, "hold_out": 0.1}
        raise self._fault

    async def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, seconds: float | None = None
    ) -> Any:
        raise self._fault

    async def events(self, path: str, **parameters: Any) -> AsyncIterator[tuple[str, Any]]:
        if self._fault:
            raise self._fault
        yield "", None


def services(fault: ServiceFault) -> Services:
    return Services(*(Failing(name, fault) for name in ("ingest", "engine", "notifier")))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("view", [name for name, _ in lifecycle.VIEWS])
@pytest.mark.parametrize("compare", [True, False])
def test_every_view_of_a_lifecycle(fault: ServiceFault, view: str, compare: bool) -> None:
    asked = lifecycle.View(view, read_period("30", None, None, NOW), compare=compare)
    found = asyncio.run(lifecycle.lifecycle(services(fault), "n", asked))
    assert found["lifecycle"] == ABOUT


class FailingBefore(Failing):
    """A service that fails at the figures of the period before alone."""

    async def get(self, path: str, **parameters: Any) -> Any:
        if parameters.get("until") == BEFORE["until"]:
            raise self._fault
        stage = {
            "stage": "a", "title": "A", "reached": 3, "customers": 3, "stalled": 0, "conversion_from_previous": None,
            "conversion_overall": 1.0, "median_seconds": None, "curve": [],
        }  # fmt: skip
        if path.endswith("/flows"):
            return {"items": [{"from_stage": None, "to_stage": "a", "move": "enter", "moves": 3}]}
        if path.endswith("/population"):
            return {"days": ["2026-11-25"], "stages": [{"stage": "a", "title": "A", "customers": [3]}]}
        return {"stages": [stage], "items": []} if path != "/v1/lifecycles/n" else ABOUT


COMPARED = read_period("30", None, None, NOW)
BEFORE = lifecycle.View("movement", COMPARED, compare=True).before() or {}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("view", ["movement", "time"])
def test_a_period_before_that_is_missing_is_said_and_never_shown_as_zero(fault: ServiceFault, view: str) -> None:
    asked = Services(*(FailingBefore(name, fault) for name in ("ingest", "engine", "notifier")))
    found = asyncio.run(lifecycle.lifecycle(asked, "n", lifecycle.View(view, COMPARED, compare=True)))
    assert found["comparison_missing"] == explain(fault)
    assert found.get("flows_before") is None
    assert found.get("reached_before") is None
    assert not found.get("earlier")
    # Without a comparison nothing is missing.
    found = asyncio.run(lifecycle.lifecycle(asked, "n", lifecycle.View(view, COMPARED)))
    assert found["comparison_missing"] is None


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_every_other_page(fault: ServiceFault) -> None:
    asked, period = services(fault), read_period("30", None, None, NOW)
    for work in (
        overview.overview(asked, period),
        overview.lifecycle_board(asked, "n"),
        overview.health_strip(asked),
        people.listed(asked, people.Asked(), None),
        audiences.audiences(asked, None),
        audiences.form(asked, audiences.AudienceDraft()),
        audiences.count(asked, audiences.AudienceDraft(asked=people.Asked(stage="buy"))),
        plays.plays(asked),
        plays.play(asked, "p", period),
        plays.actions(asked, {}, None),
        plays.deliveries(asked, {}, None),
        plays.endpoints(asked, 7, NOW),
        sources.sources(asked, NOW),
        sources.source(asked, "shop", None, NOW),
        sources.dead_letters(asked, None, None, 0),
        sources.operations(asked),
    ):
        asyncio.run(work)
