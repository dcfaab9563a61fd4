"""touchline-devstack: Kafka and PostgreSQL for this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from touchline_devstack.errors import DevstackError
from touchline_devstack.progress import OnConsole
from touchline_devstack.settings import DevstackSettings
from touchline_devstack.stack import PartStatus, Stack

app = typer.Typer(
    help="Kafka and PostgreSQL for a machine that has neither. Everything it keeps lies in TOUCHLINE_DEVSTACK_DIR "
    "(default: .touchline in the current folder). Servers named by TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS and "
    "TOUCHLINE_DATABASE_URL are used instead when set; else Docker's, when an engine answers; else embedded ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def up() -> None:
    """Start what doesn't run and return when both servers answer."""
    with _explained() as stack:
        if stack.up():
            _tell(stack.status())
        else:
            typer.echo("already up", err=True)
            _tell(stack.status())


@app.command()
def down() -> None:
    """Stop both servers cleanly; their data stays."""
    with _explained() as stack:
        typer.echo("stopped" if stack.down() else "nothing of this folder ran", err=True)


@app.command()
def status() -> None:
    """Say what runs and whether it answers; exit code 1 when something doesn't."""
    with _explained() as stack:
        found = stack.status()
        _tell(found)
        if any(one.trouble is not None for one in found):
            raise typer.Exit(1)


@app.command()
def env() -> None:
    """Print NAME=value lines for the services: `export $(touchline-devstack env)`."""
    with _explained() as stack:
        for name, value in stack.env().items():
            typer.echo(f"{name}={value}")


def _tell(found: list[PartStatus]) -> None:
    for one in found:
        where = (one.address or "no address yet").rsplit("@", 1)[-1]  # without the password
        pid = f", pid {one.pid}" if one.pid is not None else ""
        typer.echo(f"{one.title:<10}  {one.kind}, {where}{pid}: {one.trouble or 'answers'}")


@contextmanager
def _explained() -> Iterator[Stack]:
    """A stack from the environment; errors are printed as one paragraph, with exit code 1."""
    try:
        yield Stack(DevstackSettings.from_environment(), narrator=OnConsole())
    except DevstackError as error:
        typer.echo(f"touchline-devstack: {error}", err=True)
        sys.exit(1)
