"""CSV that a spreadsheet opens."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st
from touchline_runtime.exports.csv_text import csv_lines


@given(st.text(min_size=1).filter(lambda text: "\x00" not in text))
def test_no_cell_of_a_csv_is_a_formula(text: str) -> None:
    (row,) = csv.reader(io.StringIO(csv_lines([[text, 1, None]]), newline=""))
    assert row[0].lstrip("'") == text.lstrip("'") or row[0] == text
    assert row[0][:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert row[1:] == ["1", ""]
