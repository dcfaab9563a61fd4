"""``touchline-ingest keys new|revoke``."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.process import run as process
from touchline_schemas.definitions.durations import parse_duration

from touchline_ingest.application.keys import check_kind, new_key
from touchline_ingest.core.access.keys import key_hash

app = typer.Typer(no_args_is_help=True, help="Create, rotate and revoke the write keys of sources.")

_File = Annotated[
    Path | None, typer.Option(envvar="TOUCHLINE_SOURCES_FILE", help="The sources file to change.", show_envvar=True)
]


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The key's source; it is added to the file if it is not in it.")],
    file: _File = None,
    kind: Annotated[str, typer.Option(help="Kind of a source that is added.")] = "api",
    overlap: Annotated[str, typer.Option(help="How long the earlier keys stay valid: 7d, 12h, 0.")] = "7d",
) -> None:
    """Create a write key and show it once: only its hash is stored.

    A running service reads the changed file within a second.
    """
    from touchline_ingest.bootstrap import key_manager

    key = new_key()
    out = Console(emoji=False, highlight=False, soft_wrap=True)
    with process.explained():
        check_kind(kind)
        if file is None:
            out.print(f"key: {key}", markup=False)
            out.print(f"  - {{name: {name}, kind: {kind}, key_sha256: {key_hash(key)}}}", markup=False)
            out.print("Add the second line under `sources:` in the sources file. The key is not shown again.")
            return
        key_manager(file, create=True).add(name, key, kind=kind, overlap=_duration(overlap))
    out.print(f"key: {key}", markup=False)
    out.print(f"{file} now contains its hash, for source {name}. The key is not shown again.", markup=False)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The key's source.")],
    sha256: Annotated[str | None, typer.Option(help="The key's hash, or the beginning of it.")] = None,
    key: Annotated[str | None, typer.Option(help="The key itself (it stays in your shell's history).")] = None,
    file: _File = None,
) -> None:
    """Revoke a key at once: requests with it are answered 401 as soon as the service has read the file."""
    from touchline_ingest.bootstrap import key_manager

    with process.explained():
        if (sha256 is None) == (key is None):
            raise ConfigurationError("say which key: --sha256 with the beginning of its hash, or --key")
        if file is None:
            raise ConfigurationError("say which file: --file, or TOUCHLINE_SOURCES_FILE")
        digest = sha256 if sha256 is not None else key_hash(key or "")
        key_manager(file, create=False).revoke(name, digest)
    Console(emoji=False, highlight=False).print(f"revoked: {name} {digest[:12]}…", markup=False)


def _duration(text: str) -> timedelta:
    try:
        return timedelta(microseconds=0 if text == "0" else parse_duration(text))
    except ValueError as error:
        raise ConfigurationError(f"--overlap: {error}; or 0") from None
