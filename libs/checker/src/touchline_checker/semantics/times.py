"""Times and durations as whole microseconds.

The documented forms are RFC 3339 with a zone, `30m 12h 14d 8w`, and ISO 8601 durations.
"""

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})[T ](?P<clock>\d{2}:\d{2}:\d{2})(?:\.(?P<fraction>\d+))?(?P<zone>Z|[+-]\d{2}:?\d{2})"
)
_SECONDS = {"w": 7 * 86_400, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_SHORT = re.compile(r"(\d+)([wdhms])")
_ISO_PART = re.compile(r"(\d+(?:[.,]\d+)?)([WDHMS])")


def instant(text: str) -> int:
    """Microseconds since the Unix epoch of an RFC 3339 text; digits beyond the microsecond are cut.

    Raises:
        ValueError: not such a text.
    """
    found = _INSTANT.fullmatch(text.strip().upper())
    if found is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time with a zone")
    zone = "+00:00" if found["zone"] == "Z" else found["zone"]
    whole = datetime.fromisoformat(f"{found['day']}T{found['clock']}{zone}")
    fraction = (found["fraction"] or "")[:6].ljust(6, "0")
    return (whole - _EPOCH) // timedelta(seconds=1) * SECOND + int(fraction)


def text_of(micros: int) -> str:
    """The RFC 3339 text of an instant, for people."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")


def duration(text: str) -> int:
    """Microseconds of a duration.

    Raises:
        ValueError: not a duration.
    """
    if short := _SHORT.fullmatch(text):
        return int(short[1]) * _SECONDS[short[2]] * SECOND
    if not text.startswith("P"):
        raise ValueError(f"{text!r} is not a duration")
    date, _, clock = text[1:].partition("T")
    total = Fraction(0)
    for part, units in ((date, "WD"), (clock, "HMS")):
        if _ISO_PART.sub("", part):
            raise ValueError(f"{text!r} is not a duration")
        for number, unit in _ISO_PART.findall(part):
            if unit not in units:
                raise ValueError(f"{text!r} is not a duration")
            total += Fraction(number.replace(",", ".")) * _SECONDS[unit.lower()] * SECOND
    return int(total)
