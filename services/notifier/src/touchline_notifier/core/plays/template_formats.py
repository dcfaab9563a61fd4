"""Dates, numbers and money in templates, as the customer's language writes them (CLDR, by Babel).

``{{ fact.since | date }}``, ``{{ traits.amount | money("EUR") }}``. The time zone is the customer's own, else the
play's ``limits.time_zone``, else UTC. The language is that of the play's texts where it says so
(``action.locale``), else the customer's own, else English. Each filter takes ``locale=`` and ``time_zone=``.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from babel import Locale, UnknownLocaleError
from babel import dates as babel_dates
from babel import numbers as babel_numbers
from jinja2 import Undefined, pass_context
from jinja2.runtime import Context

from touchline_notifier.core.limits.quiet_hours import zone_named

PLAY_ZONE = "play_time_zone"
"""The name in a template's context of the play's own time zone."""

TEXT_LOCALE = "format_locale"
"""The name in a template's context of the language that the play's texts are in; None: not said."""

_ENGLISH = Locale("en")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_FORMATS = ("full", "long", "medium", "short")


class Sample(str):
    """Stands for a value of any kind while a play's templates are tried."""

    __slots__ = ()


_SAMPLE_TIME = datetime(2026, 1, 5, 9, tzinfo=UTC)
_SAMPLE_NUMBER = Decimal("1234.5")


def _locale(context: Context, given: str | None) -> Locale:
    for name in (given, context.get(TEXT_LOCALE), context.get("locale")):
        if isinstance(name, str) and name and not isinstance(name, Sample):
            try:
                return Locale.parse(name.replace("-", "_"))
            except (UnknownLocaleError, ValueError):
                if name == given:
                    raise ValueError(f"there is no locale {name!r}: write one such as de or en_GB") from None
    return _ENGLISH


def _zone(context: Context, given: str | None) -> tzinfo:
    for name in (given, context.get("time_zone"), context.get(PLAY_ZONE)):
        found = zone_named(name) if isinstance(name, str) else None
        if found is not None:
            return found
        if given is not None and name == given:
            raise ValueError(f"there is no time zone {name!r}: write an IANA name such as Europe/Berlin")
    return UTC


def _moment(value: Any) -> datetime | date:
    """A time, or a day without one.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, Undefined):
        str(value)  # raises what the template's author has to know
    if isinstance(value, Sample):
        return _SAMPLE_TIME
    text = value if isinstance(value, str) else ""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
        if _TIMESTAMP.fullmatch(text):
            return datetime.fromisoformat(text.upper())
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e11:
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError):
        pass  # a 30th of February
    raise ValueError(f"{_described(value)} is no time: it needs RFC 3339, such as 2026-03-01T12:00:00Z")


def _described(value: Any) -> str:
    """A value in words: errors are published, and do not repeat what is known about a customer."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    return "a number" if isinstance(value, int | float) else "the value"


def _number(value: Any) -> Decimal:
    if isinstance(value, Undefined):
        str(value)
    if isinstance(value, Sample):
        return _SAMPLE_NUMBER
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            found = Decimal(str(value).strip())
        except InvalidOperation:
            found = Decimal("NaN")
        if found.is_finite() and abs(found.adjusted()) < 30:
            return found
    raise ValueError(f"{_described(value)} is no number of at most 30 digits")


def _format(name: str) -> str:
    if name not in _FORMATS:
        raise ValueError(f"there is no format {name!r}: {', '.join(_FORMATS)}")
    return name


def _plain(text: str) -> str:
    # CLDR puts a narrow no-break space before AM and PM, which plain-text mail programs show as a box.
    return text.replace("\u202f", " ")


@pass_context
def format_date(
    context: Context,
    value: Any,
    format: str = "long",  # noqa: A002
    locale: str | None = None,
    time_zone: str | None = None,
) -> str:
    """``March 1, 2026``, the day where the customer is."""
    moment = _moment(value)
    day = moment.astimezone(_zone(context, time_zone)).date() if isinstance(moment, datetime) else moment
    return _plain(babel_dates.format_date(day, _format(format), _locale(context, locale)))


@pass_context
def format_time(
    context: Context,
    value: Any,
    format: str = "short",  # noqa: A002
    locale: str | None = None,
    time_zone: str | None = None,
) -> str:
    """``1:00 PM``, where the customer is."""
    moment = _moment(value)
    if not isinstance(moment, datetime):
        raise ValueError("it is a day without a time")
    local = moment.astimezone(_zone(context, time_zone))
    return _plain(
        babel_dates.format_time(local.timetz(), _format(format), tzinfo=local.tzinfo, locale=_locale(context, locale))
    )


@pass_context
def format_datetime(
    context: Context,
    value: Any,
    format: str = "long",  # noqa: A002
    locale: str | None = None,
    time_zone: str | None = None,
) -> str:
    """``March 1, 2026, 1:00 PM``: the date in that format, the time a short one."""
    text = format_date(context, value, format, locale, time_zone)
    if not isinstance(_moment(value), datetime):
        return text
    return f"{text}, {format_time(context, value, 'short', locale, time_zone)}"


@pass_context
def format_number(context: Context, value: Any, decimals: int | None = None, locale: str | None = None) -> str:
    """``1,234.5``; with ``decimals``, so many."""
    number = _number(value)
    chosen = _locale(context, locale)
    if decimals is None:
        return babel_numbers.format_decimal(number, locale=chosen)
    places = min(max(int(decimals), 0), 10)
    pattern = "#,##0" + ("." + "0" * places if places else "")
    return babel_numbers.format_decimal(number, pattern, chosen)


@pass_context
def format_money(context: Context, value: Any, currency: str, locale: str | None = None) -> str:
    """``€1,234.50``: an amount in a currency's main unit, and its ISO 4217 code."""
    code = "EUR" if isinstance(currency, Sample) else str(currency).upper()
    if not babel_numbers.is_currency(code):
        raise ValueError(f"there is no currency {str(currency)!r}: write an ISO 4217 code such as EUR")
    return babel_numbers.format_currency(_number(value), code, locale=_locale(context, locale))


@pass_context
def format_percent(context: Context, value: Any, locale: str | None = None) -> str:
    """``25%`` of 0.25."""
    return babel_numbers.format_percent(_number(value), locale=_locale(context, locale))


FILTERS: Mapping[str, Callable[..., str]] = {
    "date": format_date,
    "time": format_time,
    "datetime": format_datetime,
    "number": format_number,
    "money": format_money,
    "percent": format_percent,
}


@pass_context
def readable(context: Context, value: Any) -> Any:
    """What a text for people prints: a timestamp as a date and a time, anything else as it is."""
    if isinstance(value, str) and _TIMESTAMP.fullmatch(value):
        try:
            return format_datetime(context, value)
        except (ValueError, OverflowError):
            return value
    return value
