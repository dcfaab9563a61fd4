"""Routes for people: totals, a play's figures, attempts, how endpoints answer, a customer's profile, operations."""

from collections.abc import Awaitable, Callable, Hashable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Protocol
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime
from touchline_runtime.answer_cache import AnswerCache
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.config.settings_in_force import settings_in_force
from touchline_runtime.http.problems import Problem
from touchline_schemas.identity import customer_key
from touchline_schemas.times import to_wire

from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.plays.play import Play

Since = Annotated[AwareDatetime | None, Query(description="decisions from this instant on (RFC 3339)")]
Until = Annotated[AwareDatetime | None, Query(description="decisions before this instant (RFC 3339)")]
_EVER = datetime(1990, 1, 1, tzinfo=UTC)


class Reads(Protocol):
    """What the routes read."""

    async def totals(self, since: datetime, until: datetime) -> dict[str, Any]:
        """Actions by outcome."""

    async def play(self, name: str, since: datetime, until: datetime) -> dict[str, Any]:
        """A play's figures."""

    async def attempts(self, delivery: UUID) -> list[dict[str, Any]]:
        """Every attempt of a delivery."""

    async def endpoints(self, since: datetime, configured: Mapping[str, Endpoint]) -> list[dict[str, Any]]:
        """How endpoints answered."""

    async def profile(self, key: str) -> dict[str, Any] | None:
        """What is known of a customer."""

    async def waiting(self) -> dict[str, Any]:
        """What waits."""


def insights_router(
    reads: Reads,
    plays: Mapping[str, Play],
    endpoints: Mapping[str, Endpoint],
    settings: ServiceSettings | None,
    version: str,
    answers: AnswerCache,
) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1")

    async def counted(kind: str, key: tuple[Hashable, ...], compute: Callable[[], Awaitable[Any]]) -> Any:
        """Counts over many rows: where they take long, those of some seconds ago."""
        found, _ = await answers.get((kind, *key), compute)
        return found

    @router.get("/action-totals", tags=["actions"], summary="Actions by outcome, in a span and in the one before it")
    async def totals(since: Since = None, until: Until = None) -> dict[str, Any]:
        end = until or datetime.now(UTC)
        begin = since or _EVER
        if begin >= end:
            raise Problem(422, "since has to be before until", type="invalid-request")
        return {
            "since": to_wire(begin),
            "until": to_wire(end),
            **await counted("totals", (since, until), lambda: reads.totals(begin, end)),
        }

    @router.get(
        "/plays/{name}/figures",
        tags=["plays"],
        summary="A play's funnel (facts, decided, sent, recovered, converted), what held it back, and its days",
        description="`mails`: the actions whose mail a human `opened`, or `clicked` in (null where that is not tracked "
        "and was not before), the same of `machines`, and `links`: the actions in whose mail a human clicked on each "
        "link. Null where nothing is tracked.",
    )
    async def figures(
        name: Annotated[str, Path(description="the play's name")], since: Since = None, until: Until = None
    ) -> dict[str, Any]:
        if name not in plays:
            running = ", ".join(sorted(plays)) or "none"
            raise Problem(404, f"there is no play {name!r} running; there are: {running}", type="unknown-play")
        end = until or datetime.now(UTC)
        begin = since or _EVER
        found = await counted("play", (name, since, until), lambda: reads.play(name, begin, end))
        mails = _tracked(found["mails"], plays[name])
        return {"play": name, "since": to_wire(begin), "until": to_wire(end), **found, "mails": mails}

    @router.get(
        "/deliveries/{delivery_id}/attempts",
        tags=["deliveries"],
        summary="Every attempt of a delivery: status, time, the beginning of the answer where it was no success",
    )
    async def attempts(delivery_id: UUID) -> dict[str, Any]:
        return {"items": await reads.attempts(delivery_id), "next": None}

    @router.get(
        "/endpoint-figures", tags=["operations"], summary="How each endpoint answered: success rate, latency, failures"
    )
    async def endpoint_figures(
        since: Annotated[AwareDatetime | None, Query(description="attempts from this instant on; else a day")] = None,
    ) -> dict[str, Any]:
        begin = since or datetime.now(UTC) - timedelta(days=1)
        items = await counted("endpoints", (since,), lambda: reads.endpoints(begin, endpoints))
        return {"since": to_wire(begin), "items": items, "next": None}

    @router.get(
        "/profiles/{customer_id:path}",
        tags=["people"],
        summary="Traits, consent and suppressions of a customer, and whether the messages of each topic are sent",
        description="`messages` has an item for each way of each topic (the plays' consent channels): `topic`; "
        "`channel`, which writes to the customer, or null where another system does; `consent`: whether it is "
        "required; `sent`; `reason`: why nothing is sent. It is what decides on an action, what is asked before each "
        "attempt, and what the customer's preference page shows.",
    )
    async def profile(customer_id: Annotated[str, Path(description="a customer id or key")]) -> dict[str, Any]:
        if any(ord(character) < 32 or "\ud800" <= character <= "\udfff" for character in customer_id):
            raise Problem(404, "no such customer: ids hold no control characters", type="not-found")
        found = await reads.profile(customer_key(customer_id))
        if found is None:
            raise Problem(404, f"nothing is known of {customer_id!r}", type="not-found")
        return found

    @router.get("/operations", tags=["operations"], summary="What waits, positions, version, settings in force")
    async def operations() -> dict[str, Any]:
        shown = settings_in_force(settings) if settings is not None else {}
        return {"version": version, **await counted("waiting", (), reads.waiting), "settings": shown}

    return router


def _tracked(mails: Mapping[str, Any], play: Play) -> dict[str, Any] | None:
    """What was done with a play's mails, as far as it is tracked, or was."""
    tracks = [spec.track for _, spec in play.message_paths() if spec.track is not None]
    opens, clicks = any(one.opens for one in tracks), any(one.clicks for one in tracks)
    counts = {
        kind: mails[kind] if tracked or mails[kind] or mails["machines"][kind] else None
        for kind, tracked in (("opened", opens), ("clicked", clicks))
    }
    return None if all(count is None for count in counts.values()) else {**mails, **counts}
