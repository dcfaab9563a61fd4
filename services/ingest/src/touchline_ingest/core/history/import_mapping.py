"""How a row of imported history becomes a touchpoint: the mapping file of ``touchline-ingest import``.

::

    fields:
      customer_id: customer                    # a column; in NDJSON a dotted path
      type: {column: event, map: {"Order Completed": purchased}}
      channel: {value: commerce}               # the same for every row
      occurred_at: {column: date, format: "%d.%m.%Y %H:%M", zone: Europe/Berlin}
      id: {column: order, prefix: "order-"}
    properties:                                # left out: every column that no field took, as it is
      amount: {column: total, as: number}      # text, number, integer, boolean, json
      currency: currency

Without a mapping, columns that are called like a touchpoint's fields are these and the others are properties.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from touchline_runtime.yaml.positions import FaultyDocumentError, Path, SourcePositions
from touchline_runtime.yaml.text import read_document
from touchline_schemas.times import read_time
from touchline_schemas.touchpoint import PostedTouchpoint

from touchline_ingest.core.sources.interface import TouchpointDraft
from touchline_ingest.core.sources.values import from_unix

FIELDS = frozenset(PostedTouchpoint.model_fields) - {"properties", "source", "received_at"}
_FLAGS = frozenset(("machine", "backfill"))
_AS = ("text", "number", "integer", "boolean", "json")
_TAKING = ("column", "value", "map", "default", "prefix", "as", "format", "zone")
_TRUE = frozenset(("true", "1", "yes", "y", "t"))
_FALSE = frozenset(("false", "0", "no", "n", "f"))


_UNIX = {"unix": 1, "unix_ms": 1000}
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).fullmatch


class RowError(ValueError):
    """A row that makes no touchpoint; the text says which column and why."""


@dataclass(frozen=True, slots=True)
class ValueRule:
    """Where one value comes from and how it is read."""

    column: str | None = None
    value: Any = None
    map: Mapping[str, Any] | None = None
    default: Any = None
    prefix: str = ""
    as_type: str = "text"
    format: str | None = None
    zone: ZoneInfo | None = None

    def of(self, row: Mapping[str, Any]) -> Any:
        """The value for a row; None when it has none.

        Raises:
            RowError: it can't be read as what it should be.
        """
        if self.column is None:
            return self.value
        raw = _at(row, self.column)
        if raw is None or raw == "":
            return self.default
        if self.map is not None:
            if str(raw) in self.map:
                return self.map[str(raw)]
            if self.default is not None:
                return self.default
        if self.format is not None or self.zone is not None:
            return self._moment(str(raw))
        value = _converted(raw, self.as_type, self.column) if isinstance(raw, str) else raw
        return f"{self.prefix}{value}" if self.prefix else value

    def _moment(self, text: str) -> datetime:
        per_second = _UNIX.get(self.format or "")
        try:
            if per_second is not None:
                found = from_unix(text.strip(), per_second=per_second)
                if found is None:
                    raise ValueError
                return found
            if self.format is None:
                return self._without_format(text)
            moment = datetime.strptime(text, self.format)  # noqa: DTZ007
        except (ValueError, OverflowError, OSError):
            form = f"of the form {self.format}" if self.format else "such as 2026-03-01 12:00:00: give its format"
            raise RowError(f"column {self.column}: {text[:60]!r} is not a time {form}") from None
        return moment.replace(tzinfo=self.zone) if moment.tzinfo is None and self.zone else moment

    def _without_format(self, text: str) -> datetime:
        """An RFC 3339 time; its zone, or the time of day, may be missing where a zone is configured."""
        try:
            return read_time(text)
        except ValueError:
            if self.zone is None:
                raise
        text = text.strip()
        local = read_time(f"{text}T00:00Z" if _DATE(text) else f"{text}Z")
        return local.replace(tzinfo=self.zone)


@dataclass(frozen=True, slots=True)
class RowMapping:
    """A mapping. ``properties`` None: every column that no field took."""

    fields: Mapping[str, ValueRule] = field(default_factory=dict)
    properties: Mapping[str, ValueRule] | None = None

    def draft(self, row: Mapping[str, Any]) -> TouchpointDraft:
        """The draft of a row.

        Raises:
            RowError: a value can't be read.
        """
        draft: TouchpointDraft = {}
        for name, taking in self.fields.items():
            value = taking.of(row)
            if value is None or value == "":
                continue
            if name not in _FLAGS and not isinstance(value, str | datetime):
                value = str(value)
            draft[name] = value
        if self.properties is not None:
            properties = {name: taking.of(row) for name, taking in self.properties.items()}
        else:
            taken = {taking.column for taking in self.fields.values()}
            properties = {
                name.removeprefix("properties."): value
                for name, value in row.items()
                if name not in taken and name != "properties" and value != ""
            }
            if isinstance(row.get("properties"), dict):
                properties = {**row["properties"], **properties}
        properties = {name: value for name, value in properties.items() if value is not None}
        if properties:
            draft["properties"] = properties
        return draft


def default_mapping(columns: Mapping[str, Any] | list[str]) -> RowMapping:
    """The mapping of a file without one: columns called like fields are these."""
    return RowMapping(
        {name: ValueRule(name, as_type="boolean" if name in _FLAGS else "text") for name in columns if name in FIELDS}
    )


def read_mapping(text: str, file: str = "") -> RowMapping:
    """Read a mapping file; `file` is the name that messages carry.

    Raises:
        FaultyDocumentError: with the line and what to write instead.
    """
    document, positions = read_document(text, file, any_keys=True)
    if not isinstance(document, dict) or not isinstance(document.get("fields"), dict):
        raise _wrong(positions, (), "write `fields:` and under it `customer_id: <column>` and so on")
    for name in document:
        if name not in ("fields", "properties"):
            raise _wrong(positions, (name,), "unknown; write fields and properties")
    fields = {}
    for name, raw in document["fields"].items():
        at: Path = ("fields", name)
        if name not in FIELDS:
            raise _wrong(positions, at, f"is not a field; the fields are {', '.join(sorted(FIELDS))}")
        fields[name] = _taking(raw, positions, at, "boolean" if name in _FLAGS else "text")
    properties = document.get("properties")
    if properties is None:
        return RowMapping(fields)
    if not isinstance(properties, dict):
        raise _wrong(positions, ("properties",), "write names and columns: `amount: total`")
    return RowMapping(fields, {name: _taking(raw, positions, ("properties", name)) for name, raw in properties.items()})


def _wrong(positions: SourcePositions, path: Path, message: str) -> FaultyDocumentError:
    return FaultyDocumentError([positions.fault(path, message)])


def _taking(raw: Any, positions: SourcePositions, at: Path, as_type: str = "text") -> ValueRule:
    if isinstance(raw, str):
        return ValueRule(raw, as_type=as_type)
    if not isinstance(raw, dict) or ("column" in raw) == ("value" in raw):
        raise _wrong(positions, at, "write a column's name, {column: …} or {value: …}")
    for key in raw:
        if key not in _TAKING:
            raise _wrong(positions, (*at, key), f"unknown; write {', '.join(_TAKING)}")
    if raw.get("as", as_type) not in _AS:
        raise _wrong(positions, (*at, "as"), f"write one of {', '.join(_AS)}")
    values = raw.get("map")
    if values is not None and not isinstance(values, dict):
        raise _wrong(positions, (*at, "map"), "write what is in the column and what it becomes: `{Won: deal_won}`")
    try:
        zone = ZoneInfo(raw["zone"]) if "zone" in raw else None
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        message = f"{raw['zone']!r} is no time zone: write one such as Europe/Berlin"
        raise _wrong(positions, (*at, "zone"), message) from None
    return ValueRule(
        column=None if "column" not in raw else str(raw["column"]),
        value=raw.get("value"),
        map=values,
        default=raw.get("default"),
        prefix=str(raw.get("prefix", "")),
        as_type=raw.get("as", as_type),
        format=None if raw.get("format") is None else str(raw["format"]),
        zone=zone,
    )


def _at(row: Mapping[str, Any], path: str) -> Any:
    if path in row:
        return row[path]
    value: Any = row
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _converted(text: str, as_type: str, column: str) -> Any:
    try:
        if as_type == "integer":
            return int(text)
        if as_type == "number":
            number = float(text)
            if not math.isfinite(number):
                raise ValueError
            return number
        if as_type == "json":
            return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise RowError(f"column {column}: {text[:60]!r} is no {as_type}") from None
    if as_type == "boolean":
        if text.strip().lower() in _TRUE | _FALSE:
            return text.strip().lower() in _TRUE
        raise RowError(f"column {column}: {text[:60]!r} is neither true nor false")
    return text


def _no_constant(name: str) -> Any:
    raise ValueError(name)
