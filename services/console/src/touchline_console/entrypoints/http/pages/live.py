"""``/live``: server-sent events whose data are rendered rows of the live list."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from touchline_runtime.http.problems import Problem

from touchline_console.application.live import live
from touchline_console.entrypoints.http.pages.context import Pages, services

MAX_STREAMS = 40
_RETRY = b"retry: 5000\n\n"


def live_router(pages: Pages) -> APIRouter:
    """The stream."""
    router = APIRouter(include_in_schema=False)
    slots = asyncio.Semaphore(MAX_STREAMS)

    @router.get("/live")
    async def stream(request: Request) -> StreamingResponse:
        if slots.locked():
            raise Problem(503, f"{MAX_STREAMS} people watch already", type="busy", headers={"Retry-After": "10"})

        async def rows() -> AsyncIterator[bytes]:
            stopping: asyncio.Event = getattr(request.app.state, "stopping", asyncio.Event())
            async with slots, aclosing(live(services(request))) as facts:  # type: ignore[type-var]
                yield _RETRY
                async for kind, data in facts:
                    if stopping.is_set():
                        return
                    if not kind:
                        yield b": still here\n\n"
                        continue
                    if kind == "fact":
                        data = pages.renderer.text("live_row.html", datetime.now(UTC), fact=data).strip()
                    yield b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps(data))

        return StreamingResponse(rows(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return router
