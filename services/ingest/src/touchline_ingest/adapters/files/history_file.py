"""A history file, row by row, with the byte position after each row; and the progress of its import."""

import csv
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
from touchline_runtime.errors import ConfigurationError

from touchline_ingest.adapters.files.csv_header import CsvHeader, read_header
from touchline_ingest.adapters.files.text_encoding import UTF8, UTF8_BOM, check_text
from touchline_ingest.core.history.rows import Progress, Row
from touchline_ingest.core.touchpoints.decoding import loads_exactly

_DEEP = 250


class HistoryFile:
    """Reads CSV (with a header line) or NDJSON.

    Args:
        encoding: as ``known_encoding`` gives it.

    Raises:
        ConfigurationError: it can't be read, has another format, or is not text in that encoding.
    """

    def __init__(self, path: Path, format: str | None = None, encoding: str = UTF8) -> None:  # noqa: A002
        self.path = path
        self.encoding = encoding
        suffix = path.suffix.lower()
        self.format = format or ("csv" if suffix in (".csv", ".tsv") else "ndjson")
        self._header = CsvHeader([], ",", 0, 0)
        try:
            self.size = path.stat().st_size
            check_text(path, encoding)
            if self.format == "csv":
                with path.open("rb") as lines:
                    self._header = read_header(path, lines, encoding)
        except OSError as error:
            raise ConfigurationError(f"{path} can't be read: {error.strerror}") from None
        self.columns = self._header.columns

    def rows(self, *, after: int = 0, line: int = 0) -> Iterator[Row]:
        """The rows that begin at or after a byte position; ``line`` lines come before it."""
        with self.path.open("rb") as raw:
            if self.format == "csv":
                start = after or self._header.end
                raw.seek(start)
                yield from self._csv_rows(_Lines(raw, start, line or self._header.lines, self.encoding))
            else:
                raw.seek(after)
                for data in (lines := _Lines(raw, after, line, self.encoding)).raw():
                    text = data.removeprefix(UTF8_BOM)
                    if text.strip():
                        yield _json_row(text, lines)

    def _csv_rows(self, lines: "_Lines") -> Iterator[Row]:
        reader = csv.reader(lines.text(), delimiter=self._header.delimiter, strict=True)
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
    """Lines of a file, and the byte position after the last one."""

    def __init__(self, raw: Any, position: int, number: int, encoding: str) -> None:
        self._raw = raw
        self.encoding = encoding
        self.position = position
        self.number = number

    def raw(self) -> Iterator[bytes]:
        for line in self._raw:
            self.position += len(line)
            self.number += 1
            yield line

    def text(self) -> Iterator[str]:
        for line in self.raw():
            yield line.decode(self.encoding)


def _json_row(data: bytes, lines: _Lines) -> Row:
    try:
        value = loads_exactly(data if lines.encoding == UTF8 else data.decode(lines.encoding).encode())
        if data.count(b"[") + data.count(b"{") > _DEEP:
            # What can be read and not be written again is nested too deep for every reader downstream.
            json.dumps(value)
    except orjson.JSONDecodeError as error:
        return Row(lines.number, lines.position, None, f"not JSON: {error}")
    except RecursionError:
        return Row(lines.number, lines.position, None, "nested too deep: flatten it")
    if not isinstance(value, dict):
        return Row(lines.number, lines.position, None, "not a JSON object")
    return Row(lines.number, lines.position, value)


class ContentFingerprint:
    """SHA-256 of the beginning of a file, up to positions that only rise."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self._at = 0

    def up_to(self, position: int) -> str:
        """The hash of the bytes before a position, in hex."""
        with self._path.open("rb") as raw:
            raw.seek(self._at)
            while self._at < position and (chunk := raw.read(min(1 << 20, position - self._at))):
                self._hash.update(chunk)
                self._at += len(chunk)
        return self._hash.hexdigest()


class ProgressFile:
    """Stores the progress of an import beside the history file, so that an interrupted import continues there."""

    def __init__(self, path: Path) -> None:
        self._file = path
        self.path = path.with_name(path.name + ".touchline-import.json")
        self._content = ContentFingerprint(path)

    def read(self, source: str, size: int, plan: str = "") -> Progress:
        """The progress of an earlier run for this source, with the same plan and over the same content.

        Without one, the progress is at the start: the file may be another one with the same name. Rows appended to a
        file since then are read from where it ended.
        """
        try:
            found = Progress(**json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            found = Progress()
        fresh = Progress(source=source, size=size, plan=plan)
        if (found.source, found.plan) != (source, plan) or not 0 < found.position <= size:
            return fresh
        if ContentFingerprint(self._file).up_to(found.position) != found.content:
            return fresh
        return replace(found, size=size)

    def advance(self, progress: Progress) -> None:
        """Save the progress, with a fingerprint of the content before its position."""
        self.write(replace(progress, content=self._content.up_to(progress.position)))

    def write(self, progress: Progress) -> None:
        """Save the progress atomically."""
        new = self.path.with_name(self.path.name + ".new")
        new.write_text(json.dumps(asdict(progress)), encoding="utf-8")
        os.replace(new, self.path)

    def forget(self) -> None:
        """Start from the first row next time."""
        self.path.unlink(missing_ok=True)
