"""A customer's life as the timeline shows it: stage bands, facts on them, touchpoints in words."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from touchline_console.core import formats

_AMOUNTS = ("value", "amount", "total")


def touchpoint_text(kind: str, properties: Mapping[str, Any], currency: str) -> str:
    """A short text for a touchpoint's properties."""
    found = []
    for name in _AMOUNTS:
        amount = properties.get(name)
        if isinstance(amount, int | float) and not isinstance(amount, bool):
            found.append(formats.exact_money(float(amount), currency))
            break
    for name, word in (("score", "score"), ("rating", "rating"), ("minutes", "minutes")):
        value = properties.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found.append(f"{word} {formats.number(float(value))}")
    for name in ("subject", "campaign", "topic", "url", "reason", "name"):
        value = properties.get(name)
        if isinstance(value, str) and value:
            found.append(value if len(value) <= 60 else f"{value[:59]}…")
            break
    return ", ".join(found)


def bands(
    history: Iterable[Mapping[str, Any]], order: Sequence[str], titles: Mapping[str, str], until: str
) -> list[tuple[str, str, str, int]]:
    """(title, from, until, index of the stage) of each stay, from a lifecycle's moves in order."""
    moves = [fact for fact in history if fact["fact"] == "move"]
    position = {name: index for index, name in enumerate(order)}
    ends = [*(move["occurred_at"] for move in moves[1:]), until]
    return [
        (titles.get(move["to_stage"], move["to_stage"]), move["occurred_at"], end, position.get(move["to_stage"], 9))
        for move, end in zip(moves, ends, strict=True)
    ]


def marks(history: Iterable[Mapping[str, Any]], titles: Mapping[str, str]) -> list[dict[str, str]]:
    """Stalls and moves back, for lines on the timeline."""
    found = []
    for fact in history:
        if fact["fact"] == "stall":
            found.append({"at": fact["occurred_at"], "kind": "stall", "text": "stalled"})
        elif fact["fact"] == "move" and fact["move"] in ("regress", "lapse"):
            text = f"back to {titles.get(fact['to_stage'], fact['to_stage'])}"
            found.append({"at": fact["occurred_at"], "kind": fact["move"], "text": text})
    return found
