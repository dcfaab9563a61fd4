"""Split lists into pages of at most ``limit`` items. A cursor names the position after the last item.

A cursor is the sort key of the last item. A page is therefore correct while rows are added, and costs the same at any
position in the list.
"""

import base64
import binascii
import json
import math
from collections.abc import Sequence
from typing import Any

from touchline_stage_engine.application.queries.values import BadCursorError, Page


def encode_cursor(key: Sequence[Any]) -> str:
    """The cursor for the position after the item with that sort key."""
    return base64.urlsafe_b64encode(json.dumps(list(key), separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, *kinds: type) -> list[Any] | None:
    """The sort key in a cursor; None for the first page.

    Raises:
        BadCursorError: this list did not issue the cursor.
    """
    if cursor is None:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise BadCursorError(f"{cursor!r} is not a cursor of this list: use `next` of the previous page") from None
    if not isinstance(key, list) or len(key) != len(kinds):
        raise BadCursorError(f"{cursor!r} is not a cursor of this list: use `next` of the previous page")
    for value, kind in zip(key, kinds, strict=True):
        if type(value) is not kind or not _is_storable(value):
            raise BadCursorError(f"{cursor!r} is not a cursor of this list: use `next` of the previous page")
    return key


def _is_storable(value: Any) -> bool:
    """Whether PostgreSQL accepts the value: no number beyond bigint, no NUL, no surrogate."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < 1 << 62
    return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def page_of(rows: Sequence[dict[str, Any]], limit: int, key: Sequence[str]) -> Page:
    """A page from up to ``limit + 1`` rows; ``key`` names the columns of the sort key, which begin with ``_``.

    Columns that begin with an underscore are for the cursor only, and are removed from the items.
    """
    following = encode_cursor([rows[limit - 1][name] for name in key]) if len(rows) > limit else None
    items = [{name: value for name, value in row.items() if not name.startswith("_")} for row in rows[:limit]]
    return Page(items, following)
