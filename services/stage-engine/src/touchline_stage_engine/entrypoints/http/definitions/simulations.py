"""Routes that simulate a lifecycle definition over the stored history."""

import time
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from touchline_runtime.audit.routes import actor_of
from touchline_runtime.http.problems import Problem
from touchline_runtime.publishing.answers import faulty
from touchline_runtime.yaml.positions import Fault, FaultyDocumentError

from touchline_stage_engine.application.simulations import SimulationOrder, SimulationProcesses, SimulationStore
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.entrypoints.http.answers import Page, problems
from touchline_stage_engine.entrypoints.http.definitions.answers import (
    SimulatedCustomer,
    Simulation,
    SimulationAsked,
    SimulationStarted,
)
from touchline_stage_engine.entrypoints.http.parameters import DEFAULT, Cursor, LifecycleName, Limit, storable

AT_ONCE = 2
NOT_FOUND = problems(not_found="no such simulation")
SimulationId = Annotated[UUID, Path(description="id of a simulation")]
Stage = Annotated[str | None, Query(max_length=200, description="stage; empty: no stage")]


def simulations_router(store: SimulationStore, processes: SimulationProcesses) -> APIRouter:
    """``/v1/lifecycles/{name}/simulations`` and ``/v1/simulations/{id}``."""
    router = APIRouter(tags=["definitions"])

    @router.post(
        "/v1/lifecycles/{name}/simulations",
        summary="Simulate a definition over the stored history",
        description="A process of its own folds every customer's touchpoints under the definition, as if it had been "
        "in force from the beginning, and under the versions in force. Nothing is published or changed.",
        status_code=202,
        responses={**problems(), 429: {"description": f"{AT_ONCE} simulations run already"}},
        response_model=SimulationStarted,
    )
    async def start(name: LifecycleName, body: SimulationAsked, request: Request) -> Response:
        try:
            definition = read_definition(body.definition, "")
            if definition.lifecycle != storable(name, "lifecycle"):
                instead = f"write {name}, or simulate it there"
                raise FaultyDocumentError([Fault("", 1, "lifecycle", f"is {definition.lifecycle}", instead)])
        except FaultyDocumentError as error:
            raise faulty(error) from None
        if await store.running() >= AT_ONCE:
            raise Problem(
                429, f"{AT_ONCE} simulations run already: cancel one, or wait", type="too-many-simulations",
                headers={"Retry-After": "10"},
            )  # fmt: skip
        order = SimulationOrder(
            name, body.definition, body.on_change, body.effective_from, time.time_ns() // 1000,
            [(play.play, play.when) for play in body.plays],
        )  # fmt: skip
        simulation = await store.add(order, actor_of(request).name)
        await processes.start(simulation)
        return JSONResponse({"id": str(simulation)}, 202, {"Location": f"/v1/simulations/{simulation}"})

    async def _found(simulation: UUID) -> dict[str, Any]:
        found = await store.find(simulation)
        if found is None:
            raise Problem(404, f"there is no simulation {simulation}; the last 50 are kept", type="not-found")
        return found

    @router.get(
        "/v1/simulations/{simulation}",
        summary="A simulation's progress and result",
        responses=NOT_FOUND,
        response_model=Simulation,
    )
    async def simulation(simulation: SimulationId) -> dict[str, Any]:
        return await _found(simulation)

    @router.get(
        "/v1/simulations/{simulation}/changes",
        summary="The customers who would be in another stage",
        responses=NOT_FOUND,
        response_model=Page[SimulatedCustomer],
    )
    async def changes(
        simulation: SimulationId,
        running: Stage = None,
        candidate: Stage = None,
        limit: Limit = DEFAULT,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        await _found(simulation)
        for text in (running, candidate, cursor):
            storable(text or "", "stage")
        found = await store.changes(simulation, running, candidate, cursor or "", limit + 1)
        items = [change._asdict() for change in found[:limit]]
        return {"items": items, "next": items[-1]["customer_id"] if len(found) > limit else None}

    @router.delete(
        "/v1/simulations/{simulation}",
        summary="Cancel a simulation",
        responses=NOT_FOUND,
        response_model=Simulation,
    )
    async def cancel(simulation: SimulationId) -> dict[str, Any]:
        await _found(simulation)
        await store.cancel(simulation)
        processes.stop(simulation)
        return await _found(simulation)

    return router
