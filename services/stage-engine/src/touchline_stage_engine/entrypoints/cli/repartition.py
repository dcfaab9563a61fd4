"""``touchline-stage-engine repartition``: change the number of partitions of a deployment that is stopped."""

import asyncio
from typing import Annotated

import typer
from touchline_runtime.config.settings import read_settings
from touchline_runtime.process import logs
from touchline_runtime.process import run as process

from touchline_stage_engine.settings import StageEngineSettings


def repartition(
    partitions: Annotated[int, typer.Argument(min=1, max=4096, metavar="N", help="The new number of partitions.")],
) -> None:
    """Change the number of partitions: new topics and tables, filled from the old ones.

    Stop ingest and the notifier, wait until the engine's lag is 0, and stop it; other consumers of the topics, too. The
    command can be run again when it was interrupted. Afterwards set TOUCHLINE_PARTITIONS for every service.
    """

    from touchline_stage_engine import bootstrap_commands

    with process.explained():
        settings = read_settings(StageEngineSettings)
        logs.configure("stage-engine", format=settings.log_format, level=settings.log_level)
        done = asyncio.run(
            bootstrap_commands.repartition(settings, partitions, lambda line: typer.echo(line, err=True))
        )
    if done is None:
        typer.echo(f"nothing to do: the customers are filed by {partitions} partitions")
        return
    for name, number in sorted(done.records.items()):
        typer.echo(f"topic {name:<20} {number} records")
    for table, number in sorted(done.rows.items()):
        typer.echo(f"table {table:<20} {number} rows")
    typer.echo(f"complete: set TOUCHLINE_PARTITIONS={partitions} for every service, and start them")


def _report(line: str) -> None:
    typer.echo(line, err=True)
