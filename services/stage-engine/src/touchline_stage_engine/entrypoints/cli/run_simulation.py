"""``touchline-stage-engine run-simulation ID``: the process of one simulation that was asked for through the API."""

import asyncio
import os
import signal
import sys
from typing import Annotated
from uuid import UUID

import typer
from touchline_runtime.config.settings import read_settings
from touchline_runtime.process import logs
from touchline_runtime.process import run as process

from touchline_stage_engine.settings import StageEngineSettings

_NICENESS = 5


def run_simulation(simulation: Annotated[UUID, typer.Argument(help="Id of the simulation.")]) -> None:
    """Run one simulation. It ends when its standard input is closed: with the process that started it."""
    from touchline_stage_engine import bootstrap_commands

    with process.explained():
        settings = read_settings(StageEngineSettings)
        logs.configure("stage-engine", format=settings.log_format, level=settings.log_level)
        os.nice(_NICENESS)  # folding goes first

        async def run() -> None:
            stopping = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stopping.set)
            fd = sys.stdin.fileno()
            os.set_blocking(fd, False)

            def readable() -> None:
                if not os.read(fd, 64):
                    loop.remove_reader(fd)
                    stopping.set()

            loop.add_reader(fd, readable)
            await bootstrap_commands.run_simulation(settings, simulation, stopping)

        asyncio.run(run())
