"""Routes about one customer's history, about a touchpoint by its id, and about identity conflicts."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from touchline_runtime.http.parameters import refuse
from touchline_runtime.http.problems import Problem

from touchline_stage_engine.application.queries.ports import CustomerHistoryQueries, UnreadTouchpoints
from touchline_stage_engine.entrypoints.http.answers import AnyFact, Conflict, Page, Touchpoint, Whereabouts, problems
from touchline_stage_engine.entrypoints.http.parameters import DEFAULT, Cursor, CustomerId, Limit, customer, storable

NOT_FOUND = problems(not_found="the customer has no touchpoint")


def customer_history_router(queries: CustomerHistoryQueries, unread: UnreadTouchpoints) -> APIRouter:
    """``/v1/customers/{id}/touchpoints``, ``…/history``, ``/v1/touchpoints/{source}/{id}``, conflicts."""
    router = APIRouter(tags=["customers"])

    async def owner_of(customer_id: str) -> str:
        owner = await queries.owner_of(customer(customer_id))
        if owner is None:
            raise Problem(404, f"no touchpoint of {customer_id!r} has been folded", type="not-found")
        return owner

    @router.get(
        "/v1/customers/{customer_id:path}/touchpoints",
        summary="A customer's touchpoints, in the order of the fold",
        responses=NOT_FOUND,
        response_model=Page[Touchpoint],
    )
    async def touchpoints(customer_id: CustomerId, limit: Limit = DEFAULT, cursor: Cursor = None) -> dict[str, Any]:
        return (await queries.touchpoints(await owner_of(customer_id), limit, cursor)).to_json()

    @router.get(
        "/v1/customers/{customer_id:path}/history",
        summary="A customer's moves, oldest first",
        responses=NOT_FOUND,
        response_model=Page[AnyFact],
    )
    async def history(
        customer_id: CustomerId,
        lifecycle: Annotated[str | None, Query(max_length=200, description="only this lifecycle")] = None,
        facts: Annotated[Literal["moves", "all"], Query(description="`all`: also stalls and recoveries")] = "moves",
        limit: Limit = DEFAULT,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        if lifecycle is not None and lifecycle not in (known := await queries.lifecycles()):
            refuse("lifecycle", lifecycle, known)
        return (await queries.history(await owner_of(customer_id), lifecycle, facts == "all", limit, cursor)).to_json()

    @router.get(
        "/v1/touchpoints/{source}/{touchpoint_id:path}",
        summary="The status of a touchpoint",
        description="`accepted`, `folded`, `merged` or `refused`, and how many duplicates were received. A touchpoint "
        "that ingest did not accept is unknown.",
        responses=problems(not_found="the touchpoint is unknown"),
        response_model=Whereabouts,
    )
    async def touchpoint(
        source: Annotated[str, Path(description="the source's name", examples=["shop"])],
        touchpoint_id: Annotated[str, Path(description="the touchpoint's id", examples=["evt-1001"])],
    ) -> dict[str, Any]:
        named = (storable(source, "source"), storable(touchpoint_id, "touchpoint"))
        copies, outcomes = await queries.touchpoint(*named), await queries.outcomes(*named)
        answer: dict[str, Any] = {"source": source, "id": touchpoint_id}
        answer |= {f"{name}s": int(outcomes[name]["times"]) for name in ("duplicate", "conflict") if name in outcomes}
        if copies:
            return answer | _stored(copies)
        if (refused := outcomes.get("refused")) is not None:
            return answer | {
                "status": "refused",
                "reason": refused["reason"],
                "error": _explained(refused["reason"], refused["fields"]),
                "origin": refused["origin"],
            }
        if "erased" in outcomes:
            return answer | {"status": "refused", "reason": "erased"}
        waits = await unread.holds(*named)
        if waits:
            return answer | {"status": "accepted"}
        also = (
            " It may be among the records that are not read yet (see touchline_lag_records)." if waits is None else ""
        )
        raise Problem(
            404,
            f"the touchpoint {touchpoint_id!r} of {source!r} is unknown: it was not accepted, is an unreadable dead "
            f"letter (touchline-ingest dead-letters list), or was erased with its customer.{also}",
            type="not-found",
        )

    @router.get(
        "/v1/identity-conflicts",
        summary="Shared keys, and pairs of known customers whose link was refused",
        responses=problems(),
        response_model=Page[Conflict],
    )
    async def identity_conflicts(limit: Limit = DEFAULT, cursor: Cursor = None) -> dict[str, Any]:
        return (await queries.conflicts(limit, cursor)).to_json()

    return router


def _explained(reason: str, fields: str | None) -> str:
    """The description of a dead letter. It leaves out what the sender wrote, which may name an erased person."""
    what = f"wrong or missing: {fields}" if fields else f"it could not be used ({reason})"
    return f"{what}; the whole error is with the dead letter (touchline-ingest dead-letters list)"


def _stored(copies: list[dict[str, Any]]) -> dict[str, Any]:
    """The status of a stored touchpoint, under its own key or under the customer that it was moved to."""
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
