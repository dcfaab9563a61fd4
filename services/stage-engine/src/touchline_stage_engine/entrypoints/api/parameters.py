"""Parameters that several routes share."""

from datetime import datetime
from typing import Annotated

from fastapi import Path, Query
from pydantic import AwareDatetime
from touchline_runtime.problems import Problem
from touchline_schemas.identity import customer_key

from touchline_stage_engine.adapters.reads.pages import DEFAULT_LIMIT, MAX_LIMIT

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description=f"items a page, at most {MAX_LIMIT}")]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next` of the page before")]
Since = Annotated[AwareDatetime | None, Query(description="from this instant of event time on (RFC 3339)")]
Until = Annotated[AwareDatetime | None, Query(description="before this instant of event time (RFC 3339)")]
CustomerId = Annotated[
    str, Path(description="a customer id, or a key: anon:…, email:…, ext:<source>:…", examples=["c-17"])
]
LifecycleName = Annotated[str, Path(description="name of a lifecycle", examples=["service-cycle"])]
DEFAULT = DEFAULT_LIMIT


def storable(text: str, what: str) -> str:
    """A text from a path or query that PostgreSQL can compare; nothing is stored under any other."""
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise Problem(404, f"no such {what}: ids hold no control characters", type="not-found")
    return text


def customer(text: str) -> str:
    """The key a customer id in a path means."""
    return customer_key(storable(text, "customer"))


def micros_or_none(moment: datetime | None) -> int | None:
    """Microseconds since the epoch of an optional instant."""
    from touchline_schemas.times import to_micros

    return None if moment is None else to_micros(moment)
