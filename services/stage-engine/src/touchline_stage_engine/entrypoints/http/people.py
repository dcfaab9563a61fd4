"""Routes: the list of customers, key figures, the latest facts, and explanations."""

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime
from touchline_runtime.answer_cache import AnswerCache
from touchline_runtime.http.parameters import refuse
from touchline_runtime.http.problems import Problem
from touchline_schemas.times import to_micros, to_wire

from touchline_stage_engine.application.queries.ports import (
    CustomerListQueries,
    ExplanationQueries,
    LifecycleQueries,
    OverviewQueries,
)
from touchline_stage_engine.core.audiences.customer_filter import SLIPPED_WITHIN, CustomerFilter
from touchline_stage_engine.entrypoints.http.analysis_answers import COMPUTING
from touchline_stage_engine.entrypoints.http.answers import Page, problems
from touchline_stage_engine.entrypoints.http.parameters import (
    DEFAULT,
    Cursor,
    CustomerId,
    Limit,
    Since,
    Span,
    Until,
    customer,
    micros_or_none,
    span_or_none,
    storable,
)
from touchline_stage_engine.entrypoints.http.people_answers import (
    Customers,
    CustomerSummary,
    Explanation,
    KeyFigures,
    RecentFact,
)

_SLIPPED = timedelta(microseconds=SLIPPED_WITHIN)
ACTIVE_WITHIN = timedelta(days=7)
Text = Annotated[str | None, Query(max_length=400)]
Instant = Annotated[AwareDatetime | None, Query(description="RFC 3339")]
_MOST_SUMMARIES = 200
_SPAN = "From `since` until `until` (default: the last 30 days)."


def _storable_or_none(text: str | None, what: str) -> str | None:
    return None if text is None else storable(text, what)


