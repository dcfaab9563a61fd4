"""The evidence: what a run left behind, as a folder of NDJSON files or as values.

| file | one line is |
| --- | --- |
| `meta.json` | `collected_at` (RFC 3339), `shared_key_limit`, `prefix` |
| `accepted.ndjson` | a touchpoint that a client was told was accepted: `source`, `id`, and the posted fields |
| `<topic>.ndjson` | a committed record: `partition`, `offset`, `timestamp` (ms), `key`, `headers`, `value` (JSON or text) |
| `received.ndjson` | a message that a receiver got: `kind` (webhook, mail), `at`, `message_id`, `action_id`, `fact_id`, `customer_id`, `to` |
| `db-<table>.ndjson` | a row of the table |
| `plays/*.yaml` | the plays in force |
"""  # noqa: E501

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from touchline_checker.semantics.definitions import read_lifecycle
from touchline_checker.semantics.fold import Version
from touchline_checker.semantics.times import instant, text_of

TOPICS = ("touchpoints", "stage-changes", "customer-stages", "lifecycles", "retention-actions", "dead-letters")
TABLES = ("touchpoints", "stages", "history", "actions")

Row = Mapping[str, Any]


class BadEvidenceError(Exception):
    """The evidence cannot be read: a file, a line, and why."""


@dataclass(frozen=True)
class Record:
    """A committed record of a topic. `value` is the JSON data, the text of what is no JSON, or None."""

    partition: int
    offset: int
    key: str | None
    headers: Mapping[str, str]
    value: Any
    timestamp: int = 0
    """Microseconds."""

    @property
    def data(self) -> dict[str, Any]:
        """The value as an object; empty where it is none."""
        return self.value if isinstance(self.value, dict) else {}


@dataclass(frozen=True)
class Received:
    """A message that a receiver got; `at` in microseconds."""

    kind: str
    at: int
    message_id: str
    action_id: str | None = None
    fact_id: str | None = None
    customer_id: str | None = None
    to: str | None = None


@dataclass
class Evidence:
    """Everything that the checks look at. A table that is None was not collected, and what needs it is left out."""

    collected_at: int
    accepted: list[Row] = field(default_factory=list)
    topics: dict[str, list[Record]] = field(default_factory=lambda: {name: [] for name in TOPICS})
    received: list[Received] | None = None
    tables: dict[str, list[Row]] = field(default_factory=dict)
    plays: list[Row] = field(default_factory=list)
    shared_key_limit: int = 50

    def versions(self) -> dict[str, list[Version]]:
        """Lifecycle → its versions, of the compacted topic of definitions."""
        latest: dict[str | None, Record] = {}
        for record in self.topics["lifecycles"]:
            latest[record.key] = record
        found: dict[str, list[Version]] = {}
        for record in latest.values():
            if record.value is None:
                continue
            since = record.data.get("effective_from")
            lifecycle = read_lifecycle(record.data["definition"])
            found.setdefault(lifecycle.name, []).append(Version(lifecycle, None if since is None else instant(since)))
        return found

    def write(self, folder: Path) -> None:
        """Write the folder that `read` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        meta = {"collected_at": text_of(self.collected_at), "shared_key_limit": self.shared_key_limit}
        (folder / "meta.json").write_bytes(orjson.dumps(meta, option=orjson.OPT_INDENT_2))
        _write(folder / "accepted.ndjson", self.accepted)
        for name, records in self.topics.items():
            _write(folder / f"{name}.ndjson", (_record_line(record) for record in records))
        if self.received is not None:
            _write(folder / "received.ndjson", (_received_line(message) for message in self.received))
        for name, rows in self.tables.items():
            _write(folder / f"db-{name}.ndjson", rows)
        (folder / "plays").mkdir(exist_ok=True)
        for play in self.plays:
            with (folder / "plays" / f"{play['play']}.yaml").open("w") as file:
                YAML(typ="safe", pure=True).dump(dict(play), file)

    @classmethod
    def read(cls, folder: Path) -> "Evidence":
        """Read a folder.

        Raises:
            BadEvidenceError: a file is missing, or a line cannot be read.
        """
        meta_file = folder / "meta.json"
        try:
            meta = orjson.loads(meta_file.read_bytes())
            collected_at = instant(meta["collected_at"])
        except (OSError, ValueError, KeyError) as error:
            raise BadEvidenceError(f"{meta_file}: {error}: it needs collected_at, an RFC 3339 time") from None
        received = folder / "received.ndjson"
        return cls(
            collected_at,
            list(_lines(folder / "accepted.ndjson")),
            {name: [_record(row) for row in _lines(folder / f"{name}.ndjson")] for name in TOPICS},
            [received_message(row) for row in _lines(received)] if received.exists() else None,
            {name: list(_lines(file)) for name in TABLES if (file := folder / f"db-{name}.ndjson").exists()},
            read_plays(folder / "plays"),
            int(meta.get("shared_key_limit", 50)),
        )


def read_plays(folder: Path) -> list[Row]:
    """The plays of a folder, as plain values.

    Raises:
        BadEvidenceError: a file is no YAML.
    """
    found: list[Row] = []
    for file in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        try:
            found.append(YAML(typ="safe", pure=True).load(file.read_text()))
        except YAMLError as error:
            raise BadEvidenceError(f"{file}: {error}") from None
    return found


def read_lines(file: Path) -> list[Row]:
    """The objects of an NDJSON file.

    Raises:
        BadEvidenceError: it is missing, or a line is no object.
    """
    if not file.exists():
        raise BadEvidenceError(f"{file}: no such file")
    return list(_lines(file))


def received_message(row: Row) -> Received:
    """A line of `received.ndjson`.

    Raises:
        BadEvidenceError: a field is missing.
    """
    try:
        return Received(
            row["kind"], instant(row["at"]), row["message_id"], row.get("action_id"), row.get("fact_id"),
            row.get("customer_id"), row.get("to"),
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise BadEvidenceError(f"received.ndjson: {error!r} in {dict(row)}") from None


def _lines(file: Path) -> Iterable[Row]:
    if not file.exists():
        return
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except ValueError as error:
                raise BadEvidenceError(f"{file}:{number}: {error}") from None
            if not isinstance(row, dict):
                raise BadEvidenceError(f"{file}:{number}: a JSON object is expected")
            yield row


def _write(file: Path, rows: Iterable[Row]) -> None:
    with file.open("wb") as lines:
        for row in rows:
            lines.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _record_line(record: Record) -> Row:
    return {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp // 1000,
        "key": record.key,
        "headers": record.headers,
        "value": record.value,
    }


def _record(row: Row) -> Record:
    try:
        return Record(
            row["partition"], row["offset"], row["key"], row.get("headers") or {}, row["value"],
            row.get("timestamp", 0) * 1000,
        )  # fmt: skip
    except KeyError as error:
        raise BadEvidenceError(f"a record has no {error}: {dict(row)}") from None


def _received_line(message: Received) -> Row:
    return {
        "kind": message.kind,
        "at": text_of(message.at),
        "message_id": message.message_id,
        "action_id": message.action_id,
        "fact_id": message.fact_id,
        "customer_id": message.customer_id,
        "to": message.to,
    }
