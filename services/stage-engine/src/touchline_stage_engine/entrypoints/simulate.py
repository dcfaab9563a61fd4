"""``touchline-stage-engine simulate``: what a definition would make of recorded history. Nothing is written."""

from pathlib import Path
from typing import Annotated

import typer
from touchline_runtime import logs, process
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.settings import read_settings

from touchline_stage_engine.settings import StageEngineSettings


def simulate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The candidate: a lifecycle definition (YAML).")],
    touchpoints: Annotated[
        Path | None,
        typer.Option(
            metavar="NDJSON", help="Recorded touchpoints, a JSON object a line, as posted or as on the topic."
        ),
    ] = None,
    from_database: Annotated[bool, typer.Option("--from-database", help="What the engine has stored.")] = False,
    running: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Compare with this lifecycle (or definition file). Default: the one of the candidate's name that runs "
            "in the database, lies in TOUCHLINE_LIFECYCLES_DIR, or is built in.",
        ),
    ] = None,
    plays: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Count the facts that these plays would consider, before their limits."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Fire timers up to this instant (RFC 3339). Default: now.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON instead of tables.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write the report as a page with charts, too.")
    ] = None,
) -> None:
    """Fold recorded history under a definition, and report what would change. Nothing is written to the database."""
    # The other commands shall not wait for charts to be imported.
    from touchline_stage_engine.entrypoints.simulation import Asked, carry_out

    with process.explained():
        if (touchpoints is None) is not from_database:
            raise ConfigurationError("say where the history is: either --touchpoints history.ndjson or --from-database")
        settings = read_settings(StageEngineSettings)
        logs.configure("stage-engine", format=settings.log_format, level="WARNING")
        carry_out(Asked(file, touchpoints, running, plays, until, as_json, html), settings)
