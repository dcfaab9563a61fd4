"""CloudEvents 1.0 over HTTP: binary, structured and batch mode (the specification's HTTP and JSON bindings).

An event's touchpoint id is derived from its ``source`` and ``id`` together, for only both together are unique. The
type is the event's, mapped where the source's ``events`` or the shipped table says so; ``subject`` is the customer when
the data names nobody; ``time`` is when it happened, else now.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote_to_bytes

from touchline_ingest.core.mapping.event_names import EventNames, check_events, shipped_event_names
from touchline_ingest.core.sources.interface import ReadResult, Request, RequestRejection, SourceConfig, TouchpointDraft
from touchline_ingest.core.sources.standard.general_events import TOUCHPOINT_TYPES, draft_of, type_of
from touchline_ingest.core.sources.values import (
    UnreadableError,
    as_object,
    derived_id,
    from_rfc3339,
    parse_json,
    understand,
)

_STRUCTURED = "application/cloudevents"
_BATCH = "application/cloudevents-batch"
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,64}")
_REQUIRED = ("id", "source", "specversion", "type")
_KNOWN = frozenset({*_REQUIRED, "time", "subject", "datacontenttype", "dataschema", "data", "data_base64"})
_TEXT = re.compile(r"text/|.*[/+](?:xml|yaml|x-www-form-urlencoded)$")


class CloudEvents:
    """Reads CloudEvents in every HTTP content mode."""

    kind = "cloudevents"

    def __init__(self, names: EventNames | None = None) -> None:
        self._names = names or shipped_event_names()

    def check(self, config: SourceConfig) -> Sequence[str]:
        """``events`` must map names to types."""
        return check_events(config.options.get("events"))

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """Read one event or a batch. Whose key it is has been checked before."""
        media_type, _, parameters = request.headers.get("content-type", "").partition(";")
        media_type = media_type.strip().lower()
        if "charset" in parameters.lower() and not re.search(r"charset\s*=\s*\"?utf-?8", parameters, re.IGNORECASE):
            return RequestRejection(415, "charset not supported", f"{parameters.strip()}: send UTF-8.")
        overrides = config.options.get("events")
        try:
            # Batch first: the structured type is a prefix of it.
            if media_type.startswith(_BATCH):
                if media_type != _BATCH + "+json":
                    return _unsupported(media_type)
                events = parse_json(request.body)
                if not isinstance(events, list):
                    return RequestRejection(
                        400, "batch not readable", "A batch must be a JSON array of events (it may be empty)."
                    )
            elif media_type.startswith(_STRUCTURED):
                if media_type != _STRUCTURED + "+json":
                    return _unsupported(media_type)
                events = [as_object(parse_json(request.body), "the body")]
            else:
                events = [_from_headers(request, media_type)]
        except UnreadableError as reason:
            return RequestRejection(400, "event not readable", f"The event {reason}.")
        return understand(events, lambda event: self._draft(as_object(event), overrides, now), whole=request.body)

    def _draft(self, event: Mapping[str, Any], overrides: Any, now: datetime) -> TouchpointDraft:
        for name in _REQUIRED:
            if not isinstance(event.get(name), str) or not event[name]:
                raise UnreadableError(f"lacks the attribute {name!r}: give a text that is not empty")
        if event["specversion"] != "1.0":
            raise UnreadableError(f"specversion is {event['specversion']!r}: send CloudEvents 1.0")
        for name in event.keys() - _KNOWN:
            if not _ATTRIBUTE.fullmatch(name):
                raise UnreadableError(f"attribute name {name!r} has other characters than a to z and 0 to 9")
        occurred_at: datetime | None = now
        if event.get("time") is not None:
            occurred_at = from_rfc3339(event["time"])
            if occurred_at is None:
                raise UnreadableError(f"time {event['time']!r} is no RFC 3339 time with a zone")
        subject = event.get("subject")
        if subject is not None and not isinstance(subject, str):
            raise UnreadableError("subject is no text")
        envelope = {"source": event["source"], "type": event["type"]}
        envelope |= {name: event[name] for name in event.keys() - _KNOWN}
        own, data = event["type"] in TOUCHPOINT_TYPES, _data(event)
        events = overrides if isinstance(overrides, Mapping) else None
        return draft_of(
            data,
            event_id=derived_id("cloudevent", event["source"], event["id"]),
            event_type=type_of(self._names, event["type"], events, data),
            occurred_at=occurred_at,
            subject=subject,
            is_touchpoint=own,
            extra={"cloudevent": envelope},
        )


def _unsupported(media_type: str) -> RequestRejection:
    return RequestRejection(
        415, "format not supported", f"{media_type} can't be read: send the JSON format, ending in +json."
    )


def _data(event: Mapping[str, Any]) -> Any:
    if event.get("data_base64") is None:
        return event.get("data")
    if event.get("data") is not None:
        raise UnreadableError("has both data and data_base64: send one")
    try:
        plain = base64.b64decode(event["data_base64"], validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise UnreadableError("data_base64 is no base64") from None
    media_type = event.get("datacontenttype")
    if media_type is None or (isinstance(media_type, str) and "json" in media_type.lower()):
        try:
            return parse_json(plain)
        except UnreadableError:
            pass
    return event["data_base64"]


def _from_headers(request: Request, media_type: str) -> dict[str, Any]:
    """The event of a request in binary mode: attributes in ``ce-`` headers, the data in the body."""
    if "ce-specversion" not in request.headers:
        raise UnreadableError(
            "has neither a ce-specversion header (binary mode) nor the content type application/cloudevents+json "
            "(structured) or application/cloudevents-batch+json (batch)"
        )
    if "ce-datacontenttype" in request.headers:
        raise UnreadableError("has a ce-datacontenttype header, which is forbidden: that is Content-Type")
    event: dict[str, Any] = {
        name[3:]: _decoded(name, value) for name, value in request.headers.items() if name.startswith("ce-")
    }
    for name in ("data", "data_base64"):
        if name in event:
            raise UnreadableError(f"has a header ce-{name}: the body is the data")
    if media_type:
        event["datacontenttype"] = media_type
    if not request.body:
        return event
    if not media_type or media_type == "application/json" or media_type.endswith("+json"):
        try:
            event["data"] = parse_json(request.body)
        except UnreadableError as reason:
            raise UnreadableError(f"has a body that {reason}") from None
    elif _TEXT.match(media_type):
        try:
            event["data"] = request.body.decode()
        except UnicodeDecodeError:
            raise UnreadableError("has a body that is not UTF-8") from None
    else:
        event["data_base64"] = base64.b64encode(request.body).decode()
    return event


def _decoded(name: str, value: str) -> str:
    """A header's value: out of its quotes, percent-decoded once, strictly UTF-8 (HTTP binding §3.1.3.2)."""
    text = value.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    try:
        # What a server hands on as Latin-1 are the bytes that were sent; those may be UTF-8 without percent-encoding.
        return unquote_to_bytes(text.encode("latin-1") if not text.isascii() else text).decode()
    except (UnicodeDecodeError, UnicodeEncodeError):
        raise UnreadableError(f"header {name} is not UTF-8 after percent-decoding") from None
