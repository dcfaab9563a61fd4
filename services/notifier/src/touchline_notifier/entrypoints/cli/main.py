"""The command line: ``touchline-notifier run | serve | check DIR | plays | migrate | …``."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import orjson
import typer
import uvloop
from rich.console import Console
from touchline_runtime.config.settings import read_settings
from touchline_runtime.process.command_line import Host, Port
from touchline_runtime.process.run import explained, fail, main

from touchline_notifier import bootstrap, bootstrap_commands
from touchline_notifier.application.api_ports import Replay
from touchline_notifier.core.plays.play import json_schema
from touchline_notifier.core.plays.preview import Wanted
from touchline_notifier.entrypoints.cli.output import ReplayStatus, instant, show_endpoints
from touchline_notifier.entrypoints.cli.preview import show
from touchline_notifier.entrypoints.cli.publish import diff, publish
from touchline_notifier.entrypoints.cli.run_preview import run_preview
from touchline_notifier.settings import NotifierSettings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Sends the right action once, at a good time, or holds it back with a reason. Settings are environment "
    "variables TOUCHLINE_…; docs/settings.md lists them.",
)


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
        checked = bootstrap_commands.check(settings, folder)
        if not checked.plays:
            fail(f"{folder} has no plays: they are files *.yaml or *.yml", code=1)
        say = Console(emoji=False, soft_wrap=True, highlight=False, markup=False)
        for fault in checked.faults:
            say.print(str(fault), style="red")
        for warning in checked.warnings:
            say.print(f"{warning} (warning)", style="yellow")
        say.print(f"{checked.sound} of {checked.plays} plays are sound")
        if checked.faults:
            raise typer.Exit(1)


app.command()(publish)
app.command()(diff)
app.command(hidden=True)(run_preview)


@app.command()
def preview(
    customer: Annotated[str | None, typer.Option(help="This customer's facts alone.")] = None,
    day: Annotated[
        str | None,
        typer.Option(
            help="Facts of this UTC day, 2026-03-01 (imported ones by when they became true); else the last 24 h."
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="So many days, from that day on or up to now.")] = 1,
    facts: Annotated[Path | None, typer.Option(help="Facts from a file: CloudEvents, one a line.")] = None,
    ignore_backfill: Annotated[
        bool, typer.Option("--ignore-backfill", help="Take facts of imported history as if each had just happened.")
    ] = False,
    folder: Annotated[Path | None, typer.Option("--plays", help="Folder of plays (TOUCHLINE_PLAYS_DIR).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show which actions the plays would take on recorded facts, with each limit that held one back. Sends nothing.

    Profiles and earlier actions are those in the database; without TOUCHLINE_DATABASE_URL nothing is known of anybody.
    """
    with explained():
        settings = read_settings(NotifierSettings, plays_dir=folder)
        wanted = Wanted(customer=customer, day=day, days=days, facts=facts, ignore_backfill=ignore_backfill)
        show(uvloop.run(bootstrap_commands.previewed(settings, wanted)), as_json=as_json)


@app.command()
def pause(
    reason: Annotated[
        str, typer.Argument(help="Shown to those who look at the switch.")
    ] = "switched off by an operator",
) -> None:
    """Switch all sending off. Actions are held back, and decided again when it is on."""
    with explained():
        uvloop.run(bootstrap_commands.switch(read_settings(NotifierSettings), sending=False, reason=reason))


@app.command()
def resume() -> None:
    """Switch sending on again."""
    with explained():
        uvloop.run(bootstrap_commands.switch(read_settings(NotifierSettings), sending=True, reason=None))


@app.command()
def replay(
    deliveries: Annotated[
        list[UUID] | None, typer.Argument(metavar="ID…", help="Deliveries, as /v1/deliveries names them.")
    ] = None,
    endpoint: Annotated[str | None, typer.Option(help="All deliveries of this endpoint, instead of ids.")] = None,
    status: Annotated[
        ReplayStatus, typer.Option(help="With --endpoint: those that failed, were cancelled, or were sent.")
    ] = ReplayStatus.failed,
    since: Annotated[
        str | None, typer.Option(help="With --endpoint: that ended then or later, 2026-03-01 or 2026-03-01T12:00:00Z.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --endpoint: list them, and change nothing.")] = False,
) -> None:
    """Try deliveries again from the start, each under the same id; a running notifier sends them.

    A replay is sent at any age. Quiet hours, business days, caps, consent and suppressions hold for it too, and
    one that is not wanted any more (the customer recovered or moved on) is cancelled.

    Exit code 1 when one of the ids does not exist.
    """
    with explained():
        if (endpoint is None) == (not deliveries):
            fail("name deliveries by their ids, or all of an endpoint by --endpoint NAME", code=2)
        if endpoint is not None:
            wanted = Replay(endpoint, status.value, instant(since))
            _replay_all(read_settings(NotifierSettings), wanted, dry_run=dry_run)
            return
        if since is not None or dry_run or status is not ReplayStatus.failed:
            fail("--status, --since and --dry-run go with --endpoint NAME", code=2)
        assert deliveries is not None, "checked above"
        results = uvloop.run(bootstrap_commands.replay(read_settings(NotifierSettings), deliveries))
        for delivery, result in results.items():
            typer.echo(f"{delivery} {result or 'does not exist'}")
        if None in results.values():
            raise typer.Exit(1)


def _replay_all(settings: NotifierSettings, wanted: Replay, *, dry_run: bool) -> None:
    found, breaker = uvloop.run(bootstrap_commands.replay_all(settings, wanted, dry_run=dry_run))
    for one in found:
        typer.echo(f"{one['id']} {one['customer_id']} {one['since']} {one['last_error'] or ''}".rstrip())
    would = "would be" if dry_run else "will be"
    typer.echo(f"{len(found)} {wanted.status} deliveries to {wanted.endpoint} {would} tried again")
    if breaker == "disabled":
        typer.echo(
            f"{wanted.endpoint} is disabled, and gets nothing: touchline-notifier endpoints enable {wanted.endpoint}"
        )


endpoints_app = typer.Typer(no_args_is_help=True, help="Endpoints: which are disabled, and opening them again.")
app.add_typer(endpoints_app, name="endpoints")


@endpoints_app.command("list")
def list_endpoints(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List endpoints: each one's breaker (closed, open, half_open or disabled), what is pending, and the last error."""
    with explained():
        found = uvloop.run(bootstrap_commands.endpoints(read_settings(NotifierSettings)))
        if as_json:
            for one in found:
                typer.echo(orjson.dumps(one).decode())
            return
        show_endpoints(found)


@endpoints_app.command("enable")
def enable_endpoints(names: Annotated[list[str], typer.Argument(metavar="NAME…")]) -> None:
    """Send to endpoints again that answered 410 or failed for days; a running notifier continues immediately.

    What failed meanwhile stays failed until it is replayed (`replay`).
    """
    with explained():
        uvloop.run(bootstrap_commands.enable(read_settings(NotifierSettings), names))
        for name in names:
            typer.echo(f"{name} enabled")


@app.command()
def plays() -> None:
    """List the plays that ship: run them by naming them in TOUCHLINE_PLAYS, or copy and edit them."""
    say = Console(emoji=False, soft_wrap=True, highlight=False, markup=False)
    for name, (path, play) in bootstrap_commands.shipped().items():
        say.print(f"{name:<28} {play.title or ''}\n{'':<28} {path}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of plays, for editors."""
    typer.echo(orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2).decode())


if __name__ == "__main__":
    app()
