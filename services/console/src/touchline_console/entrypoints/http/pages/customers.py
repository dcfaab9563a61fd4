"""``/customers``, ``/customers.csv`` and ``/customers/{id}``."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from touchline_runtime.exports.first_item import with_first_item_read

from touchline_console.application import customer as one_customer
from touchline_console.application import people
from touchline_console.application.parts import part
from touchline_console.application.ports import NotFound
from touchline_console.core import words
from touchline_console.entrypoints.http.pages.context import Pages, services
from touchline_console.entrypoints.http.pages.editor import is_editor
from touchline_console.entrypoints.http.rendering import path_of


def customers_router(pages: Pages) -> APIRouter:
    """The list of customers, and a customer's page."""
    router = APIRouter(include_in_schema=False)

    @router.get("/customers")
    async def listed(request: Request, cursor: str | None = None) -> Response:
        asked = people.asked_of(request.query_params)
        found = await people.listed(services(request), asked, cursor)
        if asked.q and cursor is None and found["customers"].ok and not found["customers"].items:
            # An id that was merged into a customer, or one that is too new for the list.
            exact = await part(one_customer.exists(services(request), asked.q))
            if exact.value is not None:
                return RedirectResponse(path_of("customers", exact.value), 303)
        return await pages.renderer.page(
            request,
            "customers.html",
            cursor=cursor,
            choices=people.CHOICES,
            may_edit=is_editor(request),
            **found,
        )

    @router.get("/customers.csv")
    async def exported(request: Request) -> Response:
        asked = people.asked_of(request.query_params)
        rows = await with_first_item_read(people.as_csv(services(request), asked))
        kind = "-at-risk" if asked.state == "at_risk" else ""
        headers = {"Content-Disposition": f'attachment; filename="customers{kind}-{datetime.now(UTC):%Y-%m-%d}.csv"'}
        return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers=headers)

    @router.get("/customers/{customer_id:path}")
    async def one(request: Request, customer_id: str, lifecycle: str | None = None) -> HTMLResponse:
        try:
            found = await one_customer.customer(services(request), customer_id, pages.currency)
        except NotFound:
            return await pages.renderer.page(request, "problem.html", status=404, **words.no_customer(customer_id))
        stages = found["standing"]["stages"]
        chosen = lifecycle if lifecycle in stages else one_customer.most_telling(found)
        changed = words.CHANGED.get(request.query_params.get("changed", ""))
        return await pages.renderer.page(request, "customer.html", chosen=chosen, changed=changed, **found)

    return router
