"""The touchpoints in an NDJSON file, customer by customer in the order of the fold, for a simulation.

One customer's touchpoints are in memory at a time: the file is sorted in a private temporary SQLite database, which
spills to disk.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from touchline_runtime.errors import ConfigurationError
from touchline_schemas.identity import ANONYMOUS, keys_of
from touchline_schemas.touchpoint_types import meaning_of

from touchline_stage_engine.application.simulation import CustomerTouchpoints, InvalidLine, Progress, RecordedVersion
from touchline_stage_engine.core.decoding import Arrival, Poison, content_digest, decode
from touchline_stage_engine.core.identity.canonical import canonical_roots
from touchline_stage_engine.core.identity.labels import Weight, weigh
from touchline_stage_engine.core.touchpoint import Touchpoint

FILE_SOURCE = "history"
"""Source of the touchpoints that name none."""

INVALID_LINES_KEPT = 20
INSERT = "INSERT INTO filed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

# Every touchpoint by customer, in the order of the fold. Of two contents with one (source, id) the one to keep comes
# first. SQLite compares text by code point, as the fold does.
IN_ORDER = """
SELECT coalesce(roots.root, filed.key) AS customer_id, occurred_at, id, source, type, channel, direction, properties,
       machine, backfill, received_at
FROM filed LEFT JOIN roots ON roots.key = filed.key
ORDER BY 1, occurred_at, id, source, digest
"""
# What the touchpoints that count name beside their key: of two contents with one (key, source, id) the smaller counts.
LINKS = """
SELECT key, occurred_at, id, source, links
FROM (
    SELECT *, row_number() OVER (PARTITION BY key, source, id ORDER BY occurred_at, digest) AS choice
    FROM filed
    WHERE (key, source, id) IN (SELECT key, source, id FROM filed WHERE links IS NOT NULL)
)
WHERE choice = 1 AND links IS NOT NULL
"""
CUSTOMERS = "SELECT count(DISTINCT coalesce(roots.root, filed.key)) FROM filed LEFT JOIN roots ON roots.key = filed.key"


class HistoryFile:
    """A file with one touchpoint (JSON object) on each line, as posted to ingest or as on the topic.

    Keys are linked as the engine links them. A field that ingest would add is added here: the source is ``history``,
    channel and direction follow from the type, ``received_at`` is ``occurred_at``, and the id names the line.
    """

    def __init__(self, sorter: sqlite3.Connection, path: Path) -> None:
        self._sorter = sorter
        self._path = path
        self._links: dict[tuple[str, str], Weight] = {}
        self.description = str(path)
        self.lines = 0
        self.valid = 0
        self.invalid = 0
        self.invalid_lines: list[InvalidLine] = []
        self.refused_links = 0

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator["HistoryFile"]:
        """Open a history file. The temporary database is removed on exit."""
        sorter = sqlite3.connect("", isolation_level=None)  # a private file that SQLite removes
        try:
            sorter.execute("PRAGMA synchronous = OFF")
            sorter.execute(
                "CREATE TABLE filed (key TEXT, occurred_at INTEGER, id TEXT, source TEXT, type TEXT, channel TEXT,"
                " direction TEXT, properties BLOB, machine INTEGER, backfill INTEGER, received_at INTEGER, digest BLOB,"
                " links BLOB)"
            )
            sorter.execute("CREATE TABLE roots (key TEXT PRIMARY KEY, root TEXT) WITHOUT ROWID")
            yield cls(sorter, path)
        finally:
            sorter.close()

    async def running(self, name: str) -> list[RecordedVersion]:
        """None: a file records no running lifecycles."""
        return []

    async def load(self, progress: Progress, shared_key_limit: int) -> None:
        """Read and sort the whole file. More than ``shared_key_limit`` customers that name one key share it.

        Raises:
            ConfigurationError: the file cannot be read, or no line is a touchpoint.
        """
        try:
            with self._path.open("rb") as file, progress("reading (bytes)", self._path.stat().st_size) as advance:
                self._read(file, advance, shared_key_limit)
        except OSError as error:
            raise ConfigurationError(f"{self._path} can't be read: {error.strerror}") from None
        if not self.valid:
            first = f" Line {self.invalid_lines[0].line}: {self.invalid_lines[0].error}" if self.invalid else ""
            raise ConfigurationError(f"{self._path}: no line is a touchpoint.{first}")

    def _read(self, file: BinaryIO, advance: Callable[[int], object], shared_key_limit: int) -> None:
        self._sorter.execute("BEGIN")
        while lines := file.readlines(1 << 20):
            self._sorter.executemany(INSERT, self._rows(lines))
            advance(sum(map(len, lines)))
        self._link()
        roots, refused = canonical_roots(self._links.values(), shared_key_limit)
        self.refused_links = len(refused)
        moved = [(key, root) for key, root in roots.items() if key != root]
        self._sorter.executemany("INSERT INTO roots VALUES (?, ?)", moved)
        self._sorter.execute("COMMIT")

    async def customers(self) -> int:
        """How many customers have touchpoints."""
        (number,) = self._sorter.execute(CUSTOMERS).fetchone()
        return int(number)

    async def lives(self) -> AsyncIterator[CustomerTouchpoints]:
        """The touchpoints of every customer."""
        life: CustomerTouchpoints | None = None
        seen: set[tuple[str, str]] = set()
        for customer_id, at, id_, source, type_, channel, direction, *rest in self._sorter.execute(IN_ORDER):
            if life is None or life.customer_id != customer_id:
                if life is not None:
                    yield life
                life, seen = CustomerTouchpoints(customer_id, []), set()
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
            if isinstance(found, InvalidLine):
                self.invalid += 1
                if len(self.invalid_lines) < INVALID_LINES_KEPT:
                    self.invalid_lines.append(found)
                continue
            self.valid += 1
            one = found.touchpoint
            # [other keys, previous id of an alias]
            named = [found.others, found.previous] if found.others or found.previous is not None else None
            yield (
                found.key, one.occurred_at, one.id, one.source, one.type, one.channel, one.direction,
                orjson.dumps(one.properties), one.machine, one.backfill, one.received_at,
                content_digest(one, found.key, found.identifiers),
                None if one.machine or not named else orjson.dumps(named),
            )  # fmt: skip

    def _link(self) -> None:
        """Collect the links of the touchpoints that count."""
        filed = {key for (key,) in self._sorter.execute("SELECT DISTINCT key FROM filed")}
        for key, occurred_at, id_, source, named in self._sorter.execute(LINKS):
            others, previous = orjson.loads(named)
            if previous is not None:
                # The previous id is a known customer if the file has one with that id, else an anonymous id.
                others.append(previous if previous in filed else ANONYMOUS + previous)
            for other in others:
                self._add_link(weigh(occurred_at, id_, source, key, other))

    def _add_link(self, weight: Weight) -> None:
        pair = (weight[3], weight[4])
        if pair not in self._links or weight < self._links[pair]:
            self._links[pair] = weight


def read_line(line: bytes, number: int) -> Arrival | InvalidLine:
    """The touchpoint on one line, or what is wrong with it."""
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return InvalidLine(number, f"not JSON: {error}")
    if not isinstance(data, dict):
        return InvalidLine(number, "not a JSON object: write one touchpoint on each line")
    meaning = meaning_of(data["type"]) if isinstance(data.get("type"), str) else None
    defaults = {
        "id": f"line-{number:010d}",
        "source": FILE_SOURCE,
        "received_at": data.get("occurred_at", "1990-01-01T00:00:00Z"),
    }
    if meaning is not None:
        defaults |= {"channel": meaning.channel, "direction": meaning.direction}
    # A null field counts as absent.
    complete = defaults | {name: value for name, value in data.items() if value is not None}
    found = decode(orjson.dumps(complete), _key_of(complete))
    return InvalidLine(number, found.error) if isinstance(found, Poison) else found


def _key_of(data: dict[str, Any]) -> bytes | None:
    """The key of a well-formed touchpoint. The decoder reports fields that are not text."""

    def text(field: str) -> str | None:
        value = data.get(field)
        return value.strip() if isinstance(value, str) else None

    keys = keys_of(
        customer_id=text("customer_id"),
        anonymous_id=text("anonymous_id"),
        email=text("email"),
        external_id=text("external_id"),
        source=text("source") or "",
    )
    return keys[0].encode() if keys else None
