"""Routes about one customer's past: touchpoints, history, a touchpoint's whereabouts, refused links."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from touchline_runtime.problems import Problem

from touchline_stage_engine.adapters.reads.customers import CustomerReads
from touchline_stage_engine.adapters.reads.unread import Unread
from touchline_stage_engine.entrypoints.api.answers import Conflict, FactTold, Page, Touchpoint, Whereabouts, problems
from touchline_stage_engine.entrypoints.api.parameters import DEFAULT, Cursor, CustomerId, Limit, customer, storable

NOT_FOUND = problems(not_found="nobody has seen them")


def customer_reads_router(reads: CustomerReads, unread: Unread) -> APIRouter:
    """``/v1/customers/{id}/touchpoints``, ``…/history``, ``/v1/touchpoints/{source}/{id}``, conflicts."""
    router = APIRouter(tags=["customers"])

    async def who(customer_id: str) -> str:
        owner = await reads.who(customer(customer_id))
        if owner is None:
            raise Problem(404, f"no touchpoint of {customer_id!r} has been folded", type="not-found")
        return owner

    @router.get(
        "/v1/customers/{customer_id:path}/touchpoints",
        summary="A customer's touchpoints, in the order they are folded",
        responses=NOT_FOUND,
        response_model=Page[Touchpoint],
    )
    async def touchpoints(customer_id: CustomerId, limit: Limit = DEFAULT, cursor: Cursor = None) -> dict[str, Any]:
        return (await reads.touchpoints(await who(customer_id), limit, cursor)).to_json()

    @router.get(
        "/v1/customers/{customer_id:path}/history",
        summary="A customer's moves: the canonical fold, oldest first",
        responses=NOT_FOUND,
        response_model=Page[FactTold],
    )
    async def history(
        customer_id: CustomerId,
        lifecycle: Annotated[str | None, Query(max_length=200, description="of this lifecycle alone")] = None,
        facts: Annotated[Literal["moves", "all"], Query(description="`all`: stalls and recoveries too")] = "moves",
        limit: Limit = DEFAULT,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        if lifecycle is not None:
            storable(lifecycle, "lifecycle")
        return (await reads.history(await who(customer_id), lifecycle, facts == "all", limit, cursor)).to_json()

    @router.get(
        "/v1/touchpoints/{source}/{touchpoint_id:path}",
        summary="What became of a touchpoint",
        description="`accepted`, `folded`, `merged` or `refused`, and how often it came again. One that ingest did not "
        "accept is unknown here.",
        responses=problems(not_found="nobody knows it"),
        response_model=Whereabouts,
    )
    async def touchpoint(
        source: Annotated[str, Path(description="the source's name", examples=["shop"])],
        touchpoint_id: Annotated[str, Path(description="the touchpoint's id", examples=["evt-1001"])],
    ) -> dict[str, Any]:
        named = (storable(source, "source"), storable(touchpoint_id, "touchpoint"))
        copies, fates = await reads.touchpoint(*named), await reads.fates(*named)
        told: dict[str, Any] = {"source": source, "id": touchpoint_id}
        told |= {f"{fate}s": fates[fate]["times"] for fate in ("duplicate", "conflict") if fate in fates}
        if copies:
            return told | _stored(copies)
        if (refused := fates.get("refused")) is not None:
            why = {name: refused[name] for name in ("reason", "error", "origin")}
            return told | {"status": "refused"} | why
        if "erased" in fates:
            return told | {"status": "refused", "reason": "erased"}
        waits = await unread.holds(*named)
        if waits:
            return told | {"status": "accepted"}
        also = (
            " It may be among the records that are not read yet (see touchline_lag_records)." if waits is None else ""
        )
        raise Problem(
            404,
            f"nobody knows a touchpoint {touchpoint_id!r} of {source!r}: it was not accepted, could not be understood "
            f"at all (touchline-ingest dead-letters list), or was erased with its customer.{also}",
            type="not-found",
        )

    @router.get(
        "/v1/identity-conflicts",
        summary="Known customers that a link would have joined, one row a pair",
        responses=problems(),
        response_model=Page[Conflict],
    )
    async def identity_conflicts(limit: Limit = DEFAULT, cursor: Cursor = None) -> dict[str, Any]:
        return (await reads.conflicts(limit, cursor)).to_json()

    return router


def _stored(copies: list[dict[str, Any]]) -> dict[str, Any]:
    """Of a touchpoint that is stored, under its own key or under the customer it was handed over to."""
    first = copies[0]
    return {
        "status": "merged" if first["merged_into"] else "folded",
        "customer_id": first["merged_into"] or first["customer_id"],
        "merged_into": first["merged_into"],
        "original_key": first["original_key"] or first["customer_id"],
        "type": first["type"],
        "channel": first["channel"],
        "occurred_at": first["occurred_at"],
        "received_at": first["received_at"],
        "customers": sorted({copy["merged_into"] or copy["customer_id"] for copy in copies}),
    }
