"""Routes that change one customer: set a stage, erase."""

import time
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from touchline_runtime.audit.routes import actor_of
from touchline_runtime.http.parameters import WITHOUT_NUL, refuse
from touchline_runtime.http.problems import Problem
from touchline_schemas.times import from_micros, to_wire
from touchline_schemas.touchpoint import MAX_KEY

from touchline_stage_engine.application.customer_commands import SOURCE, CustomerCommands
from touchline_stage_engine.application.queries.ports import CustomerStateQueries, LifecycleQueries
from touchline_stage_engine.entrypoints.http.answers import Time, problems
from touchline_stage_engine.entrypoints.http.parameters import CustomerId, customer

_NOT_FOUND = problems(not_found="the customer has no touchpoint")
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class StageRequest(BaseModel):
    """Where to move a customer, and why."""

    model_config = ConfigDict(extra="forbid")

    lifecycle: Text
    stage: Text
    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]


class StageRequested(BaseModel):
    """The touchpoint that moves the customer; ``GET /v1/touchpoints/{source}/{id}`` says when it is folded."""

    source: str
    id: str


class ErasureRequested(BaseModel):
    """The receipt of an erasure; ``GET /v1/erasures/{receipt}`` has its progress."""

    receipt: UUID


class Erasure(BaseModel):
    """How far an erasure is. `removed`: table → rows. An unknown receipt looks like one that has not begun."""

    receipt: UUID
    complete: bool
    keys: int
    erased_at: Time | None
    removed: dict[str, int]


def customer_changes_router(
    commands: CustomerCommands, states: CustomerStateQueries, lifecycles: LifecycleQueries
) -> APIRouter:
    """``POST …/stage``, ``DELETE /v1/customers/{id}``, ``GET /v1/erasures/{receipt}``."""
    router = APIRouter(tags=["customers"])

    @router.post(
        "/v1/customers/{customer_id:path}/stage",
        summary="Set a customer's stage by hand",
        description="Writes a `stage_set` touchpoint, which is folded like every other one.",
        status_code=202,
        responses=_NOT_FOUND,
        response_model=StageRequested,
    )
    async def set_stage(customer_id: CustomerId, body: StageRequest, request: Request) -> dict[str, Any]:
        now = time.time_ns() // 1000
        found = await states.current(customer(customer_id), now)
        if found is None:
            raise Problem(404, f"no touchpoint of {customer_id!r} has been folded", type="not-found")
        running = await lifecycles.running(body.lifecycle)
        if not running:
            refuse("lifecycle", body.lifecycle, [one.definition.lifecycle for one in await lifecycles.running()])
        if body.stage not in (known := await lifecycles.stages(running[0].definition)):
            refuse("stage", body.stage, known)
        stage = found["stages"].get(body.lifecycle)
        before = None if stage is None else stage["stage"]
        key = found["customer_id"]
        if len(key) > MAX_KEY:
            # The touchpoint would name it as customer_id.
            raise Problem(
                422, f"a key of more than {MAX_KEY} characters cannot be moved by hand: link a customer id to it first",
                type="invalid-request",
            )  # fmt: skip
        made = await commands.set_stage(key, body.lifecycle, before, body.stage, body.reason, actor_of(request), now)
        return {"source": SOURCE, "id": made}

    @router.delete(
        "/v1/customers/{customer_id:path}",
        summary="Erase a customer: every row and every alias",
        description="The owner of the customer's partition carries it out, and drops touchpoints that occurred before. "
        "An id without touchpoints is accepted too: some may wait to be read.",
        status_code=202,
        responses=problems(not_found="the id has control characters"),
        response_model=ErasureRequested,
    )
    async def erase(
        customer_id: CustomerId,
        request: Request,
        reason: Annotated[str | None, Query(max_length=500), WITHOUT_NUL] = None,
    ) -> dict[str, Any]:
        now = time.time_ns() // 1000
        return {"receipt": await commands.erase(customer(customer_id), reason, actor_of(request), now)}

    @router.get(
        "/v1/erasures/{receipt}",
        summary="How far an erasure is",
        responses=problems(),
        response_model=Erasure,
    )
    async def erasure(receipt: Annotated[UUID, Path(description="of the request to erase")]) -> dict[str, Any]:
        found = await commands.progress(receipt)
        return {
            "receipt": receipt,
            "complete": found.complete,
            "keys": found.keys,
            "erased_at": None if found.erased_at is None else to_wire(from_micros(found.erased_at)),
            "removed": found.removed,
        }

    return router
