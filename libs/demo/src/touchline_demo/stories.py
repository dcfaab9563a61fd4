"""Customers' histories in plain words, from the engine's query API."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx

from touchline_demo.company.people import Person

_VERBS = {
    "enter": "first seen, in {to}",
    "advance": "on to {to}",
    "regress": "slipped back to {to}",
    "renew": "began again at {to}",
    "lapse": "lapsed to {to}, by time alone",
}
_MOST_LINES = 9


def story(person: Person, customer: dict[str, Any], history: Sequence[dict[str, Any]], lifecycle: str) -> list[str]:
    """One customer's way through a lifecycle, a line a move.

    Args:
        customer: what ``GET /v1/customers/{id}`` answered.
        history: the items of ``GET /v1/customers/{id}/history``, oldest first.
    """
    lines = []
    for item in history:
        if item["lifecycle"] != lifecycle:
            continue
        what = _VERBS[item["move"]].format(to=item["to_stage"])
        why = (item.get("reason") or {}).get("text")
        lines.append(f"{_day(item['occurred_at'])}  {what}" + (f": {why}" if why else ""))
    if len(lines) > _MOST_LINES:
        left_out = len(lines) - _MOST_LINES + 1
        lines = [lines[0], f"            … {left_out} moves …", *lines[-(_MOST_LINES - 2) :]]
    now = customer["stages"][lifecycle]
    stall = f", stalled (level {now['stalled_level']})" if now["stalled_level"] else ""
    aliases = [alias for alias in customer["aliases"] if alias.startswith("anon:")]
    known_as = f", once known only as {aliases[0]}" if aliases else ""
    lines.append(f"today       {now['stage']}{stall}; {customer['touchpoints']} touchpoints{known_as}")
    return lines


async def fetch_stories(
    http: httpx.AsyncClient, engine: str, people: Sequence[Person], lifecycle: str
) -> list[tuple[str, list[str]]]:
    """The stories of some people: (title, lines)."""
    found = []
    for person in people:
        customer = await http.get(f"{engine}/v1/customers/{person.customer_id}")
        history = await http.get(
            f"{engine}/v1/customers/{person.customer_id}/history", params={"lifecycle": lifecycle, "limit": 200}
        )
        if customer.status_code == history.status_code == httpx.codes.OK:
            lines = story(person, customer.json(), history.json()["items"], lifecycle)
            found.append((f"{person.name} ({person.customer_id}), {person.habit}", lines))
    return found


def _day(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%d %b %Y}"
