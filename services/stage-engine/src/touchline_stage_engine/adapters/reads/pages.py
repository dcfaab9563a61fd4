"""Lists come in pages: at most ``limit`` items, and a cursor that names the place after the last one.

A cursor is the ordering key of the last item, so a page stays right while rows are added, and costs the same however
far down the list it is.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000


class BadCursorError(ValueError):
    """A cursor that this list did not hand out."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some items of a list, and the cursor of the next page (None: there is none)."""

    items: list[dict[str, Any]]
    next: str | None

    def to_json(self) -> dict[str, Any]:
        """The answer's body."""
        return {"items": self.items, "next": self.next}


def encode_cursor(key: Sequence[Any]) -> str:
    """A cursor for the place after the item with that ordering key."""
    return base64.urlsafe_b64encode(json.dumps(list(key), separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, *kinds: type) -> list[Any] | None:
    """The ordering key in a cursor; None for the first page.

    Raises:
        BadCursorError: it is not one of this list's.
    """
    if cursor is None:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise BadCursorError(f"{cursor!r} is no cursor of this list: take `next` of the page before") from None
    if not isinstance(key, list) or len(key) != len(kinds):
        raise BadCursorError(f"{cursor!r} is no cursor of this list: take `next` of the page before")
    for value, kind in zip(key, kinds, strict=True):
        if type(value) is not kind or not _comes_from_us(value):
            raise BadCursorError(f"{cursor!r} is no cursor of this list: take `next` of the page before")
    return key


def _comes_from_us(value: Any) -> bool:
    """PostgreSQL takes no number beyond bigint, no NUL and no half of a surrogate pair: no cursor of ours has one."""
    if isinstance(value, int):
        return abs(value) < 1 << 62
    return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def page_of(rows: Sequence[dict[str, Any]], limit: int, key: Sequence[str]) -> Page:
    """A page from up to ``limit + 1`` rows; ``key`` names the columns of the ordering key, which begin with ``_``.

    Columns that begin with an underscore are for the cursor alone and are taken out of the items.
    """
    following = encode_cursor([rows[limit - 1][name] for name in key]) if len(rows) > limit else None
    items = [{name: value for name, value in row.items() if not name.startswith("_")} for row in rows[:limit]]
    return Page(items, following)
