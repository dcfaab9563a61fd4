"""``GET /v1/customers/{id}/export``: everything that the engine stores of a customer, as JSON or as a page."""

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from touchline_runtime.exports.first_item import with_first_item_read
from touchline_runtime.exports.json_object import items_of, json_object
from touchline_runtime.exports.pages import TEMPLATES, pretty
from touchline_runtime.http.problems import Problem

from touchline_stage_engine.application.queries.ports import (
    CustomerHistoryQueries,
    CustomerListQueries,
    CustomerStateQueries,
)
from touchline_stage_engine.application.queries.values import MAX_LIMIT
from touchline_stage_engine.entrypoints.http.answers import problems
from touchline_stage_engine.entrypoints.http.parameters import CustomerId, customer


def customer_export_router(
    states: CustomerStateQueries, history: CustomerHistoryQueries, summaries: CustomerListQueries
) -> APIRouter:
    """The route; add it before the one that ends in a customer's id."""
    router = APIRouter(tags=["customers"])
    environment = Environment(
        loader=ChoiceLoader(
            [
                PackageLoader("touchline_stage_engine.entrypoints.http.one_customer", "templates"),
                PackageLoader(*TEMPLATES),
            ]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        enable_async=True,
    )

    @router.get(
        "/v1/customers/{customer_id:path}/export",
        summary="Everything that is stored of a customer, for an access request",
        description="Stages, traits, aliases, every touchpoint, every move, stall and recovery. `format=html` is a "
        "page to read. The notifier has the rest: `GET /v1/profiles/{id}/export`.",
        responses={
            200: {"content": {"application/json": {}, "text/html": {}}},
            **problems(not_found="the customer has no touchpoint"),
        },
        response_class=StreamingResponse,
    )
    async def export(
        customer_id: CustomerId,
        format: Annotated[Literal["json", "html"], Query()] = "json",  # noqa: A002
    ) -> StreamingResponse:
        found = await states.current(customer(customer_id), time.time_ns() // 1000)
        if found is None:
            raise Problem(404, f"no touchpoint of {customer_id!r} has been folded", type="not-found")
        key = found["customer_id"]
        summary = (await summaries.summaries([key])).get(key)
        touchpoints = await with_first_item_read(items_of(lambda cursor: history.touchpoints(key, MAX_LIMIT, cursor)))
        facts = await with_first_item_read(items_of(lambda cursor: history.history(key, None, True, MAX_LIMIT, cursor)))
        about = {
            "customer_id": key,
            "aliases": found["aliases"],
            "touchpoint_count": found["touchpoints"],
            "last_touchpoint_at": found["last_touchpoint_at"],
            "stages": found["stages"],
            "summary": summary,
        }
        # A file to keep: opened from a disk, the page may have its own style.
        headers = {"Content-Disposition": f'attachment; filename="customer.{format}"'}
        if format == "json":
            body = json_object(about, {"touchpoints": touchpoints, "history": facts})
            return StreamingResponse(body, media_type="application/json", headers=headers)
        page = environment.get_template("export.html").generate_async(
            about=about, touchpoints=touchpoints, facts=facts, pretty=pretty
        )
        return StreamingResponse(page, media_type="text/html; charset=utf-8", headers=headers)

    return router
