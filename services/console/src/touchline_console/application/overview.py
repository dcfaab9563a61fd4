"""The overview: key figures, health, a board for each lifecycle, who is worth saving first, what happened last."""

import asyncio
from typing import Any

from touchline_console.application.parts import Part, part, parts
from touchline_console.application.ports import ServiceFault, Services
from touchline_console.application.titles import Titles
from touchline_console.core.board import Column, board
from touchline_console.core.happenings import happening
from touchline_console.core.health import Signal, health
from touchline_console.core.period import Period

TREND_DAYS = 30


async def lifecycle_board(services: Services, name: str) -> Part[list[Column]]:
    """The columns of one lifecycle's board. Trends and medians may be missing, the rest not."""

    async def columns() -> list[Column]:
        path = f"/v1/lifecycles/{name}"
        funnel, flows = await asyncio.gather(
            services.engine.get(f"{path}/funnel"), services.engine.get(f"{path}/flows")
        )
        try:
            people = await services.engine.get(f"{path}/population")
            trends = {stage["stage"]: stage["customers"][-TREND_DAYS:] for stage in people["stages"]}
        except ServiceFault:
            trends = {}
        medians = {step["stage"]: step["median_seconds"] for step in funnel["stages"]}
        return board(funnel, flows["items"], trends, medians)

    return await part(columns())


async def overview(services: Services, period: Period) -> dict[str, Any]:
    """Everything the page shows but the boards, each part by itself."""
    found = await parts(
        lifecycles=services.engine.get("/v1/lifecycles"),
        figures=services.engine.get("/v1/key-figures", **period.parameters()),
        at_risk=services.engine.get("/v1/customers", at_risk="true", sort="value", limit=6),
        recent=services.engine.get("/v1/stage-changes", limit=14),
        plays=services.notifier.get("/v1/plays"),
        totals=services.notifier.get("/v1/action-totals", **period.parameters()),
    )
    titles = Titles(found["lifecycles"].items)
    rows = [happening(fact["fact"], fact, titles.stages) for fact in found["recent"].items]
    actions = await actions_of(services, [one["customer_id"] for one in found["at_risk"].items])
    play_titles = {play["play"]: play.get("title") for play in found["plays"].items}
    return {
        **found,
        "play_titles": play_titles,
        "titles": titles,
        "happenings": [row for row in rows if row],
        "last_actions": actions,
    }


async def actions_of(services: Services, customers: list[str]) -> dict[str, dict[str, Any]]:
    """Customer → their latest action, where there is one and the notifier answers."""

    async def latest(customer_id: str) -> dict[str, Any] | None:
        found = await part(services.notifier.get("/v1/actions", customer_id=customer_id, limit=1))
        return found.items[0] if found.items else None

    actions = await asyncio.gather(*(latest(customer_id) for customer_id in customers))
    return {customer_id: action for customer_id, action in zip(customers, actions, strict=True) if action}


async def health_strip(services: Services) -> list[Signal]:
    """How the services do, each signal with where to look."""
    found = await parts(
        engine=services.engine.get("/v1/operations"),
        ingest=services.ingest.get("/v1/dead-letters/counts"),
        endpoints=services.notifier.get("/v1/endpoints"),
        sending=services.notifier.get("/v1/sending"),
    )
    return health(
        engine=found["engine"].value,
        dead_letters=found["ingest"].value,
        endpoints=found["endpoints"].items if found["endpoints"].ok else None,
        sending=found["sending"].value,
    )
