"""Recorded touchpoints, customer by customer and in the order of the fold, for a simulation.

They come from a file of NDJSON or from the engine's own tables. Either way one customer's life is in memory at a time:
a file is sorted in a private temporary database, which spills to disk, and tables are read with a server-side cursor.
The engine's tables are read in a read-only transaction.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import asyncpg
import orjson
from touchline_runtime import database
from touchline_runtime.errors import ConfigurationError
from touchline_schemas.identity import keys_of
from touchline_schemas.touchpoint_types import meaning_of

from touchline_stage_engine.adapters.changes import read_touchpoint
from touchline_stage_engine.adapters.decoding import Arrival, Poison, content_digest, decode
from touchline_stage_engine.core.identity import Weight, canonical_roots, weigh
from touchline_stage_engine.core.touchpoint import Touchpoint
from touchline_stage_engine.settings import StageEngineSettings

FILE_SOURCE = "history"
"""Source of the touchpoints in a file that name none."""

BAD_LINES_KEPT = 20
CHUNK = 2000

# Every touchpoint of a file by whom it belongs to, in the order of the fold; of two contents under one (source, id)
# the one to keep comes first. SQLite compares text by code point, as the fold does.
IN_ORDER = """
SELECT coalesce(roots.root, filed.key) AS customer_id, occurred_at, id, source, type, channel, direction, properties,
       machine, backfill, received_at
FROM filed LEFT JOIN roots ON roots.key = filed.key
ORDER BY 1, occurred_at, id, source, digest
"""
CUSTOMERS = "SELECT count(DISTINCT coalesce(roots.root, filed.key)) FROM filed LEFT JOIN roots ON roots.key = filed.key"

# Every touchpoint under whoever it belongs to. A key that was merged keeps copies of its own, which are left out.
RECORDED = """
SELECT t.customer_id, t.occurred_at, t.id, t.source, t.type, t.channel, t.flags, t.received_at, t.properties
FROM touchpoints t
WHERE NOT EXISTS (SELECT FROM customers c WHERE c.customer_id = t.customer_id AND c.merged_into IS NOT NULL)
ORDER BY t.customer_id, t.occurred_at, t.id, t.source
"""
HOW_MANY = "SELECT count(*) FROM customers WHERE merged_into IS NULL AND touchpoints > 0"
RUNNING = "SELECT text, effective_from FROM lifecycles WHERE name = $1 AND running ORDER BY version"


class Life(NamedTuple):
    """One customer's touchpoints, each once, in order."""

    customer_id: str
    touchpoints: list[Touchpoint]


class BadLine(NamedTuple):
    """A line of a file that is no touchpoint, and why not."""

    line: int
    error: str


class HistoryFile:
    """A file of touchpoints, one JSON object a line, as posted or as on the topic; keys linked as the engine links.

    Posted ones get what ingest would give them: the source is ``history``, the channel and the direction are what the
    type means, they were received when they occurred, and one without an id is told apart by its line.
    """

    def __init__(self, sorter: sqlite3.Connection, path: Path) -> None:
        self._sorter = sorter
        self._path = path
        self._links: dict[tuple[str, str], Weight] = {}
        self.lines = 0
        self.good = 0
        self.bad = 0
        self.bad_lines: list[BadLine] = []
        """The first of those that are bad."""
        self.refused: set[tuple[str, str]] = set()
        """Pairs of known customers that a link would have joined."""

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator["HistoryFile"]:
        """A history to be read from a file; the temporary database goes with it."""
        sorter = sqlite3.connect("", isolation_level=None)  # a private file that SQLite removes
        try:
            sorter.execute("PRAGMA synchronous = OFF")
            sorter.execute(
                "CREATE TABLE filed (key TEXT, occurred_at INTEGER, id TEXT, source TEXT, type TEXT, channel TEXT,"
                " direction TEXT, properties BLOB, machine INTEGER, backfill INTEGER, received_at INTEGER, digest BLOB)"
            )
            sorter.execute("CREATE TABLE roots (key TEXT PRIMARY KEY, root TEXT) WITHOUT ROWID")
            yield cls(sorter, path)
        finally:
            sorter.close()

    def read(self, advance: Callable[[int], object]) -> None:
        """Read the whole file; ``advance`` is told how many bytes each part of it had.

        Raises:
            ConfigurationError: the file can't be read.
        """
        self._sorter.execute("BEGIN")
        try:
            with self._path.open("rb") as file:
                while lines := file.readlines(1 << 20):
                    self._sorter.executemany(
                        "INSERT INTO filed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._rows(lines)
                    )
                    advance(sum(map(len, lines)))
        except OSError as error:
            raise ConfigurationError(f"{self._path} can't be read: {error.strerror}") from None
        roots, self.refused = canonical_roots(self._links.values())
        moved = [(key, root) for key, root in roots.items() if key != root]
        self._sorter.executemany("INSERT INTO roots VALUES (?, ?)", moved)
        self._sorter.execute("COMMIT")

    def customers(self) -> int:
        """How many people the touchpoints are of."""
        (number,) = self._sorter.execute(CUSTOMERS).fetchone()
        return int(number)

    def lives(self) -> Iterator[Life]:
        """Everybody's touchpoints."""
        life: Life | None = None
        seen: set[tuple[str, str]] = set()
        for customer_id, at, id_, source, type_, channel, direction, *rest in self._sorter.execute(IN_ORDER):
            if life is None or life.customer_id != customer_id:
                if life is not None:
                    yield life
                life, seen = Life(customer_id, []), set()
            if (source, id_) in seen:
                continue
            seen.add((source, id_))
            properties, machine, backfill, received_at = rest
            life.touchpoints.append(
                Touchpoint(
                    at, id_, source, type_, channel, direction, orjson.loads(properties), bool(machine), bool(backfill),
                    received_at,
                )
            )  # fmt: skip
        if life is not None:
            yield life

    def _rows(self, lines: Iterable[bytes]) -> Iterator[tuple[Any, ...]]:
        for line in lines:
            self.lines += 1
            if not line.strip():
                continue
            found = read_line(line, self.lines)
            if isinstance(found, BadLine):
                self.bad += 1
                if len(self.bad_lines) < BAD_LINES_KEPT:
                    self.bad_lines.append(found)
                continue
            self.good += 1
            self._link(found)
            one = found.touchpoint
            yield (
                found.key, one.occurred_at, one.id, one.source, one.type, one.channel, one.direction,
                orjson.dumps(one.properties), one.machine, one.backfill, one.received_at,
                content_digest(one, found.key, found.identifiers),
            )  # fmt: skip

    def _link(self, arrival: Arrival) -> None:
        one = arrival.touchpoint
        if one.machine:
            return
        for other in arrival.others:
            weight = weigh(one.occurred_at, one.id, one.source, arrival.key, other)
            pair = (weight[3], weight[4])
            if pair not in self._links or weight < self._links[pair]:
                self._links[pair] = weight


