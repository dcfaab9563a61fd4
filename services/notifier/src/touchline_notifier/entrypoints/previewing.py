"""``touchline-notifier preview``: plays over recorded facts, shown to a person or a program."""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import asyncpg
import orjson
from rich.console import Console
from rich.table import Table
from touchline_runtime import database
from touchline_runtime.errors import ConfigurationError
from touchline_schemas.times import to_wire

from touchline_notifier import bootstrap
from touchline_notifier.adapters import decision_sql as sql
from touchline_notifier.adapters.decisions import Desk, gather
from touchline_notifier.adapters.hashes import Hashes
from touchline_notifier.adapters.recorded import from_file, from_topic
from touchline_notifier.core.book import Book
from touchline_notifier.core.deciding import Decider
from touchline_notifier.core.preview import Happening, Previewed, limit_lines, preview
from touchline_notifier.core.rendering import Templates
from touchline_notifier.settings import NotifierSettings


@dataclass(frozen=True)
class Wanted:
    """Which facts to look at."""

    customer: str | None
    day: str | None
    days: int
    facts: Path | None

    def span(self, now: datetime) -> tuple[datetime, datetime]:
        """From when to when.

        Raises:
            ConfigurationError: the day is none.
        """
        if self.day is None:
            return now - timedelta(days=self.days), now
        try:
            start = datetime.combine(datetime.fromisoformat(self.day).date(), time(0), tzinfo=UTC)
        except ValueError:
            raise ConfigurationError(f"--day {self.day}: write a date such as 2026-03-01") from None
        return start, start + timedelta(days=self.days)


async def previewed(settings: NotifierSettings, wanted: Wanted) -> list[Previewed]:
    """Everything the plays would do.

    Raises:
        ConfigurationError: plays, facts or settings are wrong.
    """
    channels = bootstrap.build_channels(settings)
    rulebook = bootstrap.read_rulebook(settings, channels, to_run=False)
    happenings = await _happenings(settings, wanted)
    to_customers = frozenset(name for name, channel in channels.items() if channel.needs_address)
    decider = Decider(rulebook.plays, Templates())
    async with _database(settings) as pool:
        # Where no notifier ever ran nothing was hashed.
        hashes = Hashes(str(await pool.fetchval(sql.KNOWN_KEY)) if pool else "")
        desk = Desk(decider, rulebook.endpoints, hashes, settings.partitions, to_customers)
        books = await _books(pool, desk, happenings)
    # What waits is followed for as long as any play waits.
    longest = max((play.max_age for play in rulebook.plays.values()), default=timedelta(0))
    until = max((one.at for one in happenings), default=datetime.now(UTC)) + longest
    return preview(decider, happenings, books, until=until, to_customers=to_customers)


async def _happenings(settings: NotifierSettings, wanted: Wanted) -> list[Happening]:
    if wanted.facts is not None:
        try:
            lines = wanted.facts.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ConfigurationError(f"--facts {wanted.facts}: {error.strerror}") from None
        found = list(from_file(lines, str(wanted.facts)))
        return [one for one in found if wanted.customer in (None, one.fact.customer_id)]
    start, end = wanted.span(datetime.now(UTC))
    return [one async for one in from_topic(settings, start, end, wanted.customer)]


@asynccontextmanager
async def _database(settings: NotifierSettings) -> AsyncIterator[asyncpg.Pool | None]:
    if not settings.database_url.get_secret_value():
        yield None
        return
    async with database.pool(
        settings, application_name="touchline-notifier-preview", size=1, search_path=settings.search_path
    ) as pool:
        yield pool


async def _books(pool: asyncpg.Pool | None, desk: Desk, happenings: Sequence[Happening]) -> dict[str, Book]:
    """Customers as they are known now, with the actions from before the facts, and standing nowhere yet."""
    customers = sorted({one.fact.customer_id for one in happenings})
    if pool is None or not customers:
        return {customer_id: Book(customer_id) for customer_id in customers}
    start = min(one.at for one in happenings)
    async with pool.acquire() as connection, connection.transaction(readonly=False):
        books = await gather(connection, customers, [], desk, start)
    for book in books.values():
        book.standing.clear()
        book.waiting.clear()
        book.known = set()
        book.counted = [one for one in book.counted if one.at < start]
    return books


def show(found: Sequence[Previewed], *, as_json: bool) -> None:
    """Write decisions to standard output: a table and sums, or JSON lines."""
    if as_json:
        for one in found:
            line = {
                "at": to_wire(one.at),
                "action_id": one.action_id,
                "customer_id": one.customer_id,
                "play": one.play,
                "channel": one.channel,
                "stage": one.stage,
                "outcome": one.outcome,
                "reason": one.reason,
                "limits": [{"code": hold.code, "text": hold.text} for hold in one.limits],
                "subject": one.subject,
                "body": one.text,
            }
            sys.stdout.write(orjson.dumps(line).decode() + "\n")
        return
    say = Console(highlight=False)
    table = Table("when", "customer", "play", "stage", "outcome", "limits")
    for one in found:
        table.add_row(to_wire(one.at), one.customer_id, one.play, one.stage, one.outcome, "\n".join(limit_lines(one)))
    say.print(table)
    sums = Counter(one.outcome for one in found)
    say.print(", ".join(f"{count} {outcome}" for outcome, count in sums.most_common()) or "no play acts on these facts")
    say.print("Nothing was sent.")
