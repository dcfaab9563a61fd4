"""Audiences: named, saved filters of customers. Checked here; pure."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from touchline_schemas.definitions.durations import parse_duration
from touchline_schemas.times import parse_instant

from touchline_stage_engine.core.audiences.customer_filter import CustomerFilter

NAME = r"^[a-z0-9]+(?:-[a-z0-9]+)*$"
LONGEST_NAME = 60
_SPANS = ("entered_within", "in_stage_for", "seen_within", "not_seen_for")
_INSTANTS = ("entered_since", "entered_before", "seen_since", "seen_before")
_NUMBERS = ("min_value", "max_value")
_TEXTS = ("lifecycle", "stage", "first_channel", "first_source")
_LONGEST_TEXT = 400
_LARGEST_NUMBER = 1e15
_EARLIEST, _LATEST = parse_instant("1900-01-01T00:00:00Z"), parse_instant("2100-01-01T00:00:00Z")
FIELDS = (*_TEXTS, "stalled", "at_risk", *_INSTANTS[:2], *_SPANS[:2], *_NUMBERS, *_INSTANTS[2:], *_SPANS[2:], "trait")
"""The conditions that a filter may have, in the order in which they are shown."""


class FilterFault(NamedTuple):
    """One thing that is wrong with an audience: the field, and what to write instead."""

    path: str
    message: str


class FaultyAudienceError(ValueError):
    """An audience that is wrong.

    Attributes:
        faults: everything that is wrong with it.
    """

    def __init__(self, faults: list[FilterFault]) -> None:
        super().__init__("; ".join(f"{fault.path}: {fault.message}" for fault in faults))
        self.faults = faults


class Audience(NamedTuple):
    """An audience as partitions evaluate it.

    Attributes:
        id: of this incarnation; never used again.
        incarnation: 1, 2, 3… over the audiences that had this name, one after the other.
        version: rises with every change of the filter.
        deleted: whether its members have to leave.
    """

    id: int
    name: str
    incarnation: int
    version: int
    filter: CustomerFilter
    deleted: bool = False


def check_name(name: str) -> None:
    """Refuse a name that is no word for an address.

    Raises:
        FaultyAudienceError: with what to write instead.
    """
    if not re.fullmatch(NAME, name) or len(name) > LONGEST_NAME:
        message = f"write lower-case letters, digits and hyphens, at most {LONGEST_NAME}, as in big-buyers"
        raise FaultyAudienceError([FilterFault("name", message)])


def read_filter(written: Mapping[str, Any]) -> CustomerFilter:
    """The filter that a JSON object says.

    Raises:
        FaultyAudienceError: with every fault.
    """
    faults: list[FilterFault] = []
    values: dict[str, Any] = {}
    for name, value in written.items():
        if value is None:
            continue
        if name not in FIELDS:
            faults.append(FilterFault(f"filter.{name}", _unknown(name)))
            continue
        try:
            values |= _read(name, value)
        except ValueError as error:
            faults.append(FilterFault(f"filter.{name}", str(error)))
    if not faults:
        faults = _contradictions(values, written)
    if faults:
        raise FaultyAudienceError(faults)
    return CustomerFilter(**values)


def _unknown(name: str) -> str:
    if name == "q":
        return "a search is no condition of an audience: use lifecycle, stage, value, trait or last activity"
    return f"is no condition; there are: {', '.join(FIELDS)}"


def _read(name: str, value: Any) -> dict[str, Any]:
    """Field of `CustomerFilter` → value, of one condition."""
    if name in ("stalled", "at_risk"):
        if not isinstance(value, bool):
            raise ValueError("write true or false")
        if name == "at_risk" and not value:
            raise ValueError("write true, or leave it out: there is no filter for customers who are not at risk")
        return {name: value}
    if name in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST_NUMBER:
            raise ValueError("write a number, as in 250 or 99.5")
        return {name: float(value)}
    if not isinstance(value, str):
        raise ValueError("write a text")
    if len(value) > _LONGEST_TEXT or any(_is_unstorable(character) for character in value):
        raise ValueError(f"write at most {_LONGEST_TEXT} characters, without control characters")
    if name in _SPANS:
        span = parse_duration(value)
        if span == 0:
            raise ValueError("write a span longer than zero")
        return {name: span}
    if name in _INSTANTS:
        instant = parse_instant(value)
        if not _EARLIEST <= instant <= _LATEST:
            raise ValueError("write an instant between the years 1900 and 2100")
        return {name: instant}
    if name == "trait":
        trait, colon, wanted = value.partition(":")
        if not (trait and colon):
            raise ValueError("write name:value, as in plan:pro")
        return {"trait": trait, "trait_value": wanted}
    if not value:
        raise ValueError("is empty: write a name, or leave it out")
    return {name: value}


def _is_unstorable(character: str) -> bool:
    """Control characters and halves of surrogate pairs."""
    return character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff"


_BELOW = (
    ("min_value", "max_value", "is above max_value: nobody could match"),
    ("entered_since", "entered_before", "is not before entered_before: nobody could match"),
    ("seen_since", "seen_before", "is not before seen_before: nobody could match"),
    ("in_stage_for", "entered_within", "is not shorter than entered_within: nobody could match"),
    ("not_seen_for", "seen_within", "is not shorter than seen_within: nobody could match"),
)


def _contradictions(values: Mapping[str, Any], written: Mapping[str, Any]) -> list[FilterFault]:
    if not values:
        return [FilterFault("filter", "has no condition: every customer would be a member; write one at least")]
    faults = []
    for low, high, message in _BELOW:
        if low in values and high in values:
            least, most = values[low], values[high]
            if least > most or (least == most and low != "min_value"):
                faults.append(FilterFault(f"filter.{low}", f"{written[low]} {message}"))
    return faults
