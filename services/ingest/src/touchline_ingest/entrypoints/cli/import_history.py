"""``touchline-ingest import FILE``: import historical touchpoints from CSV or NDJSON."""

import asyncio
import hashlib
import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from touchline_runtime.config.settings import read_settings
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.process import logs
from touchline_runtime.process import run as process
from touchline_runtime.yaml.positions import FaultyDocumentError

from touchline_ingest.application.import_history import Import, run_import
from touchline_ingest.application.ports import ProgressStore
from touchline_ingest.core.history.import_mapping import RowMapping, default_mapping, read_mapping
from touchline_ingest.core.history.rows import Progress, Row
from touchline_ingest.core.touchpoints.acceptance import Terms
from touchline_ingest.settings import IngestSettings

_SHOWN = 10


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV (.csv, .tsv; first line: column names) or NDJSON.")],
    source: Annotated[str, typer.Option(help="Name of the source that the touchpoints belong to.")],
    mapping: Annotated[Path | None, typer.Option(help="YAML file that maps columns to fields.")] = None,
    format: Annotated[str | None, typer.Option(help="csv or ndjson. Default: by the file's name.")] = None,  # noqa: A002
    encoding: Annotated[
        str | None, typer.Option(help="The file's encoding, such as windows-1252 or latin-1. Default: utf-8.")
    ] = None,
    backfill: Annotated[
        bool,
        typer.Option(help="Flag everything as backfill, so that no play acts on it (default), or keep the flags."),
    ] = True,
    dry_run: Annotated[bool, typer.Option(help="Judge every row and publish nothing; needs no Kafka.")] = False,
    restart: Annotated[bool, typer.Option(help="Start at the first row, not where an earlier run stopped.")] = False,
    rejects: Annotated[Path | None, typer.Option(help="Write rejected rows here, as NDJSON, with the reason.")] = None,
) -> None:
    """Import history. An interrupted import continues where it stopped; a repeated one creates no duplicates.

    The exit code is 1 when a row was rejected. A file whose content changed under the same name is a new file.

    A row without an id gets one derived from its content: two rows with the same values are one touchpoint.
    """
    from touchline_ingest import bootstrap

    with process.explained():
        if format not in (None, "csv", "ndjson"):
            raise ConfigurationError(f"--format {format}: write csv or ndjson")
        history = bootstrap.history_file(file, format, encoding)
        rows = read_mapping_file(mapping) if mapping else default_mapping(history.columns)
        settings = read_settings(IngestSettings)
        work = Import(history, rows, _terms(source, settings, backfill=backfill))
        store = bootstrap.progress_file(file)
        if restart:
            store.forget()
        if dry_run:
            start = Progress(source=source, size=history.size)
            done = asyncio.run(_import(work, start, None, None, TerminalReport(file, start, rejects)))
        else:
            settings.need("kafka_bootstrap_servers")
            logs.configure("ingest", format=settings.log_format, level="WARNING")
            plan = _plan(settings, work.terms, history.format, history.encoding, mapping)
            start = store.read(source, history.size, plan)
            if start.position == history.size:
                _say("nothing is left to import: this file was imported before (--restart imports it again)")
            elif start.position:
                _say(f"continuing after line {start.line}: {start.accepted} accepted earlier (--restart starts over)")
            done = asyncio.run(_import(work, start, settings, store, TerminalReport(file, start, rejects)))
    verb = "would be accepted" if dry_run else "accepted"
    _say(f"{done.accepted} {verb}, {done.rejected} rejected, of {file}")
    raise typer.Exit(1 if done.rejected else 0)


async def _import(
    work: Import,
    start: Progress,
    settings: IngestSettings | None,
    store: ProgressStore | None,
    report: "TerminalReport",
) -> Progress:
    from touchline_ingest.bootstrap import connected

    async with connected(settings) if settings else nullcontext() as publisher:
        with report:
            return await run_import(work, start, publisher, store, report)


class TerminalReport:
    """Shows an import on the terminal, and writes rejected rows to a file."""

    def __init__(self, file: Path, start: Progress, rejects: Path | None = None) -> None:
        self._rejected = 0
        mode = "ab" if start.position else "wb"
        self._rejects: AbstractContextManager[IO[bytes] | None] = rejects.open(mode) if rejects else nullcontext()
        self._out: IO[bytes] | None = None
        self._bar = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(emoji=False, stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(file.name, total=file.stat().st_size, completed=start.position)

    def __enter__(self) -> "TerminalReport":
        self._out = self._rejects.__enter__()
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._rejects.__exit__(kind, error, traceback)
        if error is None and self._rejected > _SHOWN:
            _say(f"… and {self._rejected - _SHOWN} more lines rejected (--rejects FILE writes them to a file)")

    def rejected(self, row: Row, error: str) -> None:
        """Show the first rejected rows; write all of them to the file."""
        self._rejected += 1
        if self._rejected <= _SHOWN:
            _say(f"line {row.number}: {error}")
        if self._out is not None:
            line = {"line": row.number, "error": error, "row": row.content}
            self._out.write(_as_json(line) + b"\n")

    def looks_misspelt(self, type_name: str, meant: str) -> None:
        """Warn about a type that no rule will count."""
        _say(f"warning: type {type_name!r} is accepted, and looks like {meant!r}, which it is not")

    def advanced(self, progress: Progress) -> None:
        """Move the progress bar."""
        self._bar.update(self._task, completed=progress.position)

    def retrying(self, reason: str, attempt: int, attempts: int) -> None:
        """Say why the import waits."""
        _say(f"{reason}; trying again ({attempt} of {attempts})")


def _as_json(line: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(line, default=str)
    except orjson.JSONEncodeError:
        # An integer beyond 64 bits, or deep nesting: reasons for which rows are rejected.
        return json.dumps(line, default=str).encode()


def _plan(settings: IngestSettings, terms: Terms, format: str, encoding: str, mapping: Path | None) -> str:  # noqa: A002
    """A fingerprint of the destination, and of how the file is read."""
    parts = (
        settings.kafka_bootstrap_servers,
        settings.topic_prefix,
        terms.source,
        str(terms.backfill),
        format,
        encoding,
        mapping.read_text(encoding="utf-8") if mapping else "",
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _terms(source: str, settings: IngestSettings, *, backfill: bool) -> Terms:
    """The source's own terms, where it is in the sources file."""
    from touchline_ingest.bootstrap import configured_sources

    terms = Terms(source)
    if settings.sources_file is not None:
        entry = configured_sources(settings.sources_file).entries.get(source)
        terms = entry.terms() if entry else terms
    return replace(terms, backfill=True if backfill else None)


def read_mapping_file(path: Path) -> RowMapping:
    """The mapping in a file.

    Raises:
        ConfigurationError: it can't be read or used.
    """
    try:
        return read_mapping(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from None
    except FaultyDocumentError as error:
        raise ConfigurationError(str(error)) from None


def _say(text: str) -> None:
    Console(emoji=False, stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)
