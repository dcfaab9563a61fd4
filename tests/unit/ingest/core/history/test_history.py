"""Importing history: the mapping, the file row by row, and going on after an interruption."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from touchline_ingest.adapters.files.history_file import HistoryFile, ProgressFile
from touchline_ingest.adapters.memory.publisher import MemoryPublisher
from touchline_ingest.application.import_history import Import, run_import
from touchline_ingest.core.history.import_mapping import RowError, default_mapping, read_mapping
from touchline_ingest.core.history.rows import Progress
from touchline_ingest.core.touchpoints.acceptance import Terms
from touchline_ingest.entrypoints.cli.import_history import TerminalReport
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.yaml.positions import FaultyDocumentError

MAPPING = """
fields:
  customer_id: customer
  type: {column: event, map: {"Order Completed": purchased}}
  channel: {value: commerce}
  occurred_at: {column: date, format: "%d.%m.%Y %H:%M", zone: Europe/Berlin}
  id: {column: order, prefix: "order-"}
properties:
  amount: {column: total, as: number}
  gift: {column: gift, as: boolean}
"""
ROW = {
    "customer": "c-1",
    "event": "Order Completed",
    "date": "01.07.2025 14:30",
    "order": "7",
    "total": "9.5",
    "gift": "no",
}


def test_a_mapping_makes_a_touchpoint_of_a_row() -> None:
    draft = read_mapping(MAPPING).draft(ROW)
    assert draft["occurred_at"].astimezone(UTC) == datetime(2025, 7, 1, 12, 30, tzinfo=UTC)
    del draft["occurred_at"]
    assert draft == {
        "customer_id": "c-1",
        "type": "purchased",
        "channel": "commerce",
        "id": "order-7",
        "properties": {"amount": 9.5, "gift": False},
    }


def test_without_properties_in_the_mapping_every_other_column_is_one() -> None:
    mapping = read_mapping("fields: {customer_id: customer}")
    assert mapping.draft({"customer": "c", "a": "1", "properties.b": "2", "empty": ""}) == {
        "customer_id": "c",
        "properties": {"a": "1", "b": "2"},
    }


def test_without_a_mapping_columns_called_like_fields_are_these() -> None:
    draft = default_mapping(["customer_id", "type", "machine", "plan"]).draft(
        {"customer_id": "c", "type": "x", "machine": "true", "plan": "pro"}
    )
    assert draft == {"customer_id": "c", "type": "x", "machine": True, "properties": {"plan": "pro"}}


def test_a_dotted_path_reaches_into_ndjson() -> None:
    mapping = read_mapping("fields: {customer_id: user.id, occurred_at: {column: at, format: unix_ms}}\nproperties: {}")
    draft = mapping.draft({"user": {"id": 17}, "at": 1_700_000_000_000})
    assert draft == {"customer_id": "17", "occurred_at": datetime.fromtimestamp(1_700_000_000, UTC)}


@pytest.mark.parametrize(
    ("row", "message"),
    [({"date": "soon"}, "column date"), ({"total": "much"}, "column total"), ({"gift": "perhaps"}, "column gift")],
)
def test_a_cell_that_makes_no_sense_names_its_column(row: dict[str, str], message: str) -> None:
    with pytest.raises(RowError, match=message):
        read_mapping(MAPPING).draft(ROW | row)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not YAML"),
        ("other: 1", "fields"),
        ("fields: {customer: c}", "not a field"),
        ("fields: {customer_id: {}}", "column"),
        ("fields: {customer_id: {column: a, value: b}}", "column"),
        ("fields: {customer_id: {column: a, formt: b}}", "unknown"),
        ("fields: {customer_id: {column: a, as: money}}", "as"),
        ("fields: {occurred_at: {column: a, zone: Mars/Crater}}", "time zone"),
        ("fields: {}\nproperties: [a]", "properties"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(FaultyDocumentError, match=message):
        read_mapping(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fields:\n  type: a\n  type: b", "map.yaml:3: fields.type: is written twice; keep one of the two"),
        ("fields:\n  machine: {column: a,\n    as: money}", "map.yaml:3: fields.machine.as: write one of text"),
        (
            "fields: {}\nproperties:\n  a: {column: b, formt: c}",
            "map.yaml:3: properties.a.formt: unknown; write column",
        ),
        ("fields: {}\nfilter: a", "map.yaml:2: filter: unknown; write fields and properties"),
        ("", "map.yaml:1: write `fields:`"),
    ],
)
def test_it_is_told_with_file_and_line(text: str, message: str) -> None:
    with pytest.raises(FaultyDocumentError) as caught:
        read_mapping(text, "map.yaml")
    assert message in str(caught.value)


def test_values_of_a_column_may_look_like_numbers() -> None:
    mapping = read_mapping("fields: {type: {column: code, map: {1: purchased, 007: renewed, true: upgraded}}}")
    drafts = [mapping.draft({"code": code})["type"] for code in ("1", "007", "true")]
    assert drafts == ["purchased", "renewed", "upgraded"]


CSV = (
    "customer_id,type,occurred_at,note\n"
    'c1,purchased,2020-01-01T00:00:00Z,"two\nlines, and ""quotes"""\n'
    "c2,purchased,no time,\n"
    "c3,purchased\n"
    "\n"
    "c4,purchased,2020-01-02T00:00:00Z,ü\n"
)


