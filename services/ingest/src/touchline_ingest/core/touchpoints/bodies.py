"""A body as items: one JSON object, an array of them, or one a line (NDJSON)."""

from dataclasses import dataclass
from typing import Any

from touchline_ingest.core.touchpoints.decoding import parse
from touchline_ingest.core.touchpoints.refusals import BodyTooLarge, NotReadable, NotThisMediaType

_LINES = frozenset(
    (
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
    )
)


@dataclass(frozen=True, slots=True)
class BrokenItem:
    """An item that is not JSON, among items that are."""

    error: str


def is_lines(content_type: str) -> bool:
    """Whether the items come one a line. JSON when no type is given.

    Raises:
        NotThisMediaType: neither JSON nor NDJSON, or not in UTF-8.
    """
    media_type, _, parameters = content_type.partition(";")
    media_type = media_type.strip().lower()
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8", "us-ascii"):
            raise NotThisMediaType("send UTF-8: JSON has no other encoding (RFC 8259 §8.1)")
    if media_type in _LINES:
        return True
    if media_type in ("", "application/json", "text/json") or media_type.endswith("+json"):
        return False
    raise NotThisMediaType(
        f"content-type {media_type[:80]!r} is not read here: send application/json (an object or an array) or "
        "application/x-ndjson (an object a line)"
    )


def items_of(body: bytes, *, lines: bool, most: int) -> list[Any]:
    """The items of a body, each a JSON value or a :class:`BrokenItem`; not validated.

    Args:
        lines: NDJSON; empty lines are skipped.
        most: items allowed.

    Raises:
        NotReadable: not JSON, or neither an object nor an array, or nothing in it.
        BodyTooLarge: too many items.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if lines:
        items = [_line(line) for line in body.split(b"\n") if not line.isspace() and line]
    else:
        value = parse(body)
        if isinstance(value, dict):
            return [value]
        if not isinstance(value, list):
            raise NotReadable("the body must be a JSON object or an array of objects")
        items = value
    if not items:
        raise NotReadable("there is nothing in the body: send at least one touchpoint")
    if len(items) > most:
        raise BodyTooLarge(f"{len(items)} items in one request, {most} are allowed: send them in smaller parts")
    return items


def _line(line: bytes) -> Any:
    try:
        return parse(line)
    except NotReadable as error:
        return BrokenItem(str(error).replace("the body", "the line", 1))
