"""The operations port (``TOUCHLINE_METRICS_PORT``): health and metrics apart from what the public reaches."""

import asyncio
import socket
from typing import TYPE_CHECKING

import structlog
import uvicorn

from touchline_runtime.http.protocol import GuardedHttpProtocol

if TYPE_CHECKING:
    from fastapi import FastAPI

log = structlog.get_logger(__name__)


class OperationsServer:
    """A component that serves an application on a socket until it is told to stop."""

    name = "operations-port"

    def __init__(self, app: "FastAPI", sock: socket.socket) -> None:
        self._app = app
        self._sock = sock

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until stopping."""
        config = uvicorn.Config(
            self._app,
            http=GuardedHttpProtocol,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            server_header=False,
        )
        server = uvicorn.Server(config)
        host, port = self._sock.getsockname()[:2]
        log.info("operations_port_open", address=f"http://{host}:{port}")
        # serve() would take the process's signals.
        serving = asyncio.create_task(server._serve([self._sock]), name="operations-http")
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        server.should_exit = True
        await serving
