"""Amounts of money as senders write them: numbers, or texts such as ``49.90``, ``$1,234.50`` and ``1.234,50 €``."""

import math
import re
from typing import Any

_MONEY = re.compile(r"([+-]?)\s*[^\d.,+-]{0,5}([+-]?)(\d[\d.,'’\s]{0,40}?)\s*[^\d.,+-]{0,5}", re.ASCII).fullmatch
_SPACES = re.compile(r"[\s'’]")
_POINTS = re.compile(r"[.,]")


def amount_of(value: Any) -> float | None:
    """The amount that a value states; None where it states none, or one that can be read in two ways (``1,234``)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    return _of_text(value.strip()) if isinstance(value, str) and len(value) <= 60 else None


def _of_text(text: str) -> float | None:
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return number
    found = _MONEY(text.replace("\u00a0", " ").replace("\u202f", " "))
    if found is None:
        return None
    plain = _plain_decimal(_SPACES.sub("", found[3]))
    if plain is None:
        return None
    return -float(plain) if "-" in (found[1], found[2]) else float(plain)


def _plain_decimal(digits: str) -> str | None:
    """Digits with a point at most, of digits with points and commas."""
    marks = _POINTS.findall(digits)
    if not marks:
        return digits
    last = marks[-1]
    whole, _, fraction = digits.rpartition(last)
    if len(set(marks)) == 2:
        # 1,234.50 and 1.234,50: the last one is the decimal point, and stands once.
        return f"{_ungrouped(whole)}.{fraction}" if marks.count(last) == 1 and _ungrouped(whole) else None
    if len(marks) > 1:
        return _ungrouped(digits)
    if last == "," and len(fraction) == 3:
        return None if whole.strip("0") else f"{whole}.{fraction}"
    return f"{whole}.{fraction}"


def _ungrouped(digits: str) -> str | None:
    """Digits without their thousands separators, where these stand before every three digits."""
    first, *groups = _POINTS.split(digits)
    if len(first) in (1, 2, 3) and all(len(group) == 3 for group in groups):
        return first + "".join(groups)
    return None
