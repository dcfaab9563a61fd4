"""The HTTP API: actions, deliveries, plays and their results, endpoints, the switch."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field
from touchline_runtime.auth import require_token
from touchline_runtime.health import Health
from touchline_runtime.http import build_app
from touchline_runtime.metrics import Metrics
from touchline_runtime.problems import Problem

from touchline_notifier.core.delivery.unsubscribe import UnsubscribeTokens
from touchline_notifier.core.durations import say
from touchline_notifier.core.endpoints import Endpoint
from touchline_notifier.core.hold_out import compare
from touchline_notifier.core.play import Play
from touchline_notifier.core.ports import BadCursorError, Operations, Page, Queries, Sending, Unsubscribe
from touchline_notifier.entrypoints.pages import pages_router
from touchline_notifier.entrypoints.unsubscribe import unsubscribe_router

ABOUT = "What the notifier decided and delivered, and why it held things back."

Limit = Annotated[int, Query(ge=1, le=500, description="items a page")]
Cursor = Annotated[str | None, Query(description="`next` of the page before")]


@dataclass(frozen=True)
class Api:
    """What the routes need."""

    queries: Queries
    operations: Operations
    unsubscribe: Unsubscribe
    tokens: UnsubscribeTokens
    plays: Mapping[str, Play]
    endpoints: Mapping[str, Endpoint]
    token_hashes: frozenset[str]
    wake_delivery: Callable[[], None] = lambda: None


class Items(BaseModel):
    """A page of a list."""

    items: list[dict[str, Any]]
    next: str | None = Field(description="cursor of the next page; null at the end")


class Switch(BaseModel):
    """The global switch."""

    model_config = ConfigDict(extra="forbid")

    sending: bool
    reason: str | None = None


def build_api(api: Api, *, version: str, health: Health, metrics: Metrics) -> FastAPI:
    """The application with all routes."""
    app = build_app("Touchline notifier", version=version, about=ABOUT, health=health, metrics=metrics)
    guarded = [Depends(require_token(api.token_hashes))]
    queries = api.queries
    for router in (_actions(queries), _deliveries(api, queries), _plays(api, queries), _operations(api, queries)):
        app.include_router(router, dependencies=guarded)
    app.include_router(pages_router(queries, api.plays), dependencies=guarded, include_in_schema=False)
    app.include_router(unsubscribe_router(api.tokens, api.unsubscribe))
    return app


def _listed(page: Page) -> Items:
    return Items(items=page.items, next=page.next)


def _actions(queries: Queries) -> APIRouter:
    router = APIRouter(prefix="/v1/actions", tags=["actions"])

    @router.get("", summary="Actions, the newest decision first")
    async def listed(
        customer_id: str | None = None,
        play: str | None = None,
        outcome: Literal["decided", "held", "held_out", "sent", "failed", "cancelled"] | None = None,
        reason: Annotated[str | None, Query(description="code of a reason, such as quiet_hours")] = None,
        lifecycle: str | None = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Items:
        try:
            page = await queries.actions(
                customer_id=customer_id,
                play=play,
                outcome=outcome,
                reason=reason,
                lifecycle=lifecycle,
                limit=limit,
                cursor=cursor,
            )
        except BadCursorError as error:
            raise Problem(400, str(error), type="bad-cursor") from None
        return _listed(page)

    @router.get("/{action_id}", summary="One action with its deliveries")
    async def one(action_id: UUID) -> dict[str, Any]:
        found = await queries.action(action_id)
        if found is None:
            raise Problem(404, f"there is no action {action_id}", type="unknown-action")
        return found

    return router


def _deliveries(api: Api, queries: Queries) -> APIRouter:
    router = APIRouter(prefix="/v1/deliveries", tags=["deliveries"])

    @router.get("", summary="Deliveries, the newest first")
    async def listed(
        customer_id: str | None = None,
        status: Literal["pending", "delivering", "sent", "failed", "cancelled"] | None = None,
        endpoint: str | None = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Items:
        try:
            page = await queries.deliveries(
                customer_id=customer_id, status=status, endpoint=endpoint, limit=limit, cursor=cursor
            )
        except BadCursorError as error:
            raise Problem(400, str(error), type="bad-cursor") from None
        return _listed(page)

    @router.get("/{delivery_id}", summary="One delivery with its message")
    async def one(delivery_id: UUID) -> dict[str, Any]:
        found = await queries.delivery(delivery_id)
        if found is None:
            raise Problem(404, f"there is no delivery {delivery_id}", type="unknown-delivery")
        return found

    @router.post("/{delivery_id}/replay", status_code=202, summary="Try again from the start, under the same id")
    async def again(delivery_id: UUID) -> dict[str, str]:
        status = await api.operations.replay(delivery_id, datetime.now(UTC))
        if status is None:
            raise Problem(404, f"there is no delivery {delivery_id}", type="unknown-delivery")
        if status == "delivering":
            raise Problem(409, "it is being delivered right now: look again in a moment", type="under-way")
        api.wake_delivery()
        return {"id": str(delivery_id), "status": status}

    return router


def _plays(api: Api, queries: Queries) -> APIRouter:
    router = APIRouter(prefix="/v1/plays", tags=["plays"])

    def known(name: str) -> Play:
        if name not in api.plays:
            running = ", ".join(sorted(api.plays)) or "none"
            raise Problem(404, f"there is no play {name!r} running; there are: {running}", type="unknown-play")
        return api.plays[name]

    @router.get("", summary="The plays that run, with what came of them")
    async def listed() -> Items:
        outcomes = await queries.outcomes()
        items = [
            {**_described(play), **outcomes.get(name, {"outcomes": {}, "reasons": {}})}
            for name, play in sorted(api.plays.items())
        ]
        return Items(items=items, next=None)

    @router.get("/{name}", summary="One play as it runs")
    async def one(name: str) -> dict[str, Any]:
        play = known(name)
        counts = (await queries.outcomes(name)).get(name, {"outcomes": {}, "reasons": {}})
        return {**_described(play), "definition": play.model_dump(mode="json", by_alias=True), **counts}

    @router.get("/{name}/results", summary="Does it work? Treated against held out, with 95 % confidence intervals")
    async def results(name: str, since: datetime | None = None) -> dict[str, Any]:
        return await play_results(queries, known(name), since)

    return router


async def play_results(queries: Queries, play: Play, since: datetime | None) -> dict[str, Any]:
    """Recovery, return and conversion of treated and held out, within the play's goal."""
    measures = {}
    for measure, groups in (await queries.results(play.play, play.goal.within, since)).items():
        difference = compare(groups["treated"], groups["held_out"])
        measures[measure] = {
            **{name: {"customers": group.size, "did": group.did, "rate": group.rate} for name, group in groups.items()},
            **asdict(difference),
        }
    return {"play": play.play, "hold_out": play.hold_out, "within": say(play.goal.within), "measures": measures}


