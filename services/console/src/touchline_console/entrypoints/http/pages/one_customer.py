"""``/customers/{id}/…``: set a stage, suppress, erase, export. ``/erasures/{receipt}``: the progress of an erasure."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from touchline_console.application.changes import one_customer
from touchline_console.core.roles import OPERATOR
from touchline_console.entrypoints.http.pages.context import Pages, services
from touchline_console.entrypoints.http.rendering import path_of, query_of
from touchline_console.entrypoints.http.security import needs

Reason = Annotated[str, Form(min_length=1, max_length=500)]


def one_customer_router(pages: Pages) -> APIRouter:
    """Add it before the route of a customer's page, which matches every path below ``/customers``."""
    router = APIRouter(include_in_schema=False)
    renderer = pages.renderer

    @router.post("/customers/{customer_id:path}/stage")
    async def stage(
        request: Request, customer_id: str, where: Annotated[str, Form(max_length=400)], reason: Reason
    ) -> Response:
        needs(request, OPERATOR)
        lifecycle, _, name = where.partition("/")
        await one_customer.set_stage(services(request), customer_id, lifecycle, name, reason)
        return RedirectResponse(query_of(path_of("customers", customer_id), changed="stage"), 303)

    @router.post("/customers/{customer_id:path}/suppression")
    async def suppression(
        request: Request,
        customer_id: str,
        address: Annotated[str, Form(max_length=400)],
        reason: Reason,
        lift: Annotated[str, Form()] = "",
    ) -> Response:
        needs(request, OPERATOR)
        await one_customer.suppress(services(request), address, reason, lift=lift == "1")
        changed = "lifted" if lift == "1" else "suppression"
        return RedirectResponse(query_of(path_of("customers", customer_id), changed=changed), 303)

    @router.post("/customers/{customer_id:path}/erase")
    async def erase(
        request: Request, customer_id: str, reason: Reason, typed: Annotated[str, Form(max_length=4000)] = ""
    ) -> Response:
        needs(request, OPERATOR)
        if typed.strip() != customer_id:
            words = {
                "kind": "refused",
                "title": "Not erased",
                "detail": "The text that you typed is not the customer's id. Go back and type it as it is shown.",
            }
            return await renderer.page(request, "problem.html", status=422, **words)
        receipt = await one_customer.erase(services(request), customer_id, reason)
        return RedirectResponse(query_of(path_of("erasures", receipt), customer=customer_id), 303)

    @router.get("/erasures/{receipt}")
    async def erasure(request: Request, receipt: str, customer: str = "") -> HTMLResponse:
        found = await one_customer.erasure(services(request), receipt, customer)
        return await renderer.page(request, "erasure.html", receipt=receipt, customer=customer, **found)

    @router.get("/customers/{customer_id:path}/export.json")
    async def as_json(request: Request, customer_id: str) -> Response:
        found = await one_customer.export(services(request), customer_id)
        headers = {"Content-Disposition": 'attachment; filename="customer.json"'}
        return Response(orjson.dumps(found, option=orjson.OPT_INDENT_2), media_type="application/json", headers=headers)

    @router.get("/customers/{customer_id:path}/export.html")
    async def as_page(request: Request, customer_id: str) -> HTMLResponse:
        found = await one_customer.export(services(request), customer_id)
        response = renderer.part(request, "export.html", **found)
        response.headers["Content-Disposition"] = 'attachment; filename="customer.html"'
        return response

    return router
