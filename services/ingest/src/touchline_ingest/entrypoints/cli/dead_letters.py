"""``touchline-ingest dead-letters list|show|replay``."""

import asyncio
from collections import Counter
from contextlib import nullcontext
from datetime import datetime
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table
from touchline_runtime.config.settings import read_settings
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.process import logs
from touchline_runtime.process import run as process

from touchline_ingest.application.replay_dead_letters import Outcome, replay_all
from touchline_ingest.core.access.configured_sources import Sources
from touchline_ingest.core.history.dead_letter_replay import DeadLetter, Filter, plan
from touchline_ingest.settings import IngestSettings

app = typer.Typer(no_args_is_help=True, help="List, show and replay dead letters: what could not be read.")

_Reason = Annotated[str | None, typer.Option(help="Only with this reason.")]
_Origin = Annotated[
    str | None, typer.Option(help="Only with an origin that begins so: an endpoint, or topic/partition.")
]
_Source = Annotated[str | None, typer.Option(help="Only of this source.")]
_Since = Annotated[str | None, typer.Option(help="Only from this time on: 2026-03-01T12:00:00Z.")]
_Until = Annotated[str | None, typer.Option(help="Only before this time.")]


@app.command("list")
def list_dead_letters(
    reason: _Reason = None,
    origin: _Origin = None,
    source: _Source = None,
    since: _Since = None,
    until: _Until = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object a line.")] = False,
) -> None:
    """List dead letters, with the id that `show` and `replay` take."""
    with process.explained():
        dead_letters = _chosen(_filter(None, reason, origin, source, since, until))
    out = Console(emoji=False, soft_wrap=True, highlight=False)
    if as_json:
        for dead_letter in dead_letters:
            out.print(orjson.dumps(_summary(dead_letter)).decode(), markup=False)
        return
    table = Table("id", "at", "source", "reason", "origin", "error")
    for dead_letter in dead_letters:
        row = _summary(dead_letter)
        table.add_row(*(str(row[name]) for name in ("id", "at", "source", "reason", "origin")), str(row["error"])[:100])
    Console(emoji=False, highlight=False).print(table)
    out.print(f"{len(dead_letters)} dead letters", markup=False)


@app.command()
def show(
    dead_letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it: partition/offset.")],
    raw: Annotated[bool, typer.Option(help="Only the original bytes, to standard output.")] = False,
) -> None:
    """Show one dead letter: its headers, its reason, and its original bytes."""
    with process.explained():
        dead_letters = _chosen(_filter([dead_letter_id], None, None, None, None, None))
        if not dead_letters:
            raise ConfigurationError(f"there is no dead letter {dead_letter_id!r}: `dead-letters list` shows them")
    (dead_letter,) = dead_letters
    if raw:
        typer.get_binary_stream("stdout").write(dead_letter.value)
        return
    out = Console(emoji=False, soft_wrap=True, highlight=False)
    for name, value in _summary(dead_letter).items():
        out.print(f"{name}: {value}", markup=False)
    for name, content in dead_letter.headers:
        out.print(f"header {name}: {content.decode('utf-8', 'replace')}", markup=False)
    out.print(dead_letter.value.decode("utf-8", "replace"), markup=False)


@app.command()
def replay(
    dead_letter_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these.")] = None,
    reason: _Reason = None,
    origin: _Origin = None,
    source: _Source = None,
    since: _Since = None,
    until: _Until = None,
    everything: Annotated[bool, typer.Option("--all", help="Replay all dead letters.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show what would happen to each, and publish nothing.")] = False,
) -> None:
    """Replay dead letters, chosen by id or by filter.

    A request is read again by its source, as of the time when it was received; a record is published again to its
    topic. Ids stay the same, so touchpoints that were accepted before count once. The dead letters stay on their topic.
    """
    with process.explained():
        chosen = _filter(dead_letter_ids, reason, origin, source, since, until)
        if chosen.matches_all and not everything:
            raise ConfigurationError("say which dead letters: ids, a filter, or --all")
        settings = _settings()
        dead_letters = _chosen(chosen)
        missing = (chosen.ids or frozenset()) - {dead_letter.id for dead_letter in dead_letters}
        if missing:
            raise ConfigurationError(f"there is no dead letter {', '.join(sorted(missing))}; nothing was replayed")
        outcomes = asyncio.run(_replay(dead_letters, settings, dry_run=dry_run))
    counts = Counter("replayed" if outcome.replayed else "not replayed" for outcome in outcomes)
    summary = ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "nothing to replay"
    Console(emoji=False, highlight=False).print(("dry run: " if dry_run else "") + summary, markup=False)
    raise typer.Exit(1 if any(not outcome.replayed for outcome in outcomes) else 0)


async def _replay(dead_letters: list[DeadLetter], settings: IngestSettings, *, dry_run: bool) -> list[Outcome]:
    from touchline_ingest import bootstrap

    needs_sources = any(dead_letter.origin.startswith("/") for dead_letter in dead_letters)
    if needs_sources and settings.sources_file is None:
        raise ConfigurationError("requests are read again by their sources: set TOUCHLINE_SOURCES_FILE")
    file = settings.sources_file if needs_sources else None
    sources, kinds = bootstrap.configured_sources(file) if file else Sources(), bootstrap.registry()
    replays = [
        (dead_letter, plan(dead_letter, sources=sources, registry=kinds, prefix=settings.topic_prefix))
        for dead_letter in dead_letters
    ]
    async with nullcontext() if dry_run else bootstrap.connected(settings) as publisher:
        return await replay_all(replays, publisher=publisher, fetcher=bootstrap.fetcher(), report=_show_outcome)


def _show_outcome(outcome: Outcome) -> None:
    Console(emoji=False, highlight=False, soft_wrap=True).print(f"{outcome.dead_letter.id} {outcome}", markup=False)


def _chosen(chosen: Filter) -> list[DeadLetter]:
    from touchline_ingest.bootstrap import dead_letters

    async def collect() -> list[DeadLetter]:
        return [
            dead_letter async for dead_letter in dead_letters(_settings()).read_all() if chosen.matches(dead_letter)
        ]

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


def _summary(dead_letter: DeadLetter) -> dict[str, object]:
    return {
        "id": dead_letter.id,
        "at": dead_letter.at.isoformat(timespec="seconds"),
        "source": dead_letter.source,
        "reason": dead_letter.reason,
        "origin": dead_letter.origin,
        "error": dead_letter.header("error"),
        "bytes": len(dead_letter.value),
    }
