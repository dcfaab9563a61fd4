"""Times on the wire: RFC 3339, UTC, to the microsecond; in hot code, whole microseconds since the Unix epoch."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, PlainSerializer

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  (a zone would only have to be taken off again)
_MICROSECOND = timedelta(microseconds=1)


def to_wire(moment: datetime) -> str:
    """``2026-03-01T12:00:00.123456Z``; the fraction is left out when it is zero."""
    text = moment.astimezone(UTC).isoformat()
    return text[:-6] + "Z"


def to_micros(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime, exactly (no floats)."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The UTC datetime of microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=micros)


@lru_cache(maxsize=16_384)
def micros_to_wire(micros: int) -> str:
    """`to_wire` of microseconds since the epoch, for hot code: what happens together is told with the same times."""
    return (_NAIVE_EPOCH + timedelta(microseconds=micros)).isoformat() + "Z"


def parse_micros(text: str) -> int:
    """Microseconds since the epoch of an RFC 3339 text.

    Raises:
        ValueError: not a timestamp, or without a zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return (moment - _EPOCH) // _MICROSECOND


def parse_instant(text: str) -> int:
    """`parse_micros` of what a person wrote; ValueError says what to write instead."""
    try:
        return parse_micros(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{error}; write a date and time with a zone, such as 2026-03-01T00:00:00Z") from None


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None


UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc), PlainSerializer(to_wire, return_type=str, when_used="json")]
"""An aware datetime, kept in UTC, written with a ``Z``."""