def _described(play: Play) -> dict[str, Any]:
    when = play.when.model_dump(mode="json", exclude_defaults=True)
    return {
        "play": play.play,
        "title": play.title,
        "about": play.about,
        "enabled": play.enabled,
        "when": {"fact": play.when.fact, **when},
        "channel": play.action.channel,
        "endpoint": play.action.endpoint,
        "priority": play.priority,
        "hold_out": play.hold_out,
    }


def _operations(api: Api, queries: Queries) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["operations"])

    @router.get("/endpoints", summary="Endpoints: what was learnt about each, and how much waits for it")
    async def endpoints() -> Items:
        return Items(items=await queries.endpoints(api.endpoints), next=None)

    @router.post("/endpoints/{name}/enable", summary="Send to a disabled endpoint again")
    async def enabled(name: str) -> dict[str, str]:
        if name not in api.endpoints:
            configured = ", ".join(sorted(api.endpoints)) or "none"
            raise Problem(404, f"there is no endpoint {name!r}: there are {configured}", type="unknown-endpoint")
        await api.operations.enable(name, datetime.now(UTC))
        api.wake_delivery()
        return {"endpoint": name, "status": "enabled"}

    @router.get("/sending", summary="The global switch")
    async def switch() -> Switch:
        found = await api.operations.sending()
        return Switch(sending=found.on, reason=found.reason)

    @router.put("/sending", summary="Switch all sending off, or on again")
    async def turn(wanted: Switch) -> Switch:
        await api.operations.switch(Sending(wanted.sending, wanted.reason))
        return wanted

    return router
