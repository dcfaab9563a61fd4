"""``touchline-stage-engine``: keeps each customer at their stage of each lifecycle."""

import asyncio
import socket
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from touchline_runtime import logs, process
from touchline_runtime.settings import read_settings

from touchline_stage_engine.entrypoints.simulate import simulate
from touchline_stage_engine.settings import StageEngineSettings

app = typer.Typer(
    no_args_is_help=True,
    help="Keeps each customer at their stage of each lifecycle.",
    pretty_exceptions_enable=False,
)

Host = Annotated[str | None, typer.Option(help="Address to listen on (TOUCHLINE_HTTP_HOST).")]
Port = Annotated[int | None, typer.Option(help="Port to listen on (TOUCHLINE_HTTP_PORT).")]


def _settings(host: str | None = None, port: int | None = None) -> StageEngineSettings:
    with process.explained():
        settings = read_settings(StageEngineSettings, http_host=host, http_port=port)
    logs.configure("stage-engine", format=settings.log_format, level=settings.log_level)
    return settings


@app.command()
def run(
    host: Host = None,
    port: Port = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that fold.")] = 1,
) -> None:
    """Fold touchpoints and serve the query API until SIGTERM or Ctrl-C."""
    from touchline_stage_engine import bootstrap

    settings = _settings(host, port)
    if workers == 1:
        process.main(bootstrap.run(settings))
    process.main(bootstrap.run_workers(settings, workers))


@app.command(hidden=True)
def worker(
    index: Annotated[int, typer.Option(help="Which of the workers.")],
    descriptor: Annotated[int, typer.Option("--socket", help="File descriptor of the socket to listen on.")],
) -> None:
    """One of the processes of `run --workers`."""
    from touchline_stage_engine import bootstrap

    settings = _settings()
    process.main(bootstrap.run_worker(settings, index, socket.socket(fileno=descriptor)))


@app.command()
def serve(host: Host = None, port: Port = None) -> None:
    """Serve the query API and the console alone."""
    from touchline_stage_engine import bootstrap

    process.main(bootstrap.serve(_settings(host, port)))


@app.command()
def migrate() -> None:
    """Create the tables, or bring them to the newest version."""
    from touchline_stage_engine import bootstrap

    settings = _settings()
    with process.explained():
        asyncio.run(bootstrap.migrate(settings))


@app.command()
def check(file: Annotated[Path, typer.Argument(help="A lifecycle definition (YAML).")]) -> None:
    """Check a lifecycle definition, and draw it as a diagram (Mermaid)."""
    from touchline_runtime.places import FaultyDocumentError

    from touchline_stage_engine.core.mermaid import draw
    from touchline_stage_engine.core.reading import read_definition

    try:
        definition = read_definition(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        process.fail(f"{file} can't be read: {error}")
    except FaultyDocumentError as error:
        process.fail(str(error))
    Console(stderr=True).print(
        f"[green]ok[/]: {definition.lifecycle} version {definition.version}, {len(definition.every_stage)} stages"
    )
    typer.echo(draw(definition))


app.command()(simulate)


@app.command()
def erase(customer: Annotated[str, typer.Argument(metavar="ID", help="A customer id or key, or any alias.")]) -> None:
    """Erase a customer: every row, every alias. Touchpoints that occurred before now are dropped from here on."""
    from touchline_stage_engine import bootstrap

    settings = _settings()
    with process.explained():
        asyncio.run(bootstrap.erase(settings, customer))
    Console(stderr=True).print("erasure requested; the engine that owns the customer's partition carries it out")


@app.command()
def rebuild() -> None:
    """Fold everybody again from their touchpoints, in the background."""
    from touchline_stage_engine import bootstrap

    settings = _settings()
    with process.explained():
        asyncio.run(bootstrap.rebuild(settings))
    Console(stderr=True).print("rebuild requested; touchline_refolds_pending tells how many partitions are at it")


if __name__ == "__main__":
    app()
