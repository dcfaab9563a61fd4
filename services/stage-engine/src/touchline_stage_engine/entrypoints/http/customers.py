"""``GET /v1/customers/{id}``: the current stages of a customer."""

import time
from typing import Any

from fastapi import APIRouter
from touchline_runtime.http.problems import Problem

from touchline_stage_engine.application.queries.ports import CustomerStateQueries
from touchline_stage_engine.entrypoints.http.answers import Customer, problems
from touchline_stage_engine.entrypoints.http.parameters import CustomerId, customer

_EXAMPLE = {
    "customer_id": "c-17",
    "aliases": ["anon:a1b2"],
    "touchpoints": 12,
    "last_touchpoint_at": "2026-03-01T12:00:00Z",
    "stages": {
        "service-cycle": {
            "stage": "nurture",
            "entered_at": "2026-02-11T09:30:00Z",
            "sequence": 3,
            "version": 1,
            "stalled_level": 0,
            "due_at": "2026-03-15T12:00:00Z",
        }
    },
}


def customer_state_router(queries: CustomerStateQueries) -> APIRouter:
    """The route of a customer's stages; add it after the routes below ``/v1/customers/{id}/``."""
    router = APIRouter(tags=["customers"])

    @router.get(
        "/v1/customers/{customer_id:path}",
        summary="The current stages of a customer",
        description="An alias is resolved to the customer that it was merged into.",
        responses={
            200: {"content": {"application/json": {"example": _EXAMPLE}}},
            **problems(not_found="the customer has no touchpoint"),
        },
        response_model=Customer,
    )
    async def current(customer_id: CustomerId) -> dict[str, Any]:
        found = await queries.current(customer(customer_id), time.time_ns() // 1000)
        if found is None:
            raise Problem(404, f"no touchpoint of {customer_id!r} has been folded", type="not-found")
        return found

    return router
