"""Pages for people: actions, deliveries, plays and what came of them."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from touchline_runtime.problems import Problem

from touchline_notifier.core.durations import say
from touchline_notifier.core.hold_out import compare
from touchline_notifier.core.play import Play
from touchline_notifier.core.ports import BadCursorError, Queries
from touchline_notifier.entrypoints.html import render

_PAGE = 100
Cursor = Annotated[str | None, Query()]


def pages_router(queries: Queries, plays: Mapping[str, Play]) -> APIRouter:
    """All pages."""
    router = APIRouter(default_response_class=HTMLResponse)

    @router.get("/")
    async def overview() -> str:
        return render(
            "overview.html",
            plays=plays,
            counts=await queries.outcomes(),
            endpoints=await queries.endpoint_states(),
        )

    @router.get("/actions")
    async def actions(
        customer_id: str | None = None, play: str | None = None, outcome: str | None = None, cursor: Cursor = None
    ) -> str:
        try:
            page = await queries.actions(
                customer_id=customer_id or None,
                play=play or None,
                outcome=outcome or None,
                limit=_PAGE,
                cursor=cursor,
            )
        except BadCursorError as error:
            raise Problem(400, str(error), type="bad-cursor") from None
        chosen = {"customer_id": customer_id or "", "play": play or "", "outcome": outcome or ""}
        return render("actions.html", page=page, chosen=chosen, plays=sorted(plays))

    @router.get("/actions/{action_id}")
    async def action(action_id: UUID) -> str:
        found = await queries.action(action_id)
        if found is None:
            raise Problem(404, f"there is no action {action_id}", type="unknown-action")
        return render("action.html", action=found)

    @router.get("/deliveries")
    async def deliveries(status: str | None = None, endpoint: str | None = None, cursor: Cursor = None) -> str:
        try:
            page = await queries.deliveries(
                status=status or None, endpoint=endpoint or None, limit=_PAGE, cursor=cursor
            )
        except BadCursorError as error:
            raise Problem(400, str(error), type="bad-cursor") from None
        chosen = {"status": status or "", "endpoint": endpoint or ""}
        return render("deliveries.html", page=page, chosen=chosen)

    @router.get("/plays/{name}")
    async def play(name: str) -> str:
        if name not in plays:
            raise Problem(404, f"there is no play {name!r} running", type="unknown-play")
        chosen = plays[name]
        groups = await queries.results(name, chosen.goal.within, None)
        return render(
            "play.html",
            play=chosen,
            within=say(chosen.goal.within),
            counts=(await queries.outcomes(name)).get(name, {"outcomes": {}, "reasons": {}}),
            measures={
                measure: (both["treated"], both["held_out"], compare(both["treated"], both["held_out"]))
                for measure, both in groups.items()
            },
        )

    return router
