"""``touchline-ingest keys new|revoke``."""

import os
import secrets
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from touchline_runtime import process
from touchline_runtime.errors import ConfigurationError
from touchline_schemas.durations import parse_duration

from touchline_ingest.adapters.sources_watch import fetch_secret
from touchline_ingest.core.keys import PREFIX, key_hash
from touchline_ingest.core.keys_file import KeysFileError, with_new_key, without_key
from touchline_ingest.core.source_book import KEYED_KINDS
from touchline_ingest.core.sources_file import SourcesFileError, read_sources

app = typer.Typer(no_args_is_help=True, help="Write keys of sources: make one, rotate with overlap, revoke.")

_File = Annotated[
    Path | None, typer.Option(envvar="TOUCHLINE_SOURCES_FILE", help="The sources file to change.", show_envvar=True)
]


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The source the key is for; added to the file when it is not in it.")],
    file: _File = None,
    kind: Annotated[str, typer.Option(help="Kind of a source that is added.")] = "api",
    overlap: Annotated[str, typer.Option(help="How long its earlier keys stay in force: 7d, 12h, 0.")] = "7d",
) -> None:
    """Make a write key, and show it once: only its hash is kept.

    A running service takes the changed file up within a second.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    digest = key_hash(key)
    out = Console(highlight=False, soft_wrap=True)
    with process.explained():
        if kind not in KEYED_KINDS:
            raise ConfigurationError(f"a source of kind {kind!r} has no write key; {', '.join(sorted(KEYED_KINDS))} do")
        if file is None:
            out.print(f"key: {key}", markup=False)
            out.print(f"  - {{name: {name}, kind: {kind}, key_sha256: {digest}}}", markup=False)
            out.print("The second line goes under `sources:` in the sources file; the key is not shown again.")
            return
        text = _read(file) if file.exists() else ""
        now = datetime.now(UTC)
        changed = _change(with_new_key, text, name=name, kind=kind, sha256=digest, now=now, overlap=_duration(overlap))
        _write(file, changed, name)
    out.print(f"key: {key}", markup=False)
    out.print(f"{file} has its hash, for source {name}; the key is not shown again.", markup=False)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The source whose key it is.")],
    sha256: Annotated[str | None, typer.Option(help="The key's hash, or the beginning of it.")] = None,
    key: Annotated[str | None, typer.Option(help="The key itself (it stays in your shell's history).")] = None,
    file: _File = None,
) -> None:
    """Revoke a key at once: requests with it are answered 401 as soon as the file is read again."""
    with process.explained():
        if (sha256 is None) == (key is None):
            raise ConfigurationError("say which key: --sha256 with the beginning of its hash, or --key")
        if file is None:
            raise ConfigurationError("say which file: --file, or TOUCHLINE_SOURCES_FILE")
        digest = sha256 if sha256 is not None else key_hash(key or "")
        _write(file, _change(without_key, _read(file), name=name, sha256=digest), name)
    Console(highlight=False).print(f"revoked: {name} {digest[:12]}…", markup=False)


def _change(change: Callable[..., str], text: str, **arguments: object) -> str:
    try:
        return change(text, **arguments)
    except KeysFileError as error:
        raise ConfigurationError(str(error)) from None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file} can't be read: {error.strerror}") from None


def _write(file: Path, text: str, name: str) -> None:
    """Replace the file in one step, so that a running service never reads half of it; refuse to write a bad one.

    Only what concerns the changed source counts: the secrets of others need not be at hand where a key is made.
    """
    from touchline_ingest.bootstrap import registry

    try:
        read_sources(text, registry=registry(), fetch_secret=fetch_secret)
    except SourcesFileError as error:
        ours = [
            line for line in error.problems if line.startswith(f"source {name!r}") or not line.startswith("source ")
        ]
        if ours:
            raise ConfigurationError("\n  ".join([f"{file} is left as it is:", *ours])) from None
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
    try:
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as out:
            out.write(text)
        os.chmod(out.name, mode)
        os.replace(out.name, file)
    except OSError as error:
        raise ConfigurationError(f"{file} can't be written: {error.strerror}") from None


def _duration(text: str) -> timedelta:
    try:
        return timedelta(microseconds=0 if text == "0" else parse_duration(text))
    except ValueError as error:
        raise ConfigurationError(f"--overlap: {error}; or 0") from None
