"""``/v1/stage-changes/stream``: facts as server-sent events, for pages and for systems without a Kafka client."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

import orjson
import structlog
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from touchline_runtime.errors import Unavailable
from touchline_runtime.problems import Problem
from touchline_runtime.settings import ServiceSettings
from touchline_schemas.topics import STAGE_CHANGES

from touchline_stage_engine.adapters.fact_stream import BadPlaceError, Place, Told, follow
from touchline_stage_engine.entrypoints.api.answers import problems

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 1.0
"""How often a silent stream looks whether it should end; a comment is sent every tenth time."""

MAX_STREAMS = 50


def stream_router(settings: ServiceSettings) -> APIRouter:
    """The route of the stream, with a limit on how many there are at once."""
    router = APIRouter(tags=["stage changes"])
    slots = asyncio.Semaphore(MAX_STREAMS)

    @router.get(
        "/v1/stage-changes/stream",
        summary="Moves, stalls and recoveries as they are published (server-sent events)",
        description="Each event's `event` is the CloudEvent's type and its `data` the fact's JSON. Take a stream up "
        "again with `Last-Event-ID`, as browsers do by themselves: nothing is missed in between. Where Kafka goes "
        "away, the last event is an `error`, and the stream ends.",
        responses={
            **problems(),
            200: {"content": {"text/event-stream": {}}, "description": "an endless stream"},
        },
        response_class=StreamingResponse,
    )
    async def stream(
        request: Request,
        last_event_id: Annotated[str | None, Header(description="the last event's id", max_length=20_000)] = None,
        since: Annotated[str | None, Query(pattern="^beginning$", description="`beginning`: all there is")] = None,
        lifecycle: Annotated[str | None, Query(max_length=200, description="of this lifecycle alone")] = None,
        customer_id: Annotated[str | None, Query(max_length=400, description="of this customer alone")] = None,
    ) -> StreamingResponse:
        try:
            place = Place.read(last_event_id) if last_event_id else Place({}) if since else None
        except BadPlaceError as error:
            raise Problem(422, f"Last-Event-ID: {error}", type="invalid-request") from None
        if slots.locked():
            raise Problem(503, f"{MAX_STREAMS} streams are open already", type="busy", headers={"Retry-After": "10"})

        def wanted(told: Told) -> bool:
            return (lifecycle is None or told.lifecycle in (lifecycle, None)) and (
                customer_id is None or told.customer_id == customer_id
            )

        async def events() -> AsyncGenerator[bytes, None]:
            stopping: asyncio.Event = getattr(request.app.state, "stopping", asyncio.Event())
            topic = STAGE_CHANGES.full_name(settings.topic_prefix)
            async with slots, follow(settings, topic, place, patience=HEARTBEAT_SECONDS) as batches:
                yield b": follows\n\n"
                silent = 0
                async for batch in batches:
                    if stopping.is_set():
                        return
                    written = b"".join(_event(told) for told in batch if wanted(told))
                    silent = 0 if written else silent + 1
                    if written or silent % 10 == 0:
                        yield written or b": still here\n\n"

        following = events()
        # Before the answer begins: where Kafka is away, that is a 503 and not a stream that breaks off.
        first = await anext(following)
        return StreamingResponse(
            _told(first, following), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return router


def _event(told: Told) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (told.place.encode(), told.type.encode(), told.data)


async def _told(first: bytes, following: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """A stream that has begun; where Kafka goes away in its middle, its last event says so."""
    try:
        async with aclosing(following):
            yield first
            async for written in following:
                yield written
    except Unavailable as error:
        log.warning("stream_broken", error=str(error))
        problem = {"type": "/problems/unavailable", "status": 503, "detail": f"{error}; take the stream up again later"}
        yield b"event: error\ndata: %s\n\n" % orjson.dumps(problem)
