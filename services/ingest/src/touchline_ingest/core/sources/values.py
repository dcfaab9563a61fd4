"""Reading values out of what others send: JSON, times, identifiers. Nothing here trusts a shape.

A reader of one event raises ``UnreadableError`` with the reason; ``understand`` turns that into an ``Unreadable`` with
the event's bytes, so that the other events are not delayed.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import uuid5

import orjson
from touchline_schemas.identity import address_in, is_placeholder_key
from touchline_schemas.ids import TOUCHPOINT_NAMESPACE
from touchline_schemas.times import read_time

from touchline_ingest.core.sources.interface import Reply, TouchpointDraft, Understood, Unreadable
from touchline_ingest.core.touchpoints.decoding import parse
from touchline_ingest.core.touchpoints.refusals import NotReadable

MAX_ID = 128
_EXACT = 2**53
"""Below it a double holds every whole number exactly."""
_UNIX = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?")


class UnreadableError(Exception):
    """An event makes no touchpoint; the message says why."""


def parse_json(body: bytes) -> Any:
    """The JSON value of a body.

    Raises:
        UnreadableError: not JSON.
    """
    try:
        return parse(body)
    except NotReadable as error:
        raise UnreadableError(str(error).removeprefix("the body ")) from None


def to_bytes(value: Any, whole: bytes) -> bytes:
    """An event as JSON again; the whole body where that can't be (nested too deep to be written)."""
    try:
        return orjson.dumps(value)
    except (orjson.JSONEncodeError, RecursionError):
        return whole


def as_object(value: Any, what: str = "the event") -> dict[str, Any]:
    """The value, when it is a JSON object.

    Raises:
        UnreadableError: it is something else.
    """
    if not isinstance(value, dict):
        raise UnreadableError(f"{what} is not a JSON object")
    return value


def child(value: Any, *path: str) -> Any:
    """What lies at a path of object keys, or None."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def as_text(value: Any) -> str | None:
    """An identifier as text: a string that isn't blank, or a whole number (``12.0`` too); None for anything else."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def as_identifier(value: Any) -> str | None:
    """`as_text` of an id; None also for a placeholder (``undefined``, ``null``, zeros)."""
    text = as_text(value)
    return None if text is None or is_placeholder_key(text) else text


def as_email(value: Any) -> str | None:
    """An address out of ``ada@example.org`` or ``Ada <ada@example.org>``; None when it is none, or a placeholder."""
    return address_in(value)


def from_unix(value: Any, *, per_second: int = 1) -> datetime | None:
    """The time of a Unix timestamp, a number or its text, in seconds (or in 1/``per_second`` of one); None if none.

    A text is plain digits with an optional fraction: other spellings of a number (``1e9``, ``1_000``) are none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and _UNIX.fullmatch(value) is None:
        return None
    try:
        seconds = float(value) / per_second
        if not math.isfinite(seconds):
            return None
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def from_rfc3339(value: Any) -> datetime | None:
    """The time of an RFC 3339 text with a zone; None when it is none."""
    if not isinstance(value, str):
        return None
    try:
        return read_time(value)
    except ValueError:
        return None


def required_time(moment: datetime | None, field: str) -> datetime:
    """The time, when there is one.

    Raises:
        UnreadableError: there is none.
    """
    if moment is None:
        raise UnreadableError(f"{field} is missing or no time with a zone")
    return moment


def derived_id(*parts: object) -> str:
    """An id out of what identifies an event, for events that carry none: the same event always has the same."""
    return str(uuid5(TOUCHPOINT_NAMESPACE, sha256("\x1f".join(map(str, parts)).encode(errors="replace")).hexdigest()))


def content_id(kind: str, event: Any, whole: bytes) -> str:
    """An id out of an event's whole content."""
    try:
        body = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, RecursionError):
        body = whole
    return derived_id(kind, sha256(body).hexdigest())


def fitting_id(value: Any) -> str | None:
    """A sender's id as a touchpoint id; one that is too long or holds control characters is replaced by its hash."""
    text = as_text(value)
    if text is None:
        return None
    return text if len(text) <= MAX_ID and text.isprintable() else derived_id("id", text)


def without_none(fields: Mapping[str, Any]) -> TouchpointDraft:
    """The fields that are known."""
    return {name: value for name, value in fields.items() if value is not None}


def understand(
    events: Iterable[Any],
    read_event: Callable[[Any], TouchpointDraft | Sequence[TouchpointDraft]],
    *,
    whole: bytes,
    reply: Reply | None = None,
) -> Understood:
    """Read every event on its own: an unreadable one becomes an ``Unreadable`` and holds up no other.

    Args:
        read_event: makes the draft or drafts of one event, or raises ``UnreadableError``.
        whole: the body, kept for an event that can't be written on its own.
    """
    drafts: list[TouchpointDraft] = []
    unreadable: list[Unreadable] = []
    for index, event in enumerate(events):
        try:
            made = read_event(event)
        except UnreadableError as reason:
            unreadable.append(Unreadable(to_bytes(event, whole), str(reason), index))
            continue
        if isinstance(made, dict):
            drafts.append(made)
        else:
            drafts.extend(made)
    return Understood(drafts, unreadable, reply)


def understand_json(
    body: bytes,
    read_event: Callable[[dict[str, Any]], TouchpointDraft | Sequence[TouchpointDraft]],
    *,
    lists: bool = False,
    reply: Reply | None = None,
) -> Understood:
    """`understand` of a body that is one event as a JSON object.

    Args:
        lists: the body may be a list of events as well.
    """
    try:
        value = parse_json(body)
    except UnreadableError as reason:
        return unreadable_whole(body, f"body {reason}", reply=reply)
    events = value if lists and isinstance(value, list) else [value]
    return understand(events, lambda event: read_event(as_object(event)), whole=body, reply=reply)


def unreadable_whole(request_body: bytes, reason: object, *, reply: Reply | None = None) -> Understood:
    """A genuine request no part of which can be read: the sender gets its success, the operator the bytes."""
    return Understood((), (Unreadable(request_body, str(reason)),), reply)
