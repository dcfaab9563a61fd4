"""``touchline-ingest dead-letters list|show|replay``."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table
from touchline_runtime import logs, process
from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_runtime.settings import read_settings
from touchline_schemas.topics import TOUCHPOINTS

from touchline_ingest.adapters.dead_letter_log import read_letters
from touchline_ingest.adapters.fetching import Fetcher
from touchline_ingest.adapters.publisher import Publisher
from touchline_ingest.adapters.sources_watch import load_sources
from touchline_ingest.core.acceptance import Accepted, Rejected, named_by
from touchline_ingest.core.records import Record
from touchline_ingest.core.replay import CannotReplay, Filter, Letter, PublishAgain, ReadAgain, Replay, plan
from touchline_ingest.core.source_book import SourceBook
from touchline_ingest.core.sources.interface import NeedsCertificate, Refused
from touchline_ingest.core.vendor import judge_reading
from touchline_ingest.settings import IngestSettings

app = typer.Typer(no_args_is_help=True, help="What could not be understood: look at it, and send it through again.")

_Reason = Annotated[str | None, typer.Option(help="Only with this reason.")]
_Origin = Annotated[str | None, typer.Option(help="Only whose origin begins so: an endpoint, or topic/partition.")]
_Source = Annotated[str | None, typer.Option(help="Only of this source.")]
_Since = Annotated[str | None, typer.Option(help="Only from then on: 2026-03-01T12:00:00Z.")]
_Until = Annotated[str | None, typer.Option(help="Only before then.")]


@app.command("list")
def list_letters(
    reason: _Reason = None,
    origin: _Origin = None,
    source: _Source = None,
    since: _Since = None,
    until: _Until = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List dead letters, with the id that `show` and `replay` take."""
    with process.explained():
        letters = _chosen(_filter(None, reason, origin, source, since, until))
    out = Console(soft_wrap=True, highlight=False)
    if as_json:
        for letter in letters:
            out.print(orjson.dumps(_summary(letter)).decode(), markup=False)
        return
    table = Table("id", "at", "source", "reason", "origin", "error")
    for letter in letters:
        row = _summary(letter)
        table.add_row(*(str(row[name]) for name in ("id", "at", "source", "reason", "origin")), str(row["error"])[:100])
    Console(highlight=False).print(table)
    out.print(f"{len(letters)} dead letters", markup=False)


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it: partition/offset.")],
    raw: Annotated[bool, typer.Option(help="Only the original bytes, to standard output.")] = False,
) -> None:
    """Show one dead letter: its headers, why it is one, and its original bytes."""
    with process.explained():
        letters = _chosen(_filter([letter_id], None, None, None, None, None))
        if not letters:
            raise ConfigurationError(f"there is no dead letter {letter_id!r}: `dead-letters list` shows them")
    (letter,) = letters
    if raw:
        typer.get_binary_stream("stdout").write(letter.value)
        return
    out = Console(soft_wrap=True, highlight=False)
    for name, value in _summary(letter).items():
        out.print(f"{name}: {value}", markup=False)
    for name, content in letter.headers:
        out.print(f"header {name}: {content.decode('utf-8', 'replace')}", markup=False)
    out.print(letter.value.decode("utf-8", "replace"), markup=False)


@app.command()
def replay(
    letter_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Exactly these.")] = None,
    reason: _Reason = None,
    origin: _Origin = None,
    source: _Source = None,
    since: _Since = None,
    until: _Until = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are; otherwise say which.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Say what would happen to each, and publish nothing.")] = False,
) -> None:
    """Send dead letters through again: exactly those chosen, by id or by filter.

    A request is read again by its source, as of when it came in; a record is published again to its topic. Ids stay
    the same, so that what was accepted before counts once. The letters themselves stay where they are.
    """
    with process.explained():
        chosen = _filter(letter_ids, reason, origin, source, since, until)
        if chosen.chooses_all and not everything:
            raise ConfigurationError("say which: ids, a filter, or --all")
        settings = _settings()
        letters = _chosen(chosen)
        missing = (chosen.ids or frozenset()) - {letter.id for letter in letters}
        if missing:
            raise ConfigurationError(f"there is no dead letter {', '.join(sorted(missing))}; nothing was replayed")
        outcomes = asyncio.run(_replay(letters, settings, dry_run=dry_run))
    counts = Counter(outcome.split(":")[0] for outcome in outcomes)
    summary = ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "nothing to replay"
    Console(highlight=False).print(("dry run: " if dry_run else "") + summary, markup=False)
    raise typer.Exit(1 if any(outcome.startswith("not replayed") for outcome in outcomes) else 0)


