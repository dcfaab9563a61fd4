"""The HTTP API: actions, deliveries, plays and their results, endpoints, the switch."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from touchline_runtime.answer_cache import AnswerCache
from touchline_runtime.audit.routes import AuditLog, actor_of, audit_router
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.console_link import console_link_router
from touchline_runtime.http.app import build_app
from touchline_runtime.http.auth import include_guarded
from touchline_runtime.http.parameters import only_known_parameters, refuse
from touchline_runtime.http.problems import Problem, TimeLimit
from touchline_runtime.http.tokens import Role
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.health import Health

from touchline_notifier.application.api_ports import (
    BadCursorError,
    Consent,
    MailLinks,
    Operations,
    Page,
    Queries,
    Sending,
    SequenceReads,
    Suppressions,
    Unsubscribe,
)
from touchline_notifier.application.plays_in_force import PlaySource
from touchline_notifier.core.decisions.hold_reasons import REASON_CODES
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.limits.hold_out import compare
from touchline_notifier.core.plays.durations import say
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.tracking.links import PREFIX
from touchline_notifier.entrypoints.http.insights import Reads, insights_router
from touchline_notifier.entrypoints.http.mail_links import mail_links_router
from touchline_notifier.entrypoints.http.people import people_router
from touchline_notifier.entrypoints.http.plays.previews import PreviewRoutes
from touchline_notifier.entrypoints.http.plays.publishing import PublishingRoutes
from touchline_notifier.entrypoints.http.plays.testing import TestingRoutes
from touchline_notifier.entrypoints.http.sequences import sequences_router
from touchline_notifier.entrypoints.http.unsubscribe import unsubscribe_router

_ANSWER_SECONDS = 30.0
ABOUT = "What the notifier decided and delivered, and why it held things back."

LINKS = ("/v1/unsubscribe/", PREFIX)
"""Paths of links in mails."""

PAGES = ("/", "/actions", "/actions/{action_id}", "/deliveries", "/plays/{name}")
"""Paths that the console has."""

Limit = Annotated[int, Query(ge=1, le=500, description="items a page")]
_REASON_CODES = sorted(REASON_CODES)
Cursor = Annotated[str | None, Query(description="`next` of the page before")]


@dataclass
class Api:
    """What the routes need."""

    queries: Queries
    operations: Operations
    unsubscribe: Unsubscribe
    plays: Mapping[str, Play]
    endpoints: Mapping[str, Endpoint]
    sources: Mapping[str, PlaySource] = field(default_factory=dict)
    publishing: PublishingRoutes | None = None
    previews: PreviewRoutes | None = None
    tests: TestingRoutes | None = None
    settings: ServiceSettings | None = None
    insights: Reads | None = None
    audit: AuditLog | None = None
    suppressions: Suppressions | None = None
    consent: Consent | None = None
    mail_links: MailLinks | None = None
    sequences: SequenceReads | None = None
    wake_delivery: Callable[[], None] = lambda: None
    answers: AnswerCache = field(default_factory=AnswerCache)


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
    app = build_app(
        "Touchline notifier",
        version=version,
        about=ABOUT,
        health=health,
        metrics=metrics,
        settings=api.settings,
        # The token authenticates the request, and mail services send it from anywhere (RFC 8058).
        proven=lambda path: path.startswith(LINKS),
        cross_origin=lambda path: path.startswith(LINKS),
    )
    app.add_middleware(TimeLimit, seconds=_ANSWER_SECONDS)
    queries = api.queries
    for routes in (api.publishing, api.previews, api.tests):
        if routes is not None:
            include_guarded(app, routes.router(), only_known_parameters, change=Role.EDITOR)
    for router in (_actions(api, queries), _deliveries(api, queries), _plays(api, queries), _operations(api, queries)):
        include_guarded(app, router, only_known_parameters)
    if api.sequences is not None:
        include_guarded(app, sequences_router(api.sequences, api.plays, api.answers), only_known_parameters)
    if api.insights is not None and api.suppressions is not None and api.consent is not None:
        people = people_router(api.insights, queries, api.suppressions, api.consent)
        include_guarded(app, people, only_known_parameters)
    if api.insights is not None:
        insights = insights_router(api.insights, api.plays, api.endpoints, api.settings, version, api.answers)
        include_guarded(app, insights, only_known_parameters)
    if api.audit is not None:
        include_guarded(app, audit_router(api.audit), only_known_parameters)
    if api.settings is not None:
        include_guarded(app, console_link_router(api.settings.console_url, PAGES))
    app.include_router(unsubscribe_router(api.unsubscribe))
    if api.mail_links is not None:
        app.include_router(mail_links_router(api.mail_links))
    return app


def _listed(page: Page) -> Items:
    return Items(items=page.items, next=page.next)


def _actions(api: Api, queries: Queries) -> APIRouter:
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
        # A play that was removed may still be asked for, as long as it has actions.
        if not page.items and cursor is None:
            if play is not None and play not in api.plays:
                refuse("play", play, list(api.plays))
            if reason is not None and reason not in _REASON_CODES:
                refuse("reason", reason, _REASON_CODES)
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
        if not page.items and cursor is None and endpoint is not None and endpoint not in api.endpoints:
            refuse("endpoint", endpoint, list(api.endpoints))
        return _listed(page)

    @router.get("/{delivery_id}", summary="One delivery with its message")
    async def one(delivery_id: UUID) -> dict[str, Any]:
        found = await queries.delivery(delivery_id)
        if found is None:
            raise Problem(404, f"there is no delivery {delivery_id}", type="unknown-delivery")
        return found

    @router.post("/{delivery_id}/replay", status_code=202, summary="Try again from the start, under the same id")
    async def again(delivery_id: UUID, request: Request) -> dict[str, str]:
        status = await api.operations.replay(delivery_id, datetime.now(UTC), actor_of(request))
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
        outcomes, _ = await api.answers.get(("outcomes",), queries.outcomes)
        items = [
            {**_described(play, api.sources.get(name)), **outcomes.get(name, {"outcomes": {}, "reasons": {}})}
            for name, play in sorted(api.plays.items())
        ]
        return Items(items=items, next=None)

    @router.get("/{name}", summary="One play as it runs")
    async def one(name: str) -> dict[str, Any]:
        play = known(name)
        outcomes, _ = await api.answers.get(("outcomes",), queries.outcomes)
        counts = outcomes.get(name, {"outcomes": {}, "reasons": {}})
        source = api.sources.get(name)
        return {
            **_described(play, source),
            "definition": play.model_dump(mode="json", by_alias=True),
            "text": None if source is None else source.text,
            **counts,
        }

    @router.get("/{name}/results", summary="Does it work? Treated against held out, with 95 % confidence intervals")
    async def results(name: str, since: datetime | None = None) -> dict[str, Any]:
        play = known(name)
        key = ("results", name, play.goal.within, since)
        found, _ = await api.answers.get(key, lambda: play_results(queries, play, since))
        return dict(found)

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


def _described(play: Play, source: PlaySource | None) -> dict[str, Any]:
    when = play.when.model_dump(mode="json", exclude_defaults=True)
    return {
        "play": play.play,
        "title": play.title,
        "about": play.about,
        "enabled": play.enabled,
        "managed_by": "api" if source is not None and not source.by_file else "file",
        "version": source.version if source is not None and source.version else None,
        "switched_on": source is None or source.switched_on,
        "when": {"fact": play.when.fact, **when},
        "channel": play.action.channel,
        "endpoint": play.action.endpoint,
        "priority": play.priority,
        "hold_out": play.hold_out,
        "messages": len(play.messages),
    }


def _operations(api: Api, queries: Queries) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["operations"])

    @router.get("/endpoints", summary="Endpoints: what was learnt about each, and how much waits for it")
    async def endpoints() -> Items:
        return Items(items=await queries.endpoints(api.endpoints), next=None)

    @router.post("/endpoints/{name}/enable", summary="Send to a disabled endpoint again")
    async def enabled(name: str, request: Request) -> dict[str, str]:
        if name not in api.endpoints:
            configured = ", ".join(sorted(api.endpoints)) or "none"
            raise Problem(404, f"there is no endpoint {name!r}: there are {configured}", type="unknown-endpoint")
        await api.operations.enable(name, datetime.now(UTC), actor_of(request))
        api.wake_delivery()
        return {"endpoint": name, "breaker": "closed"}

    @router.get("/sending", summary="The global switch")
    async def switch() -> Switch:
        found = await api.operations.sending()
        return Switch(sending=found.on, reason=found.reason)

    @router.put("/sending", summary="Switch all sending off, or on again")
    async def turn(wanted: Switch, request: Request) -> Switch:
        await api.operations.switch(Sending(wanted.sending, wanted.reason), actor_of(request))
        return wanted

    return router
