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
from touchline_runtime.http.problems import Problem

from touchline_stage_engine.application.queries.ports import StageChangeStream
from touchline_stage_engine.application.queries.values import BadStreamPositionError, StageChangeEvent, StreamPosition
from touchline_stage_engine.entrypoints.http.answers import problems

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 1.0
"""How often an idle stream checks whether the server is stopping; every tenth time it sends a comment."""

MAX_STREAMS = 50


def stream_router(stage_changes: StageChangeStream) -> APIRouter:
    """The route of the stream; at most `MAX_STREAMS` are open at once."""
    router = APIRouter(tags=["stage changes"])
    slots = asyncio.Semaphore(MAX_STREAMS)

    @router.get(
        "/v1/stage-changes/stream",
        summary="Moves, stalls and recoveries as they are published (server-sent events)",
        description="Each event's `event` is the CloudEvent's type and its `data` the fact's JSON. Resume a "
        "stream with `Last-Event-ID`, as browsers do automatically: no event is missed. When Kafka becomes "
        "unavailable, the stream ends with an `error` event.",
        responses={
            **problems(),
            200: {"content": {"text/event-stream": {}}, "description": "an endless stream"},
        },
        response_class=StreamingResponse,
    )
    async def stream(
        request: Request,
        last_event_id: Annotated[
            str | None, Header(description="the id of the last event received", max_length=20_000)
        ] = None,
        since: Annotated[
            str | None, Query(pattern="^beginning$", description="`beginning`: from the oldest event that Kafka keeps")
        ] = None,
        lifecycle: Annotated[str | None, Query(max_length=200, description="only this lifecycle")] = None,
        customer_id: Annotated[str | None, Query(max_length=400, description="only this customer")] = None,
    ) -> StreamingResponse:
        try:
            start = StreamPosition({}) if since else None
            position = StreamPosition.parse(last_event_id) if last_event_id else start
        except BadStreamPositionError as error:
            raise Problem(422, f"Last-Event-ID: {error}", type="invalid-request") from None
        if slots.locked():
            raise Problem(503, f"{MAX_STREAMS} streams are already open", type="busy", headers={"Retry-After": "10"})

        def wanted(event: StageChangeEvent) -> bool:
            return (lifecycle is None or event.lifecycle in (lifecycle, None)) and (
                customer_id is None or event.customer_id == customer_id
            )

        async def events() -> AsyncGenerator[bytes, None]:
            stopping: asyncio.Event = getattr(request.app.state, "stopping", asyncio.Event())
            async with slots, stage_changes.follow(position, wait_seconds=HEARTBEAT_SECONDS) as batches:
                yield b": follows\n\n"
                idle = 0
                async for batch in batches:
                    if stopping.is_set():
                        return
                    written = b"".join(_event(event) for event in batch if wanted(event))
                    idle = 0 if written else idle + 1
                    if written or idle % 10 == 0:
                        yield written or b": still here\n\n"

        following = events()
        # Connect before the response begins, so that an unavailable Kafka is a 503 and not a broken stream.
        first = await anext(following)
        return StreamingResponse(
            _with_error_event(first, following), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return router


def _event(event: StageChangeEvent) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event.position.encode(), event.type.encode(), event.data)


async def _with_error_event(first: bytes, following: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """The stream; when Kafka becomes unavailable, its last event is an `error`."""
    try:
        async with aclosing(following):
            yield first
            async for written in following:
                yield written
    except Unavailable as error:
        log.warning("stream_broken", error=str(error))
        problem = {"type": "/problems/unavailable", "status": 503, "detail": f"{error}; resume the stream later"}
        yield b"event: error\ndata: %s\n\n" % orjson.dumps(problem)