async def _replay(letters: list[Letter], settings: IngestSettings, *, dry_run: bool) -> list[str]:
    from touchline_ingest.bootstrap import connected, registry

    kinds = registry()
    needs_book = any(letter.origin.startswith("/") for letter in letters)
    if needs_book and settings.sources_file is None:
        raise ConfigurationError("requests are read again by their sources: set TOUCHLINE_SOURCES_FILE")
    book = load_sources(settings.sources_file, kinds) if needs_book and settings.sources_file else SourceBook()
    plans = [plan(letter, book=book, registry=kinds, prefix=settings.topic_prefix) for letter in letters]
    if dry_run:
        return [await _carry_out(letter, what, None) for letter, what in zip(letters, plans, strict=True)]
    async with connected(settings) as publisher:
        return [await _carry_out(letter, what, publisher) for letter, what in zip(letters, plans, strict=True)]


async def _carry_out(letter: Letter, what: Replay, publisher: Publisher | None) -> str:
    """Replay one letter, or say what it would do. Returns the outcome, which begins with its class."""
    records: list[Record] = []
    left: list[str] = []
    if isinstance(what, PublishAgain):
        records = [what.record]
    elif isinstance(what, ReadAgain):
        records, left = await _understood(what)
    if isinstance(what, CannotReplay):
        outcome = f"not replayed: {what.reason}"
    elif not records:
        outcome = f"not replayed: {'; '.join(left) or 'nothing in it is a touchpoint'}"
    else:
        if publisher is not None:
            delivery = await publisher.publish(TOUCHPOINTS, records)
            if not delivery.complete:
                raise Unavailable(f"{letter.id}: {delivery.reason}; run it again: ids stay the same")
        outcome = f"replayed: {len(records)} touchpoints" + (f", not: {'; '.join(left)}" if left else "")
    Console(highlight=False, soft_wrap=True).print(f"{letter.id} {outcome}", markup=False)
    return outcome


async def _understood(what: ReadAgain) -> tuple[list[Record], list[str]]:
    request, fetcher = what.request, Fetcher()
    reading = what.source.read(request, what.config, what.received_at)
    for _ in range(3):
        if not isinstance(reading, NeedsCertificate):
            break
        request = request.with_certificate(reading.url, await fetcher.certificate(reading.url))
        reading = what.source.read(request, what.config, what.received_at)
    if isinstance(reading, NeedsCertificate):
        return [], ["its signature asks for one certificate after the other"]
    if isinstance(reading, Refused):
        return [], [f"{reading.title}: {reading.detail}"]
    name_item = named_by(what.entry.name, what.named_by)
    judged = judge_reading(reading, what.entry.terms(), now=datetime.now(UTC), name_item=name_item)
    records = [verdict.record for verdict in judged.verdicts if type(verdict) is Accepted]
    return records, [f"{verdict.index}: {verdict.error}" for verdict in judged.verdicts if type(verdict) is Rejected]


def _chosen(chosen: Filter) -> list[Letter]:
    async def collect() -> list[Letter]:
        return [letter async for letter in read_letters(_settings()) if chosen.chooses(letter)]

    return asyncio.run(collect())


def _settings() -> IngestSettings:
    settings = read_settings(IngestSettings).need("kafka_bootstrap_servers")
    logs.configure("ingest", format=settings.log_format, level="WARNING")
    return settings


def _filter(
    ids: list[str] | None,
    reason: str | None,
    origin: str | None,
    source: str | None,
    since: str | None,
    until: str | None,
) -> Filter:
    return Filter(frozenset(ids) if ids else None, reason, origin, source, _moment(since), _moment(until))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigurationError(f"{text!r} is not a time with a zone: write 2026-03-01T12:00:00Z")
    return moment


def _summary(letter: Letter) -> dict[str, object]:
    return {
        "id": letter.id,
        "at": letter.at.isoformat(timespec="seconds"),
        "source": letter.source,
        "reason": letter.reason,
        "origin": letter.origin,
        "error": letter.header("error"),
        "bytes": len(letter.value),
    }
