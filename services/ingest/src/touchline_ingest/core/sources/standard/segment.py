"""Segment's HTTP tracking protocol: track, identify, page, screen, group, alias and batch.

The specification is Segment's "HTTP Tracking API" and "Spec: Common Fields"; their libraries work unchanged with only
the host set. The browser's and the mobile libraries post to short paths: ``/v1/t`` for track, ``/v1/b`` for a batch.
What becomes of each call:

| call | type | who |
| --- | --- | --- |
| track | the event's name, mapped, else in snake_case | userId, anonymousId |
| page, screen | page_viewed, screen_viewed | userId, anonymousId |
| identify | identified; traits (of the call and the context) are the properties | userId, anonymousId, email: linked |
| alias | aliased | userId, previousId: linked |
| group | group_joined | userId, anonymousId |
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from touchline_runtime.user_agents import is_machine
from touchline_schemas.identity import ANONYMOUS, EMAIL, EXTERNAL

from touchline_ingest.core.mapping.event_names import EventNames, check_events, shipped_event_names, snake_case
from touchline_ingest.core.sources.foreign_fields import is_nothing_paid, payment_type, understood_properties
from touchline_ingest.core.sources.interface import (
    ReadResult,
    Reply,
    Request,
    RequestRejection,
    SourceConfig,
    TouchpointDraft,
)
from touchline_ingest.core.sources.values import (
    UnreadableError,
    as_email,
    as_identifier,
    as_object,
    as_text,
    child,
    fitting_id,
    from_rfc3339,
    parse_json,
    understand,
    without_none,
)
from touchline_ingest.core.touchpoints.clock_skew import corrected
from touchline_ingest.core.web.machines import is_judged

CALLS = frozenset({"track", "identify", "page", "screen", "group", "alias"})
BATCH_CALLS = frozenset({"batch", "import"})
SHORT_CALLS = {"t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias", "b": "batch"}
_TYPES = {
    "identify": "identified",
    "page": "page_viewed",
    "screen": "screen_viewed",
    "group": "group_joined",
    "alias": "aliased",
}
_CHANNELS = {"page": "web", "screen": "product"}
MAX_EVENT_BYTES = 32 * 1024
MAX_BATCH_BYTES = 500 * 1024
_REPLY = Reply(200, b'{"success":true}')


_WRITE_KEY = re.compile(rb'"writeKey"\s*:\s*"([^"\\]{1,256})"')
_MOST_WRITE_KEYS = 8


def write_keys(body: bytes) -> list[str]:
    """What could be the ``writeKey`` of a body that is not parsed yet: bodies without a valid key are never parsed."""
    found = itertools.islice(_WRITE_KEY.finditer(body), _MOST_WRITE_KEYS)
    return [match[1].decode("utf-8", "replace") for match in found]


def write_key_in_body(body: bytes) -> str | None:
    """The ``writeKey`` of a body, for senders that don't use Basic authentication; None when there is none."""
    try:
        key = child(parse_json(body), "writeKey")
    except UnreadableError:
        return None
    return key if isinstance(key, str) else None


