"""What pages and e-mails send: the beacon's body and the pixel's parameters, as drafts of touchpoints."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from touchline_schemas.touchpoint import PostedTouchpoint

from touchline_ingest.core.refusals import NotReadable
from touchline_ingest.core.sources.interface import TouchpointDraft
from touchline_ingest.core.sources.machines import is_machine

SKEW = timedelta(minutes=5)
"""Below this a difference between a browser's clock and ours is transit; beyond it the browser's clock is wrong."""

_FIELDS = frozenset(PostedTouchpoint.model_fields) - {"properties", "source", "received_at"}
# These name themselves, and hold the key: programs that post on somebody's behalf, not visitors that came by.
_PROGRAMS = re.compile(
    r"^(curl|wget|python|go-http-client|java|ruby|php|libwww|axios|node|undici)|headlesschrome", re.IGNORECASE
)
_FLAGS = frozenset(("machine", "backfill"))


def beacon_drafts(value: Any, *, user_agent: str, now: datetime) -> list[Any]:
    """The drafts of a beacon: a touchpoint, an array of them, or ``{"sent_at", "touchpoints": […]}``.

    ``sent_at`` is the browser's clock when it sent them; a clock that is more than five minutes off is corrected for.

    Raises:
        NotReadable: none of these.
    """
    offset = timedelta(0)
    if isinstance(value, dict) and "touchpoints" in value:
        offset = _offset(value.get("sent_at"), now)
        value = value["touchpoints"]
    items = value if isinstance(value, list) else [value]
    if not items:
        raise NotReadable("there is nothing in the body: send at least one touchpoint")
    machine = _is_visitor_machine(user_agent)
    return [_browser_draft(item, offset, machine) if isinstance(item, dict) else item for item in items]


def pixel_draft(parameters: Iterable[tuple[str, str]], *, user_agent: str, now: datetime) -> TouchpointDraft:
    """The draft of a pixel: parameters that are fields of a touchpoint are these, the others are properties.

    Args:
        parameters: decoded, without the key.
    """
    draft: TouchpointDraft = {}
    properties: dict[str, Any] = {}
    for name, text in parameters:
        if name in _FLAGS:
            draft[name] = text.lower() in ("true", "1", "yes")
        elif name in _FIELDS:
            draft[name] = text
        else:
            properties[name.removeprefix("properties.")] = text
    draft.setdefault("occurred_at", now)
    if properties:
        draft["properties"] = properties
    if _is_visitor_machine(user_agent):
        draft["machine"] = True
    return draft


def _is_visitor_machine(user_agent: str) -> bool:
    return is_machine(user_agent) and _PROGRAMS.search(user_agent) is None


def _browser_draft(item: dict[str, Any], offset: timedelta, machine: bool) -> dict[str, Any]:
    draft = {**item, "machine": True} if machine else item
    happened = _moment(item.get("occurred_at")) if offset else None
    if happened is None:
        return draft
    try:
        return {**draft, "occurred_at": happened + offset}
    except OverflowError:
        return draft


def _offset(sent_at: Any, now: datetime) -> timedelta:
    sent = _moment(sent_at)
    if sent is None or abs(now - sent) <= SKEW:
        return timedelta(0)
    return now - sent


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