def read_line(line: bytes, number: int) -> Arrival | BadLine:
    """The touchpoint of one line, or what is wrong with it."""
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return BadLine(number, f"not JSON: {error}")
    if not isinstance(data, dict):
        return BadLine(number, "not a JSON object: write one touchpoint a line")
    meaning = meaning_of(data["type"]) if isinstance(data.get("type"), str) else None
    usual = {
        "id": f"line-{number:010d}",
        "source": FILE_SOURCE,
        "received_at": data.get("occurred_at", "1990-01-01T00:00:00Z"),
    }
    if meaning is not None:
        usual |= {"channel": meaning.channel, "direction": meaning.direction}
    # What is null was left out.
    complete = usual | {name: value for name, value in data.items() if value is not None}
    found = decode(orjson.dumps(complete), _key_named_by(complete))
    return BadLine(number, found.error) if isinstance(found, Poison) else found


def _key_named_by(data: dict[str, Any]) -> bytes | None:
    """The key of a well-formed touchpoint. What is not a text is left for the decoder to complain of."""

    def named(field: str) -> str | None:
        value = data.get(field)
        return value.strip() if isinstance(value, str) else None

    keys = keys_of(
        customer_id=named("customer_id"),
        anonymous_id=named("anonymous_id"),
        email=named("email"),
        external_id=named("external_id"),
        source=named("source") or "",
    )
    return keys[0].encode() if keys else None


class RunningVersion(NamedTuple):
    """A version that runs, as recorded by the engine. ``effective_from`` None: since ever."""

    text: str
    effective_from: int | None


class RecordedHistory:
    """The touchpoints an engine has stored, over one connection in a read-only transaction."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: StageEngineSettings) -> AsyncIterator["RecordedHistory"]:
        """The deployment's history as it is now.

        Raises:
            ConfigurationError: no engine has stored anything there.
            Unavailable: the database does not answer.
        """
        settings.need("database_url")
        path = f'"{settings.schema_name}"'
        async with database.pool(
            settings, application_name="touchline simulation", size=1, search_path=path, command_timeout=None
        ) as pool:
            try:
                async with pool.acquire() as acquired, acquired.transaction(isolation="repeatable_read", readonly=True):
                    connection = cast("asyncpg.Connection", acquired)  # a pool's proxy of one
                    # A batch is folded while the transaction waits.
                    await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '10min'")
                    yield cls(connection)
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                raise ConfigurationError(
                    f"the database holds no stage engine's tables for TOUCHLINE_TOPIC_PREFIX={settings.topic_prefix}: "
                    "check TOUCHLINE_DATABASE_URL and the prefix, or simulate with --touchpoints FILE"
                ) from None

    async def customers(self) -> int:
        """How many customers have touchpoints."""
        return int(await self._connection.fetchval(HOW_MANY))

    async def running(self, name: str) -> list[RunningVersion]:
        """The versions of a lifecycle that runs; none where it doesn't."""
        rows = await self._connection.fetch(RUNNING, name)
        return [RunningVersion(row["text"], row["effective_from"]) for row in rows]

    async def lives(self) -> AsyncIterator[Life]:
        """Everybody's touchpoints."""
        life: Life | None = None
        async for row in self._connection.cursor(RECORDED, prefetch=CHUNK):
            if life is None or life.customer_id != row["customer_id"]:
                if life is not None:
                    yield life
                life = Life(row["customer_id"], [])
            life.touchpoints.append(read_touchpoint(row))
        if life is not None:
            yield life
