"""``touchline-ingest import FILE``: history from CSV or NDJSON, through the same gate as every door."""

import asyncio
import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from touchline_runtime import logs, process
from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_runtime.places import FaultyDocumentError
from touchline_runtime.settings import read_settings
from touchline_schemas.ids import idempotent_touchpoint_id
from touchline_schemas.topics import TOUCHPOINTS

from touchline_ingest.adapters.history_file import HistoryFile, Progress, ProgressFile, Row
from touchline_ingest.adapters.publisher import Publisher
from touchline_ingest.adapters.sources_watch import load_sources
from touchline_ingest.core.acceptance import Accepted, Rejected, Terms, judge
from touchline_ingest.core.bodies import BrokenItem
from touchline_ingest.core.import_mapping import RowError, RowMapping, default_mapping, read_mapping
from touchline_ingest.settings import IngestSettings

_BATCH = 1000
_TRIES = 30
_SHOWN = 10


@dataclass(frozen=True)
class Import:
    """One import: what, as whom, how."""

    file: HistoryFile
    mapping: RowMapping
    terms: Terms
    rejects: Path | None = None


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV (.csv, .tsv; first line: column names) or NDJSON.")],
    source: Annotated[str, typer.Option(help="The source's name: touchpoints are filed under it.")],
    mapping: Annotated[Path | None, typer.Option(help="YAML file that says which column is what.")] = None,
    format: Annotated[str | None, typer.Option(help="csv or ndjson; by the file's name unless given.")] = None,  # noqa: A002
    backfill: Annotated[
        bool,
        typer.Option(help="Flag everything as history, so that no play acts on it (default), or leave it as it is."),
    ] = True,
    dry_run: Annotated[bool, typer.Option(help="Judge every row and publish nothing; needs no Kafka.")] = False,
    restart: Annotated[bool, typer.Option(help="From the first row, not from where an earlier run stopped.")] = False,
    rejects: Annotated[Path | None, typer.Option(help="Write rejected rows here, as NDJSON, with the reason.")] = None,
) -> None:
    """Import history. Interrupted, it goes on where it stopped; repeated, it doubles nothing.

    Rows without an id get one made from their content: two rows that are alike in every column are one touchpoint.
    """
    with process.explained():
        if format not in (None, "csv", "ndjson"):
            raise ConfigurationError(f"--format {format}: write csv or ndjson")
        history = HistoryFile(file, format)
        rows = read_mapping_file(mapping) if mapping else default_mapping(history.columns)
        settings = read_settings(IngestSettings)
        work = Import(history, rows, _terms(source, settings, backfill=backfill), rejects)
        remembered = ProgressFile(file)
        if restart:
            remembered.forget()
        if dry_run:
            done = asyncio.run(run_import(work, Progress(source=source, size=history.size), None, None))
        else:
            settings.need("kafka_bootstrap_servers")
            logs.configure("ingest", format=settings.log_format, level="WARNING")
            before = remembered.read(source, history.size)
            if before.position:
                _say(f"going on after line {before.line}: {before.accepted} accepted earlier (--restart begins anew)")
            done = asyncio.run(_import_to_kafka(work, before, settings, remembered))
    verb = "would be accepted" if dry_run else "accepted"
    _say(f"{done.accepted} {verb}, {done.rejected} rejected, of {file}")
    raise typer.Exit(1 if done.rejected and not done.accepted else 0)


def _terms(source: str, settings: IngestSettings, *, backfill: bool) -> Terms:
    """The source's own terms where the sources file knows it."""
    from touchline_ingest.bootstrap import registry

    terms = Terms(source)
    if settings.sources_file is not None:
        entry = load_sources(settings.sources_file, registry()).entries.get(source)
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


async def _import_to_kafka(
    work: Import, before: Progress, settings: IngestSettings, remembered: ProgressFile
) -> Progress:
    from touchline_ingest.bootstrap import connected

    async with connected(settings) as publisher:
        return await run_import(work, before, publisher, remembered)


async def run_import(
    work: Import, progress: Progress, publisher: Publisher | None, remembered: ProgressFile | None
) -> Progress:
    """Import what comes after a position, batch by batch; without a publisher, only judge.

    Raises:
        Unavailable: Kafka doesn't acknowledge, however often it is asked; what was acknowledged is remembered.
    """
    rows = work.file.rows(after=progress.position, line=progress.line)
    shown = 0
    append = "ab" if progress.position else "wb"
    with work.rejects.open(append) if work.rejects else nullcontext() as out, _bar() as bar:
        task = bar.add_task(work.file.path.name, total=work.file.size, completed=progress.position)
        while batch := list(islice(rows, _BATCH)):
            verdicts = judge_rows(work, batch)
            accepted = [verdict.record for verdict in verdicts if type(verdict) is Accepted]
            if publisher is not None:
                await _publish(publisher, accepted)
            for verdict in verdicts:
                if type(verdict) is Rejected:
                    row = batch[verdict.index]
                    if shown < _SHOWN:
                        _say(f"line {row.number}: {verdict.error}")
                    shown += 1
                    if out is not None:
                        line = {"line": row.number, "error": verdict.error, "row": row.content}
                        out.write(orjson.dumps(line, default=str) + b"\n")
            progress = progress.further(batch[-1], len(accepted), len(batch) - len(accepted))
            if remembered is not None:
                remembered.write(progress)
            bar.update(task, completed=progress.position)
    if shown > _SHOWN:
        _say(f"… and {shown - _SHOWN} more lines rejected (--rejects FILE keeps them)")
    return progress


def judge_rows(work: Import, rows: list[Row]) -> list[Accepted | Rejected]:
    """Judge rows as every door does."""
    drafts: list[Any] = [_draft(work, row) for row in rows]

    def name(index: int) -> str:
        content = hashlib.sha256(orjson.dumps(rows[index].content, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return str(idempotent_touchpoint_id(work.terms.source, f"import:{content}", 0))

    return judge(drafts, work.terms, now=datetime.now(UTC), name_item=name)


def _draft(work: Import, row: Row) -> Any:
    if row.content is None:
        return BrokenItem(row.error)
    mapping = work.mapping
    if work.file.form == "ndjson" and not mapping.fields:
        return row.content
    try:
        return mapping.draft(row.content)
    except RowError as error:
        return BrokenItem(str(error))


async def _publish(publisher: Publisher, records: list[Any]) -> None:
    """Publish a batch, asking again while Kafka is away: the ids are the same each time."""
    reason = ""
    for attempt in range(_TRIES):
        try:
            delivery = await publisher.publish(TOUCHPOINTS, records)
        except Unavailable as error:
            reason = str(error)
        else:
            if delivery.complete:
                return
            records = [records[index] for index in sorted(delivery.unacknowledged)]
            reason = delivery.reason
        _say(f"{reason}; trying again ({attempt + 1} of {_TRIES})")
        await asyncio.sleep(1)
    raise Unavailable(f"{reason}. What was acknowledged is remembered: run the same command again to go on")


def _bar() -> ProgressBar:
    return ProgressBar(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)
