"""The command line ``touchline-stage-engine``."""

import asyncio
import socket
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from touchline_runtime.process import run as process
from touchline_runtime.process.command_line import Host, Port, start

from touchline_stage_engine.entrypoints.cli.erase import erase, erasure
from touchline_stage_engine.entrypoints.cli.publish import diff, publish
from touchline_stage_engine.entrypoints.cli.repartition import repartition
from touchline_stage_engine.entrypoints.cli.run_simulation import run_simulation
from touchline_stage_engine.entrypoints.cli.simulate import simulate
from touchline_stage_engine.settings import StageEngineSettings

app = typer.Typer(
    no_args_is_help=True,
    help="Keeps every customer in their stage of every lifecycle.",
    pretty_exceptions_enable=False,
)


def _settings(host: str | None = None, port: int | None = None) -> StageEngineSettings:
    return start(StageEngineSettings, "stage-engine", host, port)


@app.command()
def run(
    host: Host = None,
    port: Port = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Number of processes that fold.")] = 1,
) -> None:
    """Fold touchpoints and serve the query API until SIGTERM or Ctrl-C."""
    from touchline_stage_engine import bootstrap

    settings = _settings(host, port)
    if workers == 1:
        process.main(bootstrap.run(settings))
    process.main(bootstrap.run_workers(settings, workers))


@app.command(hidden=True)
def worker(
    index: Annotated[int, typer.Option(help="Index of the worker.")],
    descriptor: Annotated[int, typer.Option("--socket", help="File descriptor of the socket to listen on.")],
) -> None:
    """Run one of the processes of `run --workers`."""
    from touchline_stage_engine import bootstrap

    settings = _settings()
    process.main(bootstrap.run_worker(settings, index, socket.socket(fileno=descriptor)))


@app.command()
def serve(host: Host = None, port: Port = None) -> None:
    """Serve the query API without folding."""
    from touchline_stage_engine import bootstrap

    process.main(bootstrap.serve(_settings(host, port)))


@app.command()
def migrate() -> None:
    """Create the tables, or migrate them to the newest version."""
    from touchline_stage_engine import bootstrap

    settings = _settings()
    with process.explained():
        asyncio.run(bootstrap.migrate(settings))


@app.command()
def check(file: Annotated[Path, typer.Argument(help="A lifecycle definition (YAML).")]) -> None:
    """Check a lifecycle definition, and print it as a diagram (Mermaid)."""
    from touchline_runtime.yaml.positions import FaultyDocumentError

    from touchline_stage_engine.core.definitions.diagram import draw
    from touchline_stage_engine.core.definitions.near_misses import near_misses
    from touchline_stage_engine.core.definitions.parse import read_definition

    try:
        text = file.read_text(encoding="utf-8")
        definition = read_definition(text, str(file))
    except (OSError, UnicodeDecodeError) as error:
        process.fail(f"{file} can't be read: {error}")
    except FaultyDocumentError as error:
        process.fail(str(error))
    said = Console(emoji=False, stderr=True)
    for warning in near_misses(text, str(file)):
        said.print(f"{warning} (warning)", style="yellow", markup=False, highlight=False, soft_wrap=True)
    said.print(
        f"[green]ok[/]: {definition.lifecycle} version {definition.version}, {len(definition.every_stage)} stages"
    )
    typer.echo(draw(definition))


app.command()(simulate)
app.command(hidden=True)(run_simulation)
app.command()(publish)
app.command()(diff)


app.command()(erase)
app.command()(erasure)
app.command()(repartition)


@app.command()
def rebuild() -> None:
    """Fold every customer again from their touchpoints, in the background."""

    from touchline_stage_engine import bootstrap_commands

    settings = _settings()
    with process.explained():
        asyncio.run(bootstrap_commands.rebuild(settings))
    Console(emoji=False, stderr=True).print(
        "rebuild requested; touchline_refolds_pending counts the partitions that are not finished"
    )


if __name__ == "__main__":
    app()
