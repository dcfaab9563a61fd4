"""``touchline-stage-engine publish`` and ``diff``: definitions from a repository, by hand or in CI."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from touchline_runtime.config.settings import read_settings
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.process import logs
from touchline_runtime.process import run as process
from touchline_runtime.publishing.service_client import ServiceClient, refuse

from touchline_stage_engine.settings import StageEngineSettings

File = Annotated[Path, typer.Argument(help="A lifecycle definition (YAML).")]
Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Ask the stage engine at this address, with the token in TOUCHLINE_PUBLISH_TOKEN. Default: write to the "
        "database, TOUCHLINE_DATABASE_URL.",
    ),
]


def publish(
    file: File,
    comment: Annotated[str, typer.Option(help="Why; the list of versions and the audit log show it.")] = "",
    on_change: Annotated[
        Literal["pin", "refold"] | None, typer.Option(help="Replaces the definition's `on_change`.")
    ] = None,
    effective_from: Annotated[
        str | None, typer.Option(metavar="TIME", help="Replaces the definition's `effective_from` (RFC 3339).")
    ] = None,
    base: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="The version that the file was made from; the new version is then numbered automatically. Default: "
            "the file's version has to be one higher than the last.",
        ),
    ] = None,
    url: Url = None,
) -> None:
    """Publish a definition: running engines take it up within seconds.

    Does nothing when the version in force has the same content. Exit code 1: another version is in force than the
    definition was made from, or the lifecycle is managed by file.
    """
    settings = _settings()
    with process.explained():
        text, definition = _read(file)
        body: dict[str, Any] = {"definition": text, "comment": comment, "base": base, "on_change": on_change}
        if effective_from is not None:
            body["effective_from"] = effective_from
        if url is not None:
            done = _service(settings, url).change("POST", f"/v1/lifecycles/{definition.lifecycle}/versions", body)
            version, changed = done["version"], done["changed"]
        else:
            from touchline_runtime.publishing.publication import PublicationRefusedError

            from touchline_stage_engine import bootstrap_commands

            try:
                version, changed = asyncio.run(bootstrap_commands.publish(settings, definition.lifecycle, body))
            except PublicationRefusedError as error:
                refuse(str(error))
    what = "published" if changed else "already in force"
    Console(emoji=False, stderr=True).print(
        f"[green]{what}[/]: {definition.lifecycle} version {version}", highlight=False
    )


def diff(file: File, url: Url = None) -> None:
    """Compare a definition with the version in force: text and meaning.

    Exit code 0: the same meaning; 1: another meaning, or nothing is in force; 2: trouble.
    """
    settings = _settings()
    with process.explained():
        text, definition = _read(file)
        name = definition.lifecycle
        if url is not None:
            in_force = _service(settings, url).get(f"/v1/lifecycles/{name}")
            before = None if in_force is None else (in_force["version"], in_force["definition"])
        else:
            from touchline_stage_engine import bootstrap_commands

            before = asyncio.run(bootstrap_commands.definition_in_force(settings, name))
    if before is None:
        Console(emoji=False, stderr=True).print(f"no version of {name} is in force", highlight=False)
        raise typer.Exit(1)
    from touchline_runtime.publishing.differences import text_difference

    from touchline_stage_engine.core.definitions.differences import differences
    from touchline_stage_engine.core.definitions.parse import read_definition

    number, old = before
    for line in text_difference(old, text, f"version {number}", str(file)):
        typer.echo(line)
    found = differences(read_definition(old, name), definition)
    for difference in found:
        typer.echo(f"{difference.where}: {difference.text}")
    if not found:
        Console(emoji=False, stderr=True).print(f"[green]the same meaning[/] as version {number}", highlight=False)
    raise typer.Exit(1 if found else 0)


def _settings() -> StageEngineSettings:
    with process.explained():
        settings = read_settings(StageEngineSettings)
    logs.configure("stage-engine", format=settings.log_format, level="WARNING")
    return settings


def _read(file: Path) -> tuple[str, Any]:
    """The text of a file, and its definition."""
    from touchline_runtime.yaml.positions import FaultyDocumentError

    from touchline_stage_engine.core.definitions.parse import read_definition

    try:
        text = file.read_text(encoding="utf-8")
        return text, read_definition(text, str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} can't be read: {error}") from None
    except FaultyDocumentError as error:
        raise ConfigurationError(str(error)) from None


def _service(settings: StageEngineSettings, url: str) -> ServiceClient:
    return ServiceClient(url, settings.publish_token.get_secret_value())
