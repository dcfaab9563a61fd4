"""What pages and e-mails send: the beacon's body and the pixel's parameters, as drafts of touchpoints."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from touchline_runtime.user_agents import is_machine
from touchline_schemas.touchpoint import PostedTouchpoint

from touchline_ingest.core.access.public_keys import USER_HASH
from touchline_ingest.core.sources.interface import TouchpointDraft
from touchline_ingest.core.sources.values import from_rfc3339
from touchline_ingest.core.touchpoints.clock_skew import corrected
from touchline_ingest.core.touchpoints.refusals import NotReadable
from touchline_ingest.core.web.machines import is_judged

_FIELDS = frozenset(PostedTouchpoint.model_fields) - {"properties", "source", "received_at"}
# HTTP clients that have the key: programs that post for others, not visitors.
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
    sent = None
    if isinstance(value, dict) and "touchpoints" in value:
        sent = from_rfc3339(value.get("sent_at"))
        value = value["touchpoints"]
    items = value if isinstance(value, list) else [value]
    if not items:
        raise NotReadable("there is nothing in the body: send at least one touchpoint")
    machine = _is_visitor_machine(user_agent)
    return [_browser_draft(item, sent, machine, now) if isinstance(item, dict) else item for item in items]


def pixel_draft(parameters: Iterable[tuple[str, str]], *, user_agent: str, now: datetime) -> TouchpointDraft:
    """The draft of a pixel: parameters that are fields of a touchpoint are these, the others are properties.

    Args:
        parameters: decoded, without the key.
    """
    draft: TouchpointDraft = {}
    properties: dict[str, Any] = {}
    for name, text in parameters:
        if name == USER_HASH:
            draft[name] = text
        elif name in _FLAGS:
            draft[name] = text.lower() in ("true", "1", "yes")
        elif name in _FIELDS:
            draft[name] = text
        else:
            properties[name.removeprefix("properties.")] = text
    draft.setdefault("occurred_at", now)
    if properties:
        draft["properties"] = properties
    if _is_visitor_machine(user_agent) and is_judged(str(draft.get("type")), draft):
        draft["machine"] = True
    return draft


def _is_visitor_machine(user_agent: str) -> bool:
    return is_machine(user_agent) and _PROGRAMS.search(user_agent) is None


def _browser_draft(item: dict[str, Any], sent: datetime | None, machine: bool, now: datetime) -> dict[str, Any]:
    draft = {**item, "machine": True} if machine and is_judged(str(item.get("type")), item) else item
    happened = from_rfc3339(item.get("occurred_at")) if sent else None
    return draft if happened is None else {**draft, "occurred_at": corrected(happened, sent, now)}
