"""``GET /v1/customers/{id}``: where a customer stands."""

import time
from typing import Any

from fastapi import APIRouter
from touchline_runtime.problems import Problem

from touchline_stage_engine.adapters.reads.standing import StandingReads
from touchline_stage_engine.entrypoints.api.answers import Customer, problems
from touchline_stage_engine.entrypoints.api.parameters import CustomerId, customer

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


def customers_router(reads: StandingReads) -> APIRouter:
    """The route of a customer's standing; to be added after those below ``/v1/customers/{id}/``."""
    router = APIRouter(tags=["customers"])

    @router.get(
        "/v1/customers/{customer_id:path}",
        summary="Where a customer stands",
        description="An alias leads to the customer it was merged into.",
        responses={
            200: {"content": {"application/json": {"example": _EXAMPLE}}},
            **problems(not_found="no touchpoint of them has been folded"),
        },
        response_model=Customer,
    )
    async def standing(customer_id: CustomerId) -> dict[str, Any]:
        found = await reads.standing(customer(customer_id), time.time_ns() // 1000)
        if found is None:
            raise Problem(404, f"no touchpoint of {customer_id!r} has been folded", type="not-found")
        return found

    return router
