"""Values as people read them: numbers, amounts, shares, durations, times. Pure; "now" is an argument."""

from datetime import UTC, date, datetime
from typing import NamedTuple

_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "CHF": "CHF"}
NONE = "—"
"""Shown where there is no value."""
_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


def number(value: float | None) -> str:
    """1234.0 → "1,234"; up to one decimal below 10 where there is a fraction."""
    if value is None:
        return NONE
    if abs(value) < 10 and value != int(value):
        return f"{value:.1f}"
    return f"{value:,.0f}"


def compact(value: float | None) -> str:
    """A number in at most four characters and a unit: 18,420 → "18.4k"."""
    if value is None:
        return NONE
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scaled = value / (1e3 if unit == "k" else size)
            return f"{scaled:.1f}{unit}" if abs(scaled) < 100 else f"{scaled:.0f}{unit}"
    return number(value)


def money(value: float | None, currency: str = "EUR") -> str:
    """An amount: below 1,000 with cents, from there on without; from ten million on shortened."""
    if value is None:
        return NONE
    symbol = _SYMBOLS.get(currency, currency)
    if abs(value) >= 1e7:
        return f"{symbol} {compact(value)}"
    return f"{symbol} {value:,.0f}" if abs(value) >= 1000 or value == 0 else f"{symbol} {value:,.2f}"


def exact_money(value: float, currency: str = "EUR") -> str:
    """An amount to the cent: "€ 1,234,567.89"."""
    return f"{_SYMBOLS.get(currency, currency)} {value:,.2f}"


def percent(share: float | None) -> str:
    """0.614 → "61 %"; below 10 % with one decimal."""
    if share is None:
        return NONE
    value = share * 100
    return f"{value:.1f} %" if 0 < abs(value) < 9.95 else f"{value:.0f} %"


def duration(seconds: float | None) -> str:
    """The largest fitting unit: "6.2 d", "11 d", "3.5 h", "45 min", "12 s"."""
    if seconds is None:
        return NONE
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            value = seconds / size
            return f"{value:.1f} {unit}" if abs(value) < 9.95 and unit in "dh" else f"{value:,.0f} {unit}"
    return "0 s"


def instant(text: str | None) -> datetime | None:
    """An RFC 3339 time of an API, in UTC."""
    if not text:
        return None
    return datetime.fromisoformat(text).astimezone(UTC)


def day(moment: datetime | None, now: datetime) -> str:
    """ "13 Apr", with the year where it is not the current one."""
    if moment is None:
        return NONE
    shown = f"{moment.day} {moment:%b}"
    return shown if moment.year == now.year else f"{shown} {moment.year}"


def day_and_time(moment: datetime | None, now: datetime) -> str:
    """ "13 Apr, 16:50" (UTC; the browser replaces it by the reader's own time zone)."""
    return NONE if moment is None else f"{day(moment, now)}, {moment:%H:%M}"


def ago(moment: datetime | None, now: datetime) -> str:
    """ "2 days ago", "just now", "in 3 hours"."""
    if moment is None:
        return "never"
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 45:
        return "just now" if seconds >= 0 else "in a moment"
    for size, unit in (
        (365 * 86_400, "year"),
        (30 * 86_400, "month"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
    ):
        count = round(abs(seconds) / size)
        if abs(seconds) >= size * 0.95 and count:
            words = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    return "a minute ago" if seconds > 0 else "in a minute"


def title(name: str | None) -> str:
    """A name as a title: "service-cycle" → "Service cycle", "quiet_hours" → "Quiet hours"."""
    words = (name or "").replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:] if words else NONE


def plural(count: float | None, one: str, many: str | None = None) -> str:
    """ "1 customer", "3,026 customers"."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


class Change(NamedTuple):
    """A figure's change against the period before. ``direction``: up, down, same."""

    text: str
    direction: str


def change(current: float | None, before: float | None, *, as_money: str | None = None) -> Change | None:
    """The difference of two figures with its sign; None where there is nothing to compare with."""
    if current is None or before is None:
        return None
    difference = current - before
    if difference == 0:
        return Change("±0", "same")
    shown = money(abs(difference), as_money) if as_money else number(abs(difference))
    return Change(f"{'+' if difference > 0 else '−'}{shown}", "up" if difference > 0 else "down")


def month(text: str) -> str:
    """A month of a report: "2026-11" → "November 2026"."""
    year, _, number = text.partition("-")
    try:
        return f"{date(int(year), int(number), 1):%B %Y}"
    except ValueError:
        return text
