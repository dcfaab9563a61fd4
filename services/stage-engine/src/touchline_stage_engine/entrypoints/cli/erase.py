"""``touchline-stage-engine erase`` and ``erasure``: request the erasure of a customer, and report its progress."""

import asyncio
from typing import Annotated
from uuid import UUID

import typer
from touchline_runtime.config.settings import read_settings
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.process import logs
from touchline_runtime.process import run as process
from touchline_schemas.identity import customer_key
from touchline_schemas.times import from_micros, to_wire

from touchline_stage_engine.application.identities.message_fields import problem_with_key
from touchline_stage_engine.application.queries.values import ErasureProgress
from touchline_stage_engine.settings import StageEngineSettings

UNKNOWN = 1
"""Exit code: nothing is stored under the id, and no customer was erased under it."""
UNFINISHED = 3
"""Exit code: the erasure was not complete within the timeout."""


def erase(
    customer: Annotated[str, typer.Argument(metavar="ID", help="A customer id, key or alias.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all rows are removed, and count them.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Maximum seconds to wait, with --wait.")] = 60.0,
) -> None:
    """Erase a customer: every row and every alias. Touchpoints that occurred before now are dropped from now on.

    Prints a receipt for the command `erasure`. Exit codes: 0 requested, and complete with --wait; 1 no customer has
    the id; 3 not complete in time.
    """

    from touchline_stage_engine import bootstrap_commands

    with process.explained():
        if (problem := problem_with_key(customer_key(customer))) is not None:
            raise ConfigurationError(f"{customer!r} is not a customer id: {problem}")
        settings = _settings()
        known, receipt, found = asyncio.run(bootstrap_commands.erase(settings, customer, timeout if wait else None))
    typer.echo(f"receipt {receipt}")
    if found is not None:
        _print(found)
    else:
        typer.echo(
            "erasure requested; the engine that owns the customer's partition carries it out: "
            f"touchline-stage-engine erasure {receipt}",
            err=True,
        )
    if not known.stored and known.erased_at is not None:
        typer.echo(f"{customer!r} was erased before, as of {to_wire(from_micros(known.erased_at))}", err=True)
    elif not known.stored:
        typer.echo(
            f"nobody is known by {customer!r}: check the id (a key is written anon:…, email:… or ext:<source>:…). The "
            "request was sent all the same, for touchpoints that wait to be read",
            err=True,
        )
        raise typer.Exit(UNKNOWN)
    if found is not None and not found.complete:
        raise typer.Exit(UNFINISHED)


def erasure(
    receipt: Annotated[UUID, typer.Argument(metavar="RECEIPT", help="Printed by `erase`.")],
) -> None:
    """Report what an erasure has removed. Exit codes: 0 complete; 3 not complete, or the receipt is unknown."""

    from touchline_stage_engine import bootstrap_commands

    with process.explained():
        found = asyncio.run(bootstrap_commands.erasure(_settings(), receipt))
    _print(found)
    if not found.complete:
        raise typer.Exit(UNFINISHED)


def _settings() -> StageEngineSettings:
    settings = read_settings(StageEngineSettings)
    logs.configure("stage-engine", format=settings.log_format, level=settings.log_level)
    return settings


def _print(found: ErasureProgress) -> None:
    if not found.keys:
        typer.echo("nothing erased yet: is an engine running? (an unknown receipt looks the same)")
        return
    state = "complete" if found.complete else "not complete yet"
    as_of = "" if found.erased_at is None else f", as of {to_wire(from_micros(found.erased_at))}"
    typer.echo(f"{state}: {found.keys} {'key' if found.keys == 1 else 'keys'} erased{as_of}")
    for table, rows in sorted(found.removed.items()):
        typer.echo(f"  {table:<20} {rows}")
