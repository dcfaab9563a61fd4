"""Starts a process for each simulation, so that it takes nothing from the event loop that answers requests."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog

log = structlog.get_logger(__name__)

_COMMAND = (sys.executable, "-m", "touchline_stage_engine.entrypoints.cli.main", "run-simulation")


class SimulationProcesses:
    """Implements `simulations.SimulationProcesses`, and is a component: its processes end with it.

    Args:
        failed: records that a process has ended; it has no effect where the simulation had ended before.

    A process has a pipe from here as its standard input. When this process ends, however it ends, so do they.
    """

    name = "simulations"

    def __init__(self, failed: Callable[[UUID, str], Awaitable[None]]) -> None:
        self._failed = failed
        self._running: dict[UUID, asyncio.subprocess.Process] = {}
        self._waiting: set[asyncio.Task[None]] = set()

    async def start(self, simulation: UUID) -> None:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND, str(simulation), stdin=asyncio.subprocess.PIPE, env=os.environ | {"TOUCHLINE_AUTO_MIGRATE": "0"}
        )
        self._running[simulation] = process
        task = asyncio.create_task(self._wait(simulation, process))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _wait(self, simulation: UUID, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        del self._running[simulation]
        log.info("simulation_ended", simulation=str(simulation), code=code)
        try:
            await self._failed(simulation, f"its process has ended with code {code}: the log says why")
        except Exception as error:
            # The database is away: readers see that the process writes no more.
            log.warning("simulation_end_not_recorded", simulation=str(simulation), error=repr(error))

    def stop(self, simulation: UUID) -> None:
        if (process := self._running.get(simulation)) is not None:
            process.terminate()

    async def run(self, stopping: asyncio.Event) -> None:
        """End all processes when stopping."""
        await stopping.wait()
        for process in list(self._running.values()):
            process.terminate()
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=2)
        for process in list(self._running.values()):
            process.kill()