def people_router(
    customers: CustomerListQueries,
    overview: OverviewQueries,
    explanations: ExplanationQueries,
    lifecycles: LifecycleQueries,
    answers: AnswerCache,
) -> APIRouter:
    """``/v1/customers``, ``…/explanation``, ``/v1/key-figures``, ``/v1/stage-changes``."""
    router = APIRouter(tags=["customers"])

    async def check_names(lifecycle: str | None, stage: str | None) -> None:
        """Refuse a lifecycle that does not run, and an unknown stage."""
        running = [one.definition for one in await lifecycles.running()]
        if lifecycle is not None and lifecycle not in (names := [one.lifecycle for one in running]):
            refuse("lifecycle", lifecycle, names)
        if stage is not None:
            asked = [one for one in running if lifecycle in (None, one.lifecycle)]
            known = [name for one in asked for name in await lifecycles.stages(one)]
            if stage not in known:
                refuse("stage", stage, list(dict.fromkeys(known)))

    @router.get(
        "/v1/customers",
        summary="Customers: search, filter, sort, page",
        description="`q`: words that begin an id, an alias, an e-mail address, an external id or a word of the name. "
        "Stage filters hold together in one lifecycle: the one named, else any. `at_risk`: stalled, or the last move "
        "was backward in the last 90 days. `trait`: `name:value`, of what `identified` touchpoints say. "
        "`in_stage_for` and `not_seen_for`: at least this long; `entered_within` and `seen_within`: less than this "
        "long ago. Audiences are saved filters of the same fields. New touchpoints show after a few seconds.",
        responses=problems(not_found="a parameter holds control characters"),
        response_model=Customers,
    )
    async def listed(
        q: Annotated[str | None, Query(max_length=400, description="search")] = None,
        lifecycle: Text = None,
        stage: Text = None,
        stalled: bool | None = None,
        at_risk: bool | None = None,
        entered_since: Instant = None,
        entered_before: Instant = None,
        entered_within: Span = None,
        in_stage_for: Span = None,
        min_value: Annotated[float | None, Query(allow_inf_nan=False)] = None,
        max_value: Annotated[float | None, Query(allow_inf_nan=False)] = None,
        seen_since: Instant = None,
        seen_before: Instant = None,
        seen_within: Span = None,
        not_seen_for: Span = None,
        first_channel: Text = None,
        first_source: Text = None,
        trait: Annotated[str | None, Query(max_length=400, pattern=r"^[^:]+:.*$", description="name:value")] = None,
        sort: Annotated[
            Literal["value", "last_seen", "first_seen", "name", "id", "entered"],
            Query(description="`entered` needs `lifecycle`"),
        ] = "value",
        order: Literal["asc", "desc"] | None = None,
        limit: Limit = DEFAULT,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        if sort == "entered" and lifecycle is None:
            raise Problem(422, "sort=entered needs the parameter lifecycle", type="invalid-request")
        await check_names(lifecycle, stage)
        name, _, value = (trait or "").partition(":")
        wanted = CustomerFilter(
            q=_storable_or_none(q, "customer"),
            lifecycle=_storable_or_none(lifecycle, "lifecycle"),
            stage=_storable_or_none(stage, "stage"),
            stalled=stalled,
            at_risk=at_risk,
            entered_since=micros_or_none(entered_since),
            entered_before=micros_or_none(entered_before),
            entered_within=span_or_none(entered_within),
            in_stage_for=span_or_none(in_stage_for),
            min_value=min_value,
            max_value=max_value,
            seen_since=micros_or_none(seen_since),
            seen_before=micros_or_none(seen_before),
            seen_within=span_or_none(seen_within),
            not_seen_for=span_or_none(not_seen_for),
            first_channel=_storable_or_none(first_channel, "channel"),
            first_source=_storable_or_none(first_source, "source"),
            trait=_storable_or_none(name or None, "trait"),
            trait_value=storable(value, "trait"),
            now=time.time_ns() // 1000,
        )
        page, total, exact = await customers.listed(
            wanted, sort, None if order is None else order == "desc", limit, cursor
        )
        return page.to_json() | {"total": total, "total_is_exact": exact}

    @router.get(
        "/v1/customer-summaries",
        summary="Names, values and first touchpoints of some customers",
        description="Of the customers named by `id` (repeat it) that have one, in that order. An alias has none.",
        responses=problems(not_found="an id holds control characters"),
        response_model=Page[CustomerSummary],
    )
    async def summaries(
        ids: Annotated[list[str], Query(alias="id", min_length=1, max_length=_MOST_SUMMARIES)],
    ) -> dict[str, Any]:
        keys = list(dict.fromkeys(customer(one) for one in ids))
        found = await customers.summaries(keys)
        return {"items": [found[key] for key in keys if key in found], "next": None}

    @router.get(
        "/v1/key-figures",
        summary="Key figures over all lifecycles",
        description=f"{_SPAN} `active`: customers with an activity in the last 7 days. `value_at_risk`: the past value "
        "of customers who are stalled, or whose last move was backward in the last 90 days.",
        responses={**problems(), **COMPUTING},
        response_model=KeyFigures,
    )
    async def key_figures(since: Since = None, until: Until = None) -> dict[str, Any]:
        now = datetime.now(UTC)
        end = until or now
        start = since or end - timedelta(days=30)
        if start >= end:
            raise Problem(422, "since must be before until", type="invalid-request")

        async def compute() -> dict[str, Any]:
            return await overview.figures(
                to_micros(start),
                to_micros(end),
                to_micros(now),
                to_micros(now - ACTIVE_WITHIN),
                to_micros(now - _SLIPPED),
            )

        # "Until now" is rounded to the minute, so that all requests share one answer.
        key = (since and to_micros(since) // 60_000_000, until and to_micros(until) // 60_000_000)
        found, at = await answers.get(("key_figures", *key), compute)
        return {
            **found,
            "since": to_wire(start),
            "until": to_wire(end),
            "as_of": to_wire(datetime.fromtimestamp(at, UTC)),
        }

    @router.get(
        "/v1/stage-changes",
        summary="The latest moves, stalls and recoveries, the newest first",
        responses=problems(not_found="a parameter holds control characters"),
        response_model=Page[RecentFact],
    )
    async def recent(
        lifecycle: Text = None, limit: Annotated[int, Query(ge=1, le=200, description="items")] = 30
    ) -> dict[str, Any]:
        await check_names(lifecycle, None)
        return {"items": await overview.recent(lifecycle, time.time_ns() // 1000, limit), "next": None}

    @router.get(
        "/v1/customers/{customer_id:path}/explanation",
        summary="Why a customer is in a stage",
        description="By lifecycle: the last move with the rule behind it and the touchpoints that met it, what each "
        "open rule still needs, and the next timers.",
        responses=problems(not_found="the customer has no touchpoint"),
        response_model=Explanation,
    )
    async def explanation(customer_id: CustomerId) -> dict[str, Any]:
        found = await explanations.explained(customer(customer_id), time.time_ns() // 1000)
        if found is None:
            raise Problem(404, f"no touchpoint of {customer_id!r} has been folded", type="not-found")
        return found

    @router.get(
        "/v1/customers/{customer_id:path}/summary",
        summary="Name, value and first touchpoint of a customer",
        responses=problems(not_found="the customer has no summary yet"),
        response_model=CustomerSummary,
    )
    async def summary(customer_id: CustomerId) -> dict[str, Any]:
        key = customer(customer_id)
        found = await customers.summaries([key])
        if key not in found:
            raise Problem(404, f"there is no summary of {customer_id!r} yet", type="not-found")
        return found[key]

    return router
