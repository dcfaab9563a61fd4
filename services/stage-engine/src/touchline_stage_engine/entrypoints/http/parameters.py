"""Query and path parameters that several routes share."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator, AwareDatetime
from touchline_runtime.http.problems import Problem
from touchline_schemas.definitions.durations import parse_duration
from touchline_schemas.identity import customer_key
from touchline_schemas.times import to_micros

from touchline_stage_engine.application.identities.message_fields import problem_with_key
from touchline_stage_engine.application.queries.values import DEFAULT_LIMIT, MAX_LIMIT

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description=f"items on a page, at most {MAX_LIMIT}")]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next` of the previous page")]
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def _in_range(instant: datetime) -> datetime:
    """Refuse what no touchpoint can have, and what can't be calculated with: a month before the year 1."""
    if not _EARLIEST <= instant <= _LATEST:
        raise ValueError("the instant must lie between the years 1900 and 2100")
    return instant


_Instant = Annotated[AwareDatetime, AfterValidator(_in_range)]
Since = Annotated[_Instant | None, Query(description="from this instant of event time on (RFC 3339)")]
Until = Annotated[_Instant | None, Query(description="before this instant of event time (RFC 3339)")]
CustomerId = Annotated[
    str, Path(description="a customer id, or a key: anon:…, email:…, ext:<source>:…", examples=["c-17"])
]
LifecycleName = Annotated[str, Path(description="name of a lifecycle", examples=["service-cycle"])]
DEFAULT = DEFAULT_LIMIT


def span_or_none(text: str | None) -> int | None:
    """Microseconds of an optional span."""
    return None if text is None else parse_duration(text)


def _checked_span(text: str | None) -> str | None:
    if span_or_none(text) == 0:
        raise ValueError("write a span longer than zero")
    return text


Span = Annotated[
    str | None,
    Query(max_length=40, description="a span that ends now: 14d, 12h, or ISO 8601 such as P14D"),
    AfterValidator(_checked_span),
]


def storable(text: str, what: str) -> str:
    """Refuse a text with control characters: PostgreSQL cannot compare it, and no id contains them."""
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise Problem(404, f"no such {what}: ids contain no control characters", type="not-found")
    return text


def customer(text: str) -> str:
    """The key that a customer id in a path names."""
    key = customer_key(storable(text, "customer"))
    if (problem := problem_with_key(key)) is not None:
        raise Problem(404, f"no such customer: an id {problem}", type="not-found")
    return key


def micros_or_none(moment: datetime | None) -> int | None:
    """Microseconds since the epoch of an optional instant."""
    return None if moment is None else to_micros(moment)
