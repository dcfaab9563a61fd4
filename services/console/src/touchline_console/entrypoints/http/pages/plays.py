"""``/plays``, ``/actions``, ``/deliveries``, ``/endpoints``."""

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from touchline_console.application import plays
from touchline_console.core import words
from touchline_console.core.period import CHOICES, read_period
from touchline_console.core.roles import OPERATOR
from touchline_console.entrypoints.http.pages.context import Pages, given, services
from touchline_console.entrypoints.http.rendering import path_of
from touchline_console.entrypoints.http.security import needs


def plays_router(pages: Pages) -> APIRouter:
    """Pages about what the notifier does."""
    router = APIRouter(include_in_schema=False)
    page = pages.renderer.page

    @router.get("/plays")
    async def listed(request: Request) -> HTMLResponse:
        return await page(request, "plays.html", **await plays.plays(services(request)))

    @router.get("/plays/{name}")
    async def one(request: Request, name: str, days: str | None = None) -> HTMLResponse:
        period = read_period(days, None, None, datetime.now(UTC), usual="all")
        found = await plays.play(services(request), name, period)
        return await page(request, "play.html", period=period, periods=CHOICES, **found)

    @router.get("/actions")
    async def actions(
        request: Request,
        customer_id: str | None = None,
        play: str | None = None,
        outcome: str | None = None,
        reason: str | None = None,
        cursor: str | None = None,
    ) -> HTMLResponse:
        filters = {
            "customer_id": given(customer_id),
            "play": given(play),
            "outcome": outcome if outcome in words.OUTCOMES else None,
            "reason": given(reason),
        }
        found = await plays.actions(services(request), filters, cursor)
        return await page(request, "actions.html", filters=filters, outcomes=words.OUTCOMES, cursor=cursor, **found)

    @router.get("/actions/{action_id}")
    async def action(request: Request, action_id: str) -> HTMLResponse:
        return await page(request, "action.html", **await plays.action(services(request), action_id))

    @router.get("/deliveries")
    async def deliveries(
        request: Request,
        customer_id: str | None = None,
        status: str | None = None,
        endpoint: str | None = None,
        cursor: str | None = None,
    ) -> HTMLResponse:
        filters = {
            "customer_id": given(customer_id),
            "status": status if status in words.STATUSES else None,
            "endpoint": given(endpoint),
        }
        found = await plays.deliveries(services(request), filters, cursor)
        return await page(request, "deliveries.html", filters=filters, statuses=words.STATUSES, cursor=cursor, **found)

    @router.get("/deliveries/{delivery_id}")
    async def delivery(request: Request, delivery_id: str) -> HTMLResponse:
        return await page(request, "delivery.html", **await plays.delivery(services(request), delivery_id))

    @router.post("/deliveries/{delivery_id}/replay")
    async def replay(request: Request, delivery_id: str) -> Response:
        needs(request, OPERATOR)
        await services(request).notifier.send("POST", f"/v1/deliveries/{quote(delivery_id, safe='')}/replay")
        return RedirectResponse(path_of("deliveries", delivery_id), 303)

    @router.get("/endpoints")
    async def endpoints(request: Request, days: str = "7") -> HTMLResponse:
        chosen = int(days) if days in ("1", "7", "30") else 7
        found = await plays.endpoints(services(request), chosen, datetime.now(UTC))
        return await page(request, "endpoints.html", days=chosen, **found)

    @router.post("/endpoints/{name}/enable")
    async def enable(request: Request, name: str) -> Response:
        needs(request, OPERATOR)
        await services(request).notifier.send("POST", f"/v1/endpoints/{quote(name, safe='')}/enable")
        return RedirectResponse("/endpoints", 303)

    @router.post("/sending")
    async def sending(
        request: Request, on: Annotated[str, Form()], reason: Annotated[str, Form(max_length=300)] = ""
    ) -> Response:
        needs(request, OPERATOR)
        wanted = {"sending": on == "1", "reason": given(reason)}
        await services(request).notifier.send("PUT", "/v1/sending", wanted)
        return RedirectResponse("/operations", 303)

    return router
