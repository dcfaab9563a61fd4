"""Times on the wire: RFC 3339, UTC, to the microsecond; in hot code, whole microseconds since the Unix epoch."""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, PlainSerializer

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  (a zone would only have to be taken off again)
_MICROSECOND = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
# RFC 3339 §5.6 in any case, with what ISO 8601 writers add to it: no seconds, a comma, an offset without its colon.
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,30}))?)?(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
).fullmatch


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
    """`to_wire` of microseconds since the epoch, for hot code; cached, because many events share their times."""
    return (_NAIVE_EPOCH + timedelta(microseconds=micros)).isoformat() + "Z"


def read_time(text: str) -> datetime:
    """The UTC datetime of an RFC 3339 text. All times that others send are parsed here.

    Digits beyond the microsecond are cut. A leap second is the first second of the next minute.

    Raises:
        ValueError: not a timestamp, or without a zone; the message says what to write.
    """
    found = _TIME(text.strip())
    if found is None:
        raise ValueError("must be an RFC 3339 text with a time zone, such as 2026-03-01T12:00:00Z")
    year, month, day, hour, minute, second, fraction, utc, sign, ahead, minutes_ahead = found.groups()
    if utc is None and sign is None:
        raise ValueError("has no timezone: must be an RFC 3339 text with one, such as 2026-03-01T12:00:00Z")
    leap = second == "60"
    micros = int((fraction or "0")[:6].ljust(6, "0"))
    zone = UTC
    if sign is not None:
        offset = timedelta(hours=int(ahead), minutes=int(minutes_ahead or 0))
        zone = timezone(-offset if sign == "-" else offset)
    moment = datetime(
        int(year), int(month), int(day), int(hour), int(minute), 0 if leap else int(second or 0), micros, zone
    )
    return _to_utc(moment + _MINUTE if leap else moment)


def parse_micros(text: str) -> int:
    """Microseconds since the epoch of an RFC 3339 text.

    Raises:
        ValueError: not a timestamp, or without a zone.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        # Records that others wrote to the topic directly are parsed as in ingest.
        moment = read_time(text)
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
