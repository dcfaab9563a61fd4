"""Routes about customer value: the top customers, and the buying motive of a customer."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from touchline_runtime.http.problems import Problem
from touchline_schemas.times import from_micros, to_wire

from touchline_stage_engine.application.queries.ports import ValueQueries
from touchline_stage_engine.application.queries.values import MAX_TOP_CUSTOMERS
from touchline_stage_engine.entrypoints.http.answers import Mind, Page, TopCustomer, problems
from touchline_stage_engine.entrypoints.http.parameters import CustomerId, customer


def value_router(queries: ValueQueries) -> APIRouter:
    """``/v1/top-customers`` and ``/v1/customers/{id}/reading``; to be added before ``/v1/customers/{id}``."""
    router = APIRouter(tags=["customers"])

    @router.get(
        "/v1/top-customers",
        summary="The customers of the highest value, with their stage in every lifecycle",
        description="Value is the sum of `properties.value` (else `amount`, else `total`) of `purchased`, `renewed` "
        "and `upgraded` touchpoints, minus that of `refunded` touchpoints, whatever its sign. Amounts are added "
        "without conversion: send one currency. Only numbers count. New touchpoints show after a few seconds.",
        responses=problems(),
        response_model=Page[TopCustomer],
    )
    async def top_customers(
        limit: Annotated[int, Query(ge=1, le=MAX_TOP_CUSTOMERS, description="number of customers")] = 5,
    ) -> dict[str, Any]:
        return {"items": await queries.top(limit), "next": None}

    @router.get(
        "/v1/customers/{customer_id:path}/reading",
        summary="Why a customer buys: curiosity, habit or value, with the reasons",
        description="Derived from purchases and feedback. Value: a purchase, and the latest feedback is approval (9–10 "
        "in a survey, a rating of 4 or 5, a testimonial, a referral, an upgrade). Habit: three or more purchases at "
        "even intervals. Curiosity: everything else.",
        responses=problems(not_found="the customer has no touchpoint"),
        response_model=Mind,
    )
    async def reading(customer_id: CustomerId) -> dict[str, Any]:
        found = await queries.motive(customer(customer_id))
        if found is None:
            raise Problem(404, f"no touchpoint of {customer_id!r} has been folded", type="not-found")
        owner, analysis = found
        return {
            "customer_id": owner,
            "reading": analysis.motive,
            "because": list(analysis.because),
            "purchases": analysis.purchases,
            "days_between_purchases": analysis.days_between,
            "evenness": analysis.evenness,
            "mood": analysis.mood,
            "said_at": None if analysis.said_at is None else to_wire(from_micros(analysis.said_at)),
        }

    return router
