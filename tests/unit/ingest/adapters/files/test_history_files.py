"""Kind: a history file as other programs write it. It is read as meant, or refused with what to do; never half."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_ingest.adapters.files.history_file import HistoryFile
from touchline_runtime.errors import ConfigurationError

COLUMNS = ["customer_id", "type", "occurred_at"]
CELLS = ["c-1", "purchased", "2026-03-01T12:00:00Z"]


def read(tmp_path: Path, data: bytes, name: str = "orders.csv") -> tuple[HistoryFile, list[Any]]:
    file = tmp_path / name
    file.write_bytes(data)
    history = HistoryFile(file)
    return history, [row.content if row.content is not None else row.error for row in history.rows()]


@pytest.mark.parametrize("delimiter", list(",;\t|"))
@pytest.mark.parametrize("beginning", ["", "\ufeff", "\ufeff\ufeff", "sep={}\n", "\ufeffsep={}\r\n", '"sep={}"\r\n'])
@pytest.mark.parametrize("quote", ["", '"'])
def test_what_separates_the_cells_is_found(tmp_path: Path, delimiter: str, beginning: str, quote: str) -> None:
    lines = [delimiter.join(f"{quote}{cell}{quote}" for cell in cells) for cells in (COLUMNS, CELLS)]
    text = beginning.format(delimiter) + "\r\n".join(lines) + "\r\n"
    history, rows = read(tmp_path, text.encode())
    assert history.columns == COLUMNS
    assert rows == [dict(zip(COLUMNS, CELLS, strict=True))]


@pytest.mark.parametrize(("delimiter", "others"), [(",", "a;b;c;d;e|f|g"), (";", "a,b,c,d,e"), ("|", "1,2,3;4;5;6")])
def test_what_is_in_quotes_separates_nothing(tmp_path: Path, delimiter: str, others: str) -> None:
    columns, cells = [*COLUMNS, others], [*CELLS, "1"]
    text = "\n".join(delimiter.join([*line[:3], f'"{line[3]}"']) for line in (columns, cells))
    assert read(tmp_path, text.encode())[1] == [dict(zip(columns, cells, strict=True))]


def test_a_column_may_be_called_by_two_lines_and_the_lines_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_bytes(b'customer_id,type,"occurred\nat"\nc-1,purchased,x\nc-2,purchased,y\n')
    history = HistoryFile(file)
    first, second = history.rows()
    assert history.columns == ["customer_id", "type", "occurred\nat"]
    assert (first.number, second.number) == (3, 4)
    assert [row.content for row in history.rows(after=first.end, line=first.number)] == [second.content]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"customer_id,type,total,total\nc,x,1,2\n", "two columns are called 'total'"),
        (b"customer_id,type\rc,x\r", "carriage return"),
        (b"customer_id\nc\n", "commas, semicolons, tabs"),
        (b"", "commas, semicolons, tabs"),
        (b"sep=;\n", "commas, semicolons, tabs"),
    ],
)
def test_a_header_that_can_not_be_meant_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read(tmp_path, data)


def test_empty_columns_at_the_end_as_spreadsheets_write_them_are_no_reason(tmp_path: Path) -> None:
    assert len(read(tmp_path, b"customer_id,type,,,\nc-1,purchased,,,\n")[1]) == 1


@given(depth=st.integers(1, 1500), number=st.sampled_from(["1", "9" * 25]))
def test_a_line_nested_too_deep_costs_that_line_alone(
    tmp_path_factory: pytest.TempPathFactory, depth: int, number: str
) -> None:
    deep = '{"n":' + "[" * depth + number + "]" * depth + "}"
    _, rows = read(tmp_path_factory.mktemp("deep"), f'{deep}\n{{"a": 1}}\n'.encode(), "rows.ndjson")
    assert rows[1] == {"a": 1}
    assert isinstance(rows[0], dict | str)
