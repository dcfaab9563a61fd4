"""``touchline-stage-engine simulate``: simulate a lifecycle definition over recorded history."""

from pathlib import Path
from typing import Annotated

import typer
from touchline_runtime.config.settings import read_settings
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.process import logs
from touchline_runtime.process import run as process

from touchline_stage_engine.settings import StageEngineSettings


def simulate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The lifecycle definition to simulate (YAML).")],
    touchpoints: Annotated[
        Path | None,
        typer.Option(
            metavar="NDJSON",
            help="File of recorded touchpoints: one JSON object on each line, as posted to ingest or as on the topic.",
        ),
    ] = None,
    from_database: Annotated[
        bool, typer.Option("--from-database", help="Read the touchpoints that the engine has stored.")
    ] = False,
    running: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Compare with this lifecycle or definition file. Default: the lifecycle of that name that runs in the "
            "database, that is in TOUCHLINE_LIFECYCLES_DIR, or that is built in.",
        ),
    ] = None,
    plays: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Count the facts that the plays in this folder would consider, before their limits."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Fire timers up to this instant (RFC 3339). Default: now.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of tables.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Also write the report as an HTML page with charts.")
    ] = None,
) -> None:
    """Fold recorded history under a definition, and report what would change. Nothing is written to the database."""
    # Importing the charts takes a second; the other commands do not need them.
    from touchline_stage_engine.application.simulation import SimulationRequest
    from touchline_stage_engine.entrypoints.cli import simulation

    with process.explained():
        if (touchpoints is None) is not from_database:
            raise ConfigurationError("name the history: either --touchpoints history.ndjson or --from-database")
        settings = read_settings(StageEngineSettings)
        logs.configure("stage-engine", format=settings.log_format, level="WARNING")
        request = SimulationRequest(file, touchpoints, running, plays, simulation.instant(until))
        simulation.run(settings, request, as_json=as_json, html=html)
