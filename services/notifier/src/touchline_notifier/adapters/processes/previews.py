"""Runs a preview in a process of its own, so that it takes nothing from the event loop that decides."""

import asyncio
import os
import sys
from typing import Any

import orjson
import structlog
from touchline_runtime.errors import Unavailable

from touchline_notifier.application.plays.previewing import (
    MOST_SECONDS,
    PreviewBusyError,
    PreviewOrder,
    PreviewTooLongError,
)

log = structlog.get_logger(__name__)

_COMMAND = (sys.executable, "-m", "touchline_notifier.entrypoints.cli.main", "run-preview")


class PreviewSubprocesses:
    """Implements :class:`~touchline_notifier.application.plays.previewing.PreviewProcesses`."""

    def __init__(self) -> None:
        self._running = False

    async def run(self, order: PreviewOrder) -> dict[str, Any]:
        if self._running:
            raise PreviewBusyError
        self._running = True
        try:
            return await self._run(order)
        finally:
            self._running = False

    async def _run(self, order: PreviewOrder) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"TOUCHLINE_AUTO_MIGRATE": "0"},
        )
        try:
            async with asyncio.timeout(MOST_SECONDS):
                output, _ = await process.communicate(orjson.dumps(order.as_json()))
        except TimeoutError:
            raise PreviewTooLongError(
                f"the preview took longer than {MOST_SECONDS:g} s and was ended: ask for fewer days, or one customer"
            ) from None
        finally:
            # Also when the client has gone, or this process is stopping.
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            log.warning("preview_failed", play=order.play, code=process.returncode)
            raise Unavailable("the preview failed: Kafka or PostgreSQL did not answer it; the notifier's log says why")
        result: dict[str, Any] = orjson.loads(output)
        return result
