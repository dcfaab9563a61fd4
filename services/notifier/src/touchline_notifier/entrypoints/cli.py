"""The command line: ``touchline-notifier run | serve | check DIR | plays | migrate | …``."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import orjson
import typer
import uvloop
from rich.console import Console
from rich.table import Table
from touchline_runtime.process import explained, fail, main
from touchline_runtime.settings import read_settings

from touchline_notifier import bootstrap
from touchline_notifier.core.play import json_schema
from touchline_notifier.core.preview import Wanted
from touchline_notifier.entrypoints.previewing import show
from touchline_notifier.settings import NotifierSettings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The right action, once, at a good time, or held back with a reason. Settings are environment variables "
    "TOUCHLINE_…; docs/settings.md lists them.",
)

Host = Annotated[str | None, typer.Option(help="Address to listen on (TOUCHLINE_HTTP_HOST).")]
Port = Annotated[int | None, typer.Option(help="Port to listen on (TOUCHLINE_HTTP_PORT).")]


@app.command()
def run(host: Host = None, port: Port = None) -> None:
    """Read facts, decide, deliver and publish; answers the API as well. Until SIGTERM."""
    with explained():
        settings = read_settings(NotifierSettings, http_host=host, http_port=port)
        settings.need("kafka_bootstrap_servers", "database_url")
        main(bootstrap.run(settings))


@app.command()
def serve(host: Host = None, port: Port = None) -> None:
    """Answer the API and the pages alone. Until SIGTERM."""
    with explained():
        settings = read_settings(NotifierSettings, http_host=host, http_port=port)
        settings.need("kafka_bootstrap_servers", "database_url")
        main(bootstrap.serve(settings))


@app.command()
def migrate() -> None:
    """Create or migrate the database's tables, and leave."""
    with explained():
        uvloop.run(bootstrap.migrate(read_settings(NotifierSettings)))


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of plays, or one play's file.")],
    lifecycles: Annotated[
        Path | None, typer.Option(help="Folder of lifecycles of your own (TOUCHLINE_LIFECYCLES_DIR).")
    ] = None,
    endpoints: Annotated[Path | None, typer.Option(help="Endpoints file (TOUCHLINE_ENDPOINTS_FILE).")] = None,
) -> None:
    """Check plays: form, lifecycles and stages, endpoints if there is a file, and every template with sample data.

    Exit code 0 when they are sound, 1 when not.
    """
    with explained():
        settings = read_settings(NotifierSettings, lifecycles_dir=lifecycles, endpoints_file=endpoints)
        checked = bootstrap.check(settings, folder)
        if not checked.plays:
            fail(f"{folder} has no plays: they are files *.yaml or *.yml", code=1)
        say = Console(soft_wrap=True, highlight=False, markup=False)
        for fault in checked.faults:
            say.print(str(fault), style="red")
        for warning in checked.warnings:
            say.print(f"{warning} (warning)", style="yellow")
        say.print(f"{checked.sound} of {checked.plays} plays are sound")
        if checked.faults:
            raise typer.Exit(1)


@app.command()
def preview(
    customer: Annotated[str | None, typer.Option(help="This customer's facts alone.")] = None,
    day: Annotated[str | None, typer.Option(help="Facts of this UTC day, 2026-03-01; else the last 24 h.")] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="So many days, from that day on or up to now.")] = 1,
    facts: Annotated[Path | None, typer.Option(help="Facts from a file: CloudEvents, one a line.")] = None,
    folder: Annotated[Path | None, typer.Option("--plays", help="Folder of plays (TOUCHLINE_PLAYS_DIR).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show which actions the plays would take on recorded facts, with each limit that held one back. Sends nothing.

    Profiles and earlier actions are those in the database; without TOUCHLINE_DATABASE_URL nothing is known of anybody.
    """
    with explained():
        settings = read_settings(NotifierSettings, plays_dir=folder)
        wanted = Wanted(customer=customer, day=day, days=days, facts=facts)
        show(uvloop.run(bootstrap.previewed(settings, wanted)), as_json=as_json)


@app.command()
def pause(reason: Annotated[str, typer.Argument(help="For those who wonder.")] = "switched off by an operator") -> None:
    """Switch all sending off. Actions are held back, and decided again when it is on."""
    with explained():
        uvloop.run(bootstrap.switch(read_settings(NotifierSettings), sending=False, reason=reason))


@app.command()
def resume() -> None:
    """Switch sending on again."""
    with explained():
        uvloop.run(bootstrap.switch(read_settings(NotifierSettings), sending=True, reason=None))


@app.command()
def replay(
    deliveries: Annotated[list[UUID], typer.Argument(metavar="ID…", help="Deliveries, as /v1/deliveries names them.")],
) -> None:
    """Try deliveries again from the start, each under the same id; a running notifier sends them.

    Exit code 1 when one of them does not exist.
    """
    with explained():
        told = uvloop.run(bootstrap.replay(read_settings(NotifierSettings), deliveries))
        for delivery, status in told.items():
            typer.echo(f"{delivery} {status or 'does not exist'}")
        if None in told.values():
            raise typer.Exit(1)


endpoints_app = typer.Typer(no_args_is_help=True, help="Endpoints: which are disabled, and opening them again.")
app.add_typer(endpoints_app, name="endpoints")


@endpoints_app.command("list")
def list_endpoints(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List endpoints: open, waiting for a breaker or disabled (and why), and how many deliveries wait for each."""
    with explained():
        found = uvloop.run(bootstrap.endpoints(read_settings(NotifierSettings)))
        if as_json:
            for one in found:
                typer.echo(orjson.dumps(one).decode())
            return
        table = Table("endpoint", "type", "state", "pending", "because")
        for one in found:
            state = "disabled" if one["disabled_at"] else {"closed": "open"}.get(one["breaker"], "waiting")
            because = one.get("disabled_reason") or (
                f"{one['failures']} failures in a row" if one.get("failures") else ""
            )
            table.add_row(one["endpoint"], one["type"] or "(not configured)", state, str(one["pending"]), because)
        Console(highlight=False, markup=False).print(table)


@endpoints_app.command("enable")
def enable_endpoints(names: Annotated[list[str], typer.Argument(metavar="NAME…")]) -> None:
    """Send to endpoints again that answered 410 or failed for days; a running notifier goes on at once.

    What failed meanwhile stays failed until it is replayed (`replay`).
    """
    with explained():
        uvloop.run(bootstrap.enable(read_settings(NotifierSettings), names))
        for name in names:
            typer.echo(f"{name} enabled")


@app.command()
def plays() -> None:
    """List the plays that ship: run them by naming them in TOUCHLINE_PLAYS, or copy and edit them."""
    say = Console(soft_wrap=True, highlight=False, markup=False)
    for name, (path, play) in bootstrap.shipped().items():
        say.print(f"{name:<28} {play.title or ''}\n{'':<28} {path}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of plays, for editors."""
    typer.echo(orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2).decode())
