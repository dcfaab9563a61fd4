"""``touchline-notifier publish`` and ``diff``: plays from a repository, by hand or in CI."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from touchline_runtime.config.settings import read_settings
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.process import logs
from touchline_runtime.process.run import explained
from touchline_runtime.publishing.differences import text_difference
from touchline_runtime.publishing.publication import PublicationRefusedError
from touchline_runtime.publishing.service_client import ServiceClient, refuse
from touchline_runtime.yaml.positions import FaultyDocumentError

from touchline_notifier import bootstrap_commands
from touchline_notifier.core.plays.differences import differences, play_of
from touchline_notifier.settings import NotifierSettings

File = Annotated[Path, typer.Argument(help="A play (YAML). Its templates are in the folder templates/ beside it.")]
Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Ask the notifier at this address, with the token in TOUCHLINE_PUBLISH_TOKEN. Default: write to the "
        "database, TOUCHLINE_DATABASE_URL, with the notifier's other settings.",
    ),
]


def publish(
    file: File,
    comment: Annotated[str, typer.Option(help="Why; the list of versions and the audit log show it.")] = "",
    base: Annotated[
        int | None,
        typer.Option(min=0, help="The version that the file was made from. Default: none may be in force."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace whatever version is in force, instead of --base.")
    ] = False,
    url: Url = None,
) -> None:
    """Publish a play: every fact from now on is decided by it, on all running notifiers.

    Does nothing when the version in force has the same text. Exit code 1: another version is in force than the play
    was made from, or it is managed by file.
    """
    with explained():
        if replace and base is not None:
            raise ConfigurationError("--base and --replace exclude each other: write one of them")
        settings = _settings()
        read = bootstrap_commands.read_play(file)
        text = read.text
        try:
            if url is not None:
                name = play_of(text, str(file)).play
                body = {"definition": text, "comment": comment, "base": base}
                service = _service(settings, url)
                if replace:
                    in_force = service.get(f"/v1/plays/{name}")
                    body["base"] = 0 if in_force is None else in_force["version"] or 0
                done: dict[str, Any] = service.change("PUT", f"/v1/plays/{name}", body)
                version, changed = done["version"], done["changed"]
            else:
                published = bootstrap_commands.publish(settings, text, comment, base, replace_any=replace)
                name, (version, changed) = asyncio.run(published)
        except PublicationRefusedError as error:
            refuse(str(error))
        except FaultyDocumentError as error:
            faults = [read.located(fault._replace(file=str(file))) for fault in error.faults]
            raise ConfigurationError("\n".join(map(str, faults))) from None
    what = "published" if changed else "already in force"
    Console(emoji=False, stderr=True).print(f"[green]{what}[/]: {name} version {version}", highlight=False)


def diff(file: File, url: Url = None) -> None:
    """Compare a play with the one in force: text and meaning.

    Exit code 0: the same meaning; 1: another meaning, or nothing is in force; 2: trouble.
    """
    with explained():
        settings = _settings()
        read = bootstrap_commands.read_play(file)
        text = read.text
        try:
            play = play_of(text, str(file))
        except FaultyDocumentError as error:
            raise ConfigurationError("\n".join(str(read.located(fault)) for fault in error.faults)) from None
        if url is not None:
            in_force = _service(settings, url).get(f"/v1/plays/{play.play}")
            before = None if in_force is None else (in_force["version"] or 0, in_force["text"])
        else:
            before = asyncio.run(bootstrap_commands.play_in_force(settings, play.play))
    if before is None:
        Console(emoji=False, stderr=True).print(f"play {play.play} is not in force", highlight=False)
        raise typer.Exit(1)
    number, old = before
    name = f"version {number}" if number else "in force"
    for line in text_difference(old, text, name, str(file)):
        typer.echo(line)
    found = differences(play_of(old), play)
    for difference in found:
        typer.echo(f"{difference.where}: {difference.text}")
    if not found:
        Console(emoji=False, stderr=True).print(f"[green]the same meaning[/] as {name}", highlight=False)
    raise typer.Exit(1 if found else 0)


def _settings() -> NotifierSettings:
    settings = read_settings(NotifierSettings)
    logs.configure("notifier", format=settings.log_format, level="WARNING")
    return settings


def _service(settings: NotifierSettings, url: str) -> ServiceClient:
    return ServiceClient(url, settings.publish_token.get_secret_value())
