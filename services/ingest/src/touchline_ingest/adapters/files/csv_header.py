"""The header of a CSV file: which columns there are, and what separates them."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from touchline_runtime.errors import ConfigurationError

from touchline_ingest.adapters.files.text_encoding import UTF8_BOM

_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"[^"]*"', re.DOTALL)
# Excel's first line that says what separates the cells.
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?\r?\n?', re.IGNORECASE).fullmatch
_MOST_LINES = 100


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """The header.

    Attributes:
        end: byte position after it.
        lines: lines that it takes.
    """

    columns: list[str]
    delimiter: str
    end: int
    lines: int


def read_header(path: Path, raw: BinaryIO, encoding: str) -> CsvHeader:
    """The header at the beginning of a file.

    Raises:
        ConfigurationError: it names no columns, or one twice, or the lines end as none of ours do.
    """
    data, lines = raw.readline(), 1
    mark = len(data)
    while data.startswith(UTF8_BOM):
        data = data.removeprefix(UTF8_BOM)
    end = mark
    stated = _SEPARATOR_LINE(data.decode(encoding))
    if stated is not None:
        data, lines = raw.readline(), 2
        end += len(data)
    # A name in quotes may hold a line break.
    while data.count(b'"') % 2 and lines < _MOST_LINES and (more := raw.readline()):
        data, lines, end = data + more, lines + 1, end + len(more)
    text = data.decode(encoding).rstrip("\r\n")
    plain = _QUOTED.sub("", text)
    if "\r" in plain:
        raise ConfigurationError(
            f"{path}: its lines end with a carriage return alone; convert the file: tr '\\r' '\\n' < FILE > NEW-FILE"
        )
    found = stated[1] if stated else max(_DELIMITERS, key=plain.count)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else found
    columns = next(csv.reader(text.splitlines(keepends=True), delimiter=delimiter), []) if text else []
    if len(columns) < 2:
        raise ConfigurationError(
            f"{path}: the first line must name the columns, separated by commas, semicolons, tabs or |"
        )
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"{path}: two columns are called {twice!r}: rename one, or only one could be imported")
    return CsvHeader(columns, delimiter, end, lines)
