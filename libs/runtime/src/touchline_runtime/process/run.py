"""One process: an HTTP server and long-running components in one event loop, started and stopped in good order."""

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Coroutine, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import structlog
import uvicorn
import uvloop
from rich.console import Console

from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.errors import ConfigurationError, PortInUseError, RuntimeFault, Unavailable
from touchline_runtime.http.operations_server import OperationsServer
from touchline_runtime.http.protocol import limited_to

if TYPE_CHECKING:
    # A second of imports that a short command line need not wait for.
    from fastapi import FastAPI

log = structlog.get_logger(__name__)

_MOST_FILES = 65_536
_FILES_BESIDE_CONNECTIONS = 200
"""Connections to Kafka and PostgreSQL, listening sockets, and files that are read again."""


class Component(Protocol):
    """A part that runs for as long as the process does."""

    name: str

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping`` is set, then finish the work in progress and return.

        An exception, or returning early, ends the process with exit code 1.
        """


@dataclass(frozen=True)
class Failed:
    """A component that ended by itself."""

    name: str
    error: BaseException | None


class _Server(uvicorn.Server):
    """uvicorn's server, with signals left to the process."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def listen(host: str, port: int, *, setting: str = "TOUCHLINE_HTTP_PORT") -> socket.socket:
    """A listening socket.

    Args:
        setting: what the port comes from, for errors.

    Raises:
        PortInUseError: another process listens there.
        ConfigurationError: the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        if error.errno == 98:  # EADDRINUSE
            raise PortInUseError(
                f"port {port} on {host} is in use by another process: stop it, or set {setting}"
            ) from None
        raise ConfigurationError(f"can't listen on {host}:{port}: {error.strerror}") from None
    sock.listen(2048)
    sock.set_inheritable(True)
    return sock


def raise_file_limit() -> int | None:
    """Allow this process as many open files as it may have, within reason. Returns how many; None: without limit.

    A connection is a file. Many systems start a process with a limit of 1024 and allow more on request, because of
    ``select`` (which nothing here uses). Without this, a thousand idle connections would lock all other clients out.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return None if soft == resource.RLIM_INFINITY else soft


def connections_within(files: int | None, wanted: int) -> int:
    """How many HTTP connections may be open so that files are left for everything else.

    Without a free file no connection to Kafka or PostgreSQL can be opened again.
    """
    if files is None:
        return wanted
    most = min(wanted, max(files - _FILES_BESIDE_CONNECTIONS, files // 2))
    if most < wanted:
        log.warning("max_connections_lowered", max_connections=wanted, lowered_to=most, open_files_limit=files)
    return most


async def run(
    app: "FastAPI", sock: socket.socket, components: Sequence[Component], *, settings: ServiceSettings
) -> Failed | None:
    """Serve and run everything until SIGTERM or SIGINT, or until a component ends by itself.

    On a signal the HTTP server stops accepting and finishes its requests, then the components are told to stop;
    all within ``shutdown_timeout_seconds``. A second signal ends the process at once. Answers that would go on for
    ever (streams) have to end when ``app.state.stopping`` is set.
    """
    max_connections = connections_within(raise_file_limit(), settings.max_connections)
    if settings.metrics_port is not None:
        operations = listen(settings.http_host, settings.metrics_port, setting="TOUCHLINE_METRICS_PORT")
        components = [*components, OperationsServer(app.state.operations, operations)]
    stopping = asyncio.Event()
    stop_requested = asyncio.Event()
    app.state.stopping = stop_requested
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop_requested.is_set():
            log.warning("stopped_at_once", signal=signal.Signals(number).name)
            sys.exit(1)
        log.info("stopping", signal=signal.Signals(number).name)
        stop_requested.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)

    config = uvicorn.Config(
        app,
        http=limited_to(max_connections),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=int(settings.shutdown_timeout_seconds),
        server_header=False,
        timeout_keep_alive=75,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]), name="http")
    running = {asyncio.create_task(component.run(stopping), name=component.name) for component in components}
    asked = asyncio.create_task(stop_requested.wait(), name="signal")
    host, port = sock.getsockname()[:2]
    log.info("started", address=f"http://{host}:{port}")

    await asyncio.wait({serving, asked, *running}, return_when=asyncio.FIRST_COMPLETED)
    failed = _first_failure([serving, *running]) if not stop_requested.is_set() else None
    if failed is not None:
        # Our own faults are messages for people, so a traceback adds nothing.
        fields = {"error": str(failed.error)} if isinstance(failed.error, RuntimeFault) else {"exc_info": failed.error}
        log.error("component_ended", component=failed.name, **fields)
    asked.cancel()
    stop_requested.set()
    server.should_exit = True
    try:
        async with asyncio.timeout(settings.shutdown_timeout_seconds):
            await asyncio.wait({serving})
            stopping.set()
            if running:
                await asyncio.wait(running)
    except TimeoutError:
        stopping.set()
        late = [task.get_name() for task in {serving, *running} if not task.done()]
        log.error("stop_timed_out", seconds=settings.shutdown_timeout_seconds, components=late)
    for task in (serving, *running):
        task.cancel()
    results = await asyncio.gather(serving, *running, return_exceptions=True)
    for task, result in zip((serving, *running), results, strict=True):
        if failed is None and isinstance(result, Exception):
            log.error("stop_failed", component=task.get_name(), exc_info=result)
    log.info("stopped")
    return failed


def _first_failure(tasks: Sequence[asyncio.Task[None]]) -> Failed | None:
    for task in tasks:
        if task.done() and not task.cancelled():
            return Failed(task.get_name(), task.exception())
    return None


def main(work: Coroutine[Any, Any, Failed | None]) -> NoReturn:
    """Run a process's main coroutine, then exit with its code; on failure print the reason.

    The code is 0 after SIGTERM or SIGINT, 1 after a failure or a second signal, and 2 for wrong settings.
    """
    try:
        failed = uvloop.run(_interruptible(work))
    except ConfigurationError as error:
        fail(str(error))
    except Unavailable as error:
        fail(str(error), code=1)
    # Python collects all objects when it exits, which takes a second on a busy machine. It leaves out frozen ones.
    gc.freeze()
    sys.exit(1 if failed is not None else 0)


async def _interruptible(work: Coroutine[Any, Any, Failed | None]) -> Failed | None:
    """Exit with code 0 at once when a signal comes before `run` handles signals: nothing has been accepted yet."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _exit_at_start, number)
    return await work


def _exit_at_start(number: int) -> None:
    log.info("stopped", signal=signal.Signals(number).name)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that wait for a server would hold up an orderly exit.
    os._exit(0)


def fail(message: str, *, code: int = 2) -> NoReturn:
    """Print an error to standard error, without a traceback, and exit."""
    Console(emoji=False, stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {_escape(message)}", highlight=False)
    sys.exit(code)


def _escape(message: str) -> str:
    return message.replace("[", "\\[")


@contextmanager
def explained() -> Generator[None, None, None]:
    """Turn the runtime's faults inside a command line into a message and an exit code."""
    try:
        yield
    except ConfigurationError as error:
        fail(str(error))
    except RuntimeFault as error:
        fail(str(error), code=1)