def test_rows_know_where_they_end_so_that_any_of_them_is_a_place_to_go_on(tmp_path: Path) -> None:
    file = tmp_path / "h.csv"
    file.write_text(CSV, encoding="utf-8")
    history = HistoryFile(file)
    rows = list(history.rows())
    assert [row.content is None for row in rows] == [False, False, True, False]
    assert rows[0].content is not None
    assert list(rows[0].content.values()) == ["c1", "purchased", "2020-01-01T00:00:00Z", 'two\nlines, and "quotes"']
    assert "4 columns" in rows[2].error
    assert rows[-1].end == file.stat().st_size
    for number, row in enumerate(rows):
        assert list(history.rows(after=row.end, line=row.number)) == rows[number + 1 :]


def test_lines_of_ndjson_too(tmp_path: Path) -> None:
    file = tmp_path / "h.ndjson"
    file.write_bytes(b'{"a":1}\n\nbroken\n[1]\n{"b":2}')
    rows = list(HistoryFile(file).rows())
    assert [row.content for row in rows] == [{"a": 1}, None, None, {"b": 2}]
    assert [row.number for row in rows] == [1, 3, 4, 5]


@pytest.mark.parametrize(("name", "text"), [("empty.csv", ""), ("one.csv", "customer_id\n")])
def test_a_csv_without_column_names_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match="columns"):
        HistoryFile(tmp_path / name)
    with pytest.raises(ConfigurationError, match="can't be read"):
        HistoryFile(tmp_path / "missing.csv")


def history_of(tmp_path: Path, count: int) -> Path:
    file = tmp_path / "history.ndjson"
    lines = [
        orjson.dumps({"type": "purchased", "customer_id": f"c{n}", "occurred_at": "2020-01-01T00:00:00Z"})
        for n in range(count)
    ]
    lines[7] = b"{}"
    file.write_bytes(b"\n".join(lines))
    return file


def stored(publisher: MemoryPublisher) -> list[dict[str, Any]]:
    return [orjson.loads(record.value) for record in publisher.published["touchpoints"]]


async def test_an_import_publishes_history_flagged_as_such_and_keeps_what_it_rejects(tmp_path: Path) -> None:
    file = history_of(tmp_path, 2500)
    rejects = tmp_path / "rejects.ndjson"
    work = Import(HistoryFile(file), default_mapping([]), Terms("crm", backfill=True))
    publisher = MemoryPublisher()
    with TerminalReport(file, Progress(), rejects) as report:
        done = await run_import(work, Progress(source="crm"), publisher, ProgressFile(file), report)
    assert (done.accepted, done.rejected, done.position) == (2499, 1, file.stat().st_size)
    assert all(touchpoint["backfill"] and touchpoint["source"] == "crm" for touchpoint in stored(publisher))
    (reject,) = [orjson.loads(line) for line in rejects.read_bytes().splitlines()]
    assert reject["line"] == 8


async def test_interrupted_it_goes_on_where_it_was_and_repeated_it_names_everything_the_same(tmp_path: Path) -> None:
    file = history_of(tmp_path, 3500)
    work = Import(HistoryFile(file), default_mapping([]), Terms("crm"))
    whole, first, second = MemoryPublisher(), MemoryPublisher(), MemoryPublisher()
    await run_import(work, Progress(), whole, None, TerminalReport(file, Progress()))

    class InterruptedHereError(Exception):
        pass

    class UntilInterrupted(ProgressFile):
        def write(self, progress: Progress) -> None:
            super().write(progress)
            if progress.line >= 2000:
                raise InterruptedHereError

    with pytest.raises(InterruptedHereError):
        await run_import(work, Progress(source="crm"), first, UntilInterrupted(file), TerminalReport(file, Progress()))
    remembered = ProgressFile(file).read("crm", file.stat().st_size)
    assert remembered.line == 2000
    assert ProgressFile(file).read("other source", file.stat().st_size).line == 0
    done = await run_import(work, remembered, second, ProgressFile(file), TerminalReport(file, Progress()))
    assert done.accepted == 3499
    ids = [touchpoint["id"] for touchpoint in stored(first) + stored(second)]
    assert ids == [touchpoint["id"] for touchpoint in stored(whole)]
    assert len(set(ids)) == 3499


async def test_a_dry_run_judges_and_publishes_nothing(tmp_path: Path) -> None:
    file = history_of(tmp_path, 20)
    work = Import(HistoryFile(file), default_mapping([]), Terms("crm"))
    done = await run_import(work, Progress(), None, None, TerminalReport(file, Progress()))
    assert (done.accepted, done.rejected) == (19, 1)
    assert not ProgressFile(file).path.exists()
