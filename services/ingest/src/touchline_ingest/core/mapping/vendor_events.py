"""From a vendor's events to touchpoint types: the table that ships, and the company's own over it.

What no table knows is kept under its own name as *outbound*: it is no activity and moves no customer until an operator
maps it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from touchline_schemas.touchpoint_types import STANDARD_TYPES

from touchline_ingest.core.mapping.event_names import snake_case


class Meaning(NamedTuple):
    """A touchpoint type, and its channel and direction where they are not what the type has by default (else None)."""

    type: str
    channel: str | None
    direction: str | None


def meaning(
    names: tuple[str, ...],
    shipped: Mapping[str, str],
    overrides: Any,
    channel: str,
    *,
    fallback: str | None = None,
) -> Meaning:
    """What an event means.

    Args:
        names: the event's names, the most telling first, such as ``("deal.propertyChange dealstage=won", "deal.…")``.
        shipped: the table of the source, type by name.
        overrides: the source's ``events``, asked before the table for every name.
        channel: the channel of a type that isn't a standard one.
        fallback: the type when no table knows any name; by default the last name in snake_case.
    """
    own = overrides if isinstance(overrides, Mapping) else {}
    for table, chosen_by_company in ((own, True), (shipped, False)):
        for name in names:
            found = table.get(name)
            if isinstance(found, str):
                if found in STANDARD_TYPES:
                    return Meaning(found, None, None)
                return Meaning(found, channel, "inbound" if chosen_by_company else "outbound")
    return Meaning(fallback or snake_case(names[-1]), channel, "outbound")
