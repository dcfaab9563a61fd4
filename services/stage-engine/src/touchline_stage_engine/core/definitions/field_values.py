"""Which values the fields of a touchpoint can have under a condition, to find operators that none of them passes."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from touchline_schemas.definitions.operators import satisfies
from touchline_schemas.touchpoint import MAX_ID, MAX_KEY
from touchline_schemas.touchpoint_types import NOTIFIER_SOURCE, STAGE_SET

from touchline_stage_engine.core.definitions.model import ANY_TYPE, Condition

_BOUNDS = ("lt", "lte", "gt", "gte")


class Spelling(NamedTuple):
    """The names that ingest accepts, or makes from other names (`Order Completed` becomes `order_completed`).

    Attributes:
        of: what is named.
        about: the permitted characters, in words.
    """

    of: str
    fullmatch: Callable[[str], object]
    about: str

    def instead(self, word: str) -> str:
        """The hint for a name that ingest does not accept."""
        ascii_only = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode()
        spelt = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", ascii_only).lower()).strip("_")
        hint = f"such as {spelt}: " if spelt and self.fullmatch(spelt) else ""
        return f"write {hint}{self.about}"


TYPE_SPELLING = Spelling(
    "type",
    re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,99}").fullmatch,
    "only letters a-z, digits and _ . : / -, at most 100",
)
CHANNEL_SPELLING = Spelling(
    "channel", re.compile(r"[a-z][a-z0-9_]{0,63}").fullmatch, "only lowercase letters a-z, digits and _, at most 64"
)


def _text_of(most: int) -> Callable[[str], object]:
    return lambda text: 0 < len(text) <= most and not any(ord(one) < 32 or ord(one) == 127 for one in text)


_TEXTS: dict[str, Callable[[str], object]] = {
    "type": TYPE_SPELLING.fullmatch,
    "channel": CHANNEL_SPELLING.fullmatch,
    "source": _text_of(MAX_KEY),
    "id": _text_of(MAX_ID),
}
_NO_RULE_COUNTS = {"type": STAGE_SET, "source": NOTIFIER_SOURCE}


def _possible(field: str, condition: Condition) -> Sequence[Any] | None:
    """The values that a counting touchpoint can have in a field; None: any text that ingest accepts."""
    if field == "machine":
        return [False]
    if field == "backfill":
        return [False, True]
    if field == "direction":
        return ["inbound", "outbound"] if condition.direction == "any" else [condition.direction]
    if field == "type" and ANY_TYPE not in condition.when:
        return [name for name in condition.when if name != STAGE_SET]
    return condition.channel if field == "channel" else None


def why_never(field: str, condition: Condition, operators: Mapping[str, Any]) -> str | None:
    """Why no touchpoint that the condition counts passes the operators at one of its fields; None: some can."""
    if operators.get("exists") is False:
        return f"every touchpoint has a {field}"
    possible = _possible(field, condition)
    if possible is not None:
        if any(satisfies(value, operators) for value in possible):
            return None
        return f"the {field} of what it counts is {' or '.join(map(_written, possible))}"
    asked = [operators["eq"]] if "eq" in operators else operators.get("in")
    if asked is None:
        if any(name in operators and not isinstance(operators[name], str) for name in _BOUNDS):
            return f"the {field} is a text"
        return None
    texts = [value for value in asked if isinstance(value, str) and _TEXTS[field](value)]
    if not texts:
        return f"no touchpoint has the {field} {', '.join(map(repr, asked))}"
    if all(text == _NO_RULE_COUNTS.get(field) for text in texts):
        return "touchpoints of the notifier trigger no rule" if field == "source" else "rules do not count manual moves"
    return None


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
