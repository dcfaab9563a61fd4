"""Routes about value: the top customers, and the reading of one."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from touchline_runtime.problems import Problem
from touchline_schemas.times import from_micros, to_wire

from touchline_stage_engine.adapters.reads.value import MOST, ValueReads
from touchline_stage_engine.entrypoints.api.answers import Mind, Page, TopCustomer, problems
from touchline_stage_engine.entrypoints.api.parameters import CustomerId, customer


def value_router(reads: ValueReads) -> APIRouter:
    """``/v1/top-customers`` and ``/v1/customers/{id}/reading``; to be added before ``/v1/customers/{id}``."""
    router = APIRouter(tags=["customers"])

    @router.get(
        "/v1/top-customers",
        summary="The customers of the highest value, and the stage of each in every lifecycle",
        description="Value is the sum of what `purchased`, `renewed` and `upgraded` touchpoints say in "
        "`properties.value` (else `amount`, else `total`), less what `refunded` ones say. Amounts are added as they "
        "are: send one currency. Only numbers count. The order may be half a minute old.",
        responses=problems(),
        response_model=Page[TopCustomer],
    )
    async def top_customers(
        limit: Annotated[int, Query(ge=1, le=MOST, description="how many customers")] = 5,
    ) -> dict[str, Any]:
        return {"items": await reads.top(limit), "next": None}

    @router.get(
        "/v1/customers/{customer_id:path}/reading",
        summary="Why a customer buys: curiosity, habit or value, and how that was reached",
        description="From purchases and from what the customer said. Approval last (9–10 in a survey, a rating of 4 or "
        "5, a testimonial, a referral, an upgrade) after a purchase reads as value; three or more purchases at even "
        "intervals as habit; everything else as curiosity.",
        responses=problems(not_found="nobody has seen them"),
        response_model=Mind,
    )
    async def reading(customer_id: CustomerId) -> dict[str, Any]:
        found = await reads.reading(customer(customer_id))
        if found is None:
            raise Problem(404, f"no touchpoint of {customer_id!r} has been folded", type="not-found")
        who, mind = found
        return {
            "customer_id": who,
            "reading": mind.mind,
            "because": list(mind.because),
            "purchases": mind.purchases,
            "days_between_purchases": mind.days_between,
            "evenness": mind.evenness,
            "mood": mind.mood,
            "said_at": None if mind.said_at is None else to_wire(from_micros(mind.said_at)),
        }

    return router
