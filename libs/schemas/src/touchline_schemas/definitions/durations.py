"""Lengths of time as people write them: ``30m``, ``12h``, ``14d``, ``8w``, or ISO 8601 (``P14D``, ``PT36H``).

In code a length is whole microseconds.
"""

import re
from decimal import Decimal

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

PATTERN = (
    r"^(?:[0-9]+[smhdw]|P(?=[0-9T])(?:[0-9.,]+W)?(?:[0-9.,]+D)?"
    r"(?:T(?=[0-9])(?:[0-9.,]+H)?(?:[0-9.,]+M)?(?:[0-9.,]+S)?)?)$"
)
"""What editors check a duration against (ISO years and months are left out: they have no fixed length)."""

LONGEST = 40_000 * DAY
"""Over a century: longer is a slip of the pen, and would leave the calendar."""

_SHORT = re.compile(r"([0-9]{1,12})([smhdw])")
_SHORT_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_NUMBER = r"([0-9]{1,12}(?:[.,][0-9]{1,12})?)"
_ISO = re.compile(
    rf"P(?=[0-9T])(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?=[0-9])(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?"
)
_ISO_UNITS = (WEEK, DAY, HOUR, MINUTE, SECOND)


def parse_duration(text: str) -> int:
    """The length in microseconds, zero included; ValueError says what to write instead."""
    if match := _SHORT.fullmatch(text):
        length = int(match[1]) * _SHORT_UNITS[match[2]]
    elif match := _ISO.fullmatch(text):
        length = sum(
            int(Decimal(number.replace(",", ".")) * unit)
            for number, unit in zip(match.groups(), _ISO_UNITS, strict=True)
            if number is not None
        )
    elif re.fullmatch(r"P[0-9].*[YM].*", text):
        raise ValueError(f"{text!r}: years and months have no fixed length; write days or weeks, such as 90d or P90D")
    elif re.fullmatch(r"[0-9]+", text):
        raise ValueError(f"{text!r} has no unit; write it with one of s m h d w, such as {text}d")
    else:
        raise ValueError(f"{text!r} is no duration; write 30m, 12h, 14d, 8w, or ISO 8601 such as P14D or PT36H")
    if length > LONGEST:
        raise ValueError(f"{text!r} is longer than a century; write less than 40000d")
    return length


def describe_duration(length: int, *, units: str = "wdhms") -> str:
    """`length` microseconds in the short form, in the largest of these units that divides it: 8w, 36h, 90s."""
    for letter in units:
        if length and length % _SHORT_UNITS[letter] == 0:
            return f"{length // _SHORT_UNITS[letter]}{letter}"
    return f"{Decimal(length) / SECOND:f}s"