class Segment:
    """Reads Segment's calls; which call it is comes from the last part of the URL's path."""

    kind = "segment"

    def __init__(self, names: EventNames | None = None) -> None:
        self._names = names or shipped_event_names()

    def check(self, config: SourceConfig) -> Sequence[str]:
        """``events`` must map names to types."""
        return check_events(config.options.get("events"))

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """Read one call or a batch. Whose key it is has been checked before."""
        if len(request.body) > MAX_BATCH_BYTES:
            return RequestRejection(
                413, "batch too large", f"A batch is limited to {MAX_BATCH_BYTES} bytes: send smaller ones."
            )
        call = urlsplit(request.url).path.rstrip("/").rsplit("/", 1)[-1]
        call = SHORT_CALLS.get(call, call)
        try:
            message = as_object(parse_json(request.body), "the body")
        except UnreadableError as reason:
            return RequestRejection(400, "body not readable", f"The body {reason}.")
        if call in BATCH_CALLS:
            events = message.get("batch")
            if not isinstance(events, list):
                return RequestRejection(400, "batch missing", 'The body has no "batch": it must be an array of calls.')
        elif call in CALLS:
            events = [{**message, "type": call}]
        else:
            return RequestRejection(
                404, "no such call", f"There is no call {call!r}: use one of {', '.join(sorted(CALLS))}, batch."
            )

        # No event of a small body can be too large: its size is measured only where it could matter.
        measure = len(request.body) > MAX_EVENT_BYTES
        context = message.get("context") if call in BATCH_CALLS else None
        sent_at = message.get("sentAt")

        def read_event(event: Any) -> TouchpointDraft:
            fields = as_object(event)
            if measure and _size(fields) > MAX_EVENT_BYTES:
                raise UnreadableError(f"is larger than {MAX_EVENT_BYTES} bytes, the limit of one event")
            return self._draft(fields, context, sent_at, config.options.get("events"), now)

        return understand(events, read_event, whole=request.body, reply=_REPLY)

    def _draft(
        self, event: Mapping[str, Any], batch_context: Any, sent_at: Any, overrides: Any, now: datetime
    ) -> TouchpointDraft:
        call = event.get("type")
        if not isinstance(call, str) or call not in CALLS:
            raise UnreadableError(f"type is {call!r}: it must be one of {', '.join(sorted(CALLS))}")
        context = _merged(batch_context, event.get("context"))
        traits = _object(event.get("traits"))
        if call == "identify":
            # RudderStack's libraries write the traits into the context alone.
            traits = {**_object(context.get("traits")), **traits}
        properties = dict(traits if call in ("identify", "group") else _object(event.get("properties")))
        touchpoint_type = _TYPES.get(call)
        if touchpoint_type is None:
            name = event.get("event")
            if not isinstance(name, str) or not name.strip():
                raise UnreadableError("track has no event: give the event's name")
            own = overrides if isinstance(overrides, Mapping) else None
            touchpoint_type = self._names.type_of(name, own)
            if is_nothing_paid(touchpoint_type, properties) and self._names.own(name, own) is None:
                touchpoint_type = payment_type(snake_case(name), properties)
            if touchpoint_type != name:
                properties.setdefault("event_name", name)
        for field in ("name", "category", "groupId"):
            if event.get(field) is not None:
                properties.setdefault("group_id" if field == "groupId" else field, event[field])
        if call == "alias":
            # The engine tells by it whether the previous id is a known customer's.
            properties["previous_id"] = as_text(event.get("previousId"))
        kept = {name: value for name, value in context.items() if name != "library"}
        if kept:
            properties.setdefault("context", kept)
        people = _people(call, event, traits, context)
        return without_none(
            {
                "id": fitting_id(event.get("messageId")),
                "type": touchpoint_type,
                "channel": _CHANNELS.get(call),
                **people,
                "occurred_at": _occurred_at(event, sent_at if event.get("sentAt") is None else event["sentAt"], now),
                "properties": understood_properties(touchpoint_type, properties),
                "machine": is_judged(touchpoint_type, people) and is_machine(context.get("userAgent")),
            }
        )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _size(event: Mapping[str, Any]) -> int:
    try:
        return len(orjson.dumps(event))
    except (orjson.JSONEncodeError, RecursionError):
        raise UnreadableError("is nested too deep") from None


def _merged(batch_context: Any, own_context: Any) -> Mapping[str, Any]:
    """The batch's context under the event's own, one level deep for objects (Segment merges so)."""
    merged = dict(_object(batch_context))
    for name, value in _object(own_context).items():
        below = merged.get(name)
        merged[name] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _people(
    call: str, event: Mapping[str, Any], traits: Mapping[str, Any], context: Mapping[str, Any]
) -> dict[str, Any]:
    customer = as_identifier(event.get("userId"))
    anonymous = as_identifier(event.get("anonymousId"))
    email = as_email(child(context, "traits", "email"))
    if call == "identify":
        email = as_email(traits.get("email")) or email
    people = {"customer_id": customer, "anonymous_id": anonymous, "email": email}
    if call == "alias":
        previous = as_identifier(event.get("previousId"))
        if customer is None or previous is None:
            raise UnreadableError("alias needs both userId and previousId, and neither may be a placeholder")
        if previous != customer:
            people |= _previous(previous)
    if not any(people.values()):
        raise UnreadableError("names no customer: give userId or anonymousId, and no placeholder for it")
    return people


def _previous(previous: str) -> dict[str, Any]:
    """What an alias links: previousId is an anonymous id, unless it is a key that says what it is."""
    if previous.startswith(ANONYMOUS):
        return {"anonymous_id": previous[len(ANONYMOUS) :]}
    if previous.startswith(EMAIL):
        return {"email": previous[len(EMAIL) :]}
    if previous.startswith(EXTERNAL):
        # ext:<source>:<id>; only an id of the sender's own source can stand on its touchpoint.
        return {"external_id": previous.split(":", 2)[-1]}
    return {"anonymous_id": previous}


def _occurred_at(event: Mapping[str, Any], sent_at: Any, now: datetime) -> datetime:
    """When it happened by our clock: the sender's time, corrected when the sender's clock is clearly wrong."""
    given = event.get("originalTimestamp")
    if given is None:
        given = event.get("timestamp")
    if given is None:
        return now
    happened = from_rfc3339(given)
    if happened is None:
        raise UnreadableError(f"timestamp {given!r} is no RFC 3339 time with a zone, such as 2026-03-01T12:00:00Z")
    return corrected(happened, from_rfc3339(sent_at), now)
