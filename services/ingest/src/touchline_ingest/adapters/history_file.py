"""A file of history, row by row, with the byte position after each; and how far an import of it has come."""

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from touchline_runtime.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        number: of the line it ends on, from 1; for messages.
        end: byte position after it.
        content: column → text, or the line's JSON value; None when it can't be read, and then ``error`` says why.
    """

    number: int
    end: int
    content: dict[str, Any] | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import has come; everything before ``position`` is acknowledged."""

    position: int = 0
    line: int = 0
    accepted: int = 0
    rejected: int = 0
    source: str = ""
    size: int = 0

    def further(self, row: Row, accepted: int, rejected: int) -> "Progress":
        """After a batch that ends with a row."""
        return replace(
            self,
            position=row.end,
            line=row.number,
            accepted=self.accepted + accepted,
            rejected=self.rejected + rejected,
        )


class HistoryFile:
    """Reads CSV (with a header line) or NDJSON, in UTF-8.

    Raises:
        ConfigurationError: it can't be read, or is neither.
    """

    def __init__(self, path: Path, form: str | None = None) -> None:
        self.path = path
        suffix = path.suffix.lower()
        self.form = form or ("csv" if suffix in (".csv", ".tsv") else "ndjson")
        self._delimiter = "\t" if suffix == ".tsv" else ","
        try:
            self.size = path.stat().st_size
            with path.open("rb") as lines:
                self._head = lines.readline()
        except OSError as error:
            raise ConfigurationError(f"{path} can't be read: {error.strerror}") from None
        self.columns: list[str] = []
        if self.form == "csv":
            text = self._head.decode("utf-8-sig", "replace")
            if ";" in text and text.count(";") > text.count(","):
                self._delimiter = ";"
            self.columns = next(csv.reader([text], delimiter=self._delimiter), [])
            if len(self.columns) < 2:
                raise ConfigurationError(f"{path}: the first line must name the columns, separated by commas")

    def rows(self, *, after: int = 0, line: int = 0) -> Iterator[Row]:
        """The rows that begin at or after a byte position, which follows that many lines."""
        with self.path.open("rb") as raw:
            if self.form == "csv":
                start = after or len(self._head)
                raw.seek(start)
                yield from self._csv_rows(_Lines(raw, start, line or 1))
            else:
                raw.seek(after)
                for data in (lines := _Lines(raw, after, line)).raw():
                    if data.strip():
                        yield _json_row(data, lines)

    def _csv_rows(self, lines: "_Lines") -> Iterator[Row]:
        reader = csv.reader(lines.text(), delimiter=self._delimiter, strict=True)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(lines.number, lines.position, None, f"not CSV: {error}")
                continue
            if not cells:
                continue
            if len(cells) != len(self.columns):
                why = f"{len(cells)} cells, and the header names {len(self.columns)} columns"
                yield Row(lines.number, lines.position, None, why)
                continue
            yield Row(lines.number, lines.position, dict(zip(self.columns, cells, strict=True)))


class _Lines:
    """Lines of a file, and where the last one ended."""

    def __init__(self, raw: Any, position: int, number: int) -> None:
        self._raw = raw
        self.position = position
        self.number = number

    def raw(self) -> Iterator[bytes]:
        for line in self._raw:
            self.position += len(line)
            self.number += 1
            yield line

    def text(self) -> Iterator[str]:
        for line in self.raw():
            yield line.decode("utf-8", "replace")


def _json_row(data: bytes, lines: _Lines) -> Row:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return Row(lines.number, lines.position, None, f"not JSON: {error}")
    if not isinstance(value, dict):
        return Row(lines.number, lines.position, None, "not a JSON object")
    return Row(lines.number, lines.position, value)


class ProgressFile:
    """Remembers beside the file how far its import has come, so that it goes on there after an interruption."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".touchline-import.json")

    def read(self, source: str, size: int) -> Progress:
        """The progress of an earlier run for this source; from the start when there is none or the file has shrunk."""
        try:
            found = Progress(**json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            found = Progress()
        if found.source != source or found.position > size:
            return Progress(source=source, size=size)
        return replace(found, size=size)

    def write(self, progress: Progress) -> None:
        """Remember, in one step."""
        new = self.path.with_name(self.path.name + ".new")
        new.write_text(json.dumps(asdict(progress)), encoding="utf-8")
        os.replace(new, self.path)

    def forget(self) -> None:
        """Begin from the start next time."""
        self.path.unlink(missing_ok=True)
