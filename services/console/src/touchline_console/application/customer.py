"""One customer: where they are in every lifecycle, their timeline, and what we did."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from touchline_console.application.parts import Part, parts
from touchline_console.application.ports import NotFound, Service, Services
from touchline_console.application.titles import Titles
from touchline_console.core import formats, words
from touchline_console.core.charts.timeline import timeline
from touchline_console.core.customer_story import bands, marks, touchpoint_text

MOST_TOUCHPOINTS = 2000
SLIPPED_FOR = timedelta(days=90)
"""How long a move back counts as a risk, as the engine's lists of customers have it."""
_PAGE = 1000


def path_of(customer_id: str) -> str:
    """The engine's path of a customer, whose id may hold anything."""
    return f"/v1/customers/{quote(customer_id, safe='')}"


async def all_pages(service: Service, path: str, most: int, **parameters: Any) -> list[Any]:
    """The items of a list, page by page, up to a number."""
    items: list[Any] = []
    cursor = None
    while len(items) < most:
        page = await service.get(path, limit=min(_PAGE, most - len(items)), cursor=cursor, **parameters)
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    return items


async def customer(services: Services, key: str, currency: str) -> dict[str, Any]:
    """Everything on a customer's page.

    Raises:
        NotFound: there is no such customer.
        Unreachable: the engine is away: without it there is no such page.
    """
    standing = await services.engine.get(path_of(key))
    customer_id = standing["customer_id"]
    path = path_of(customer_id)
    found = await parts(
        lifecycles=services.engine.get("/v1/lifecycles"),
        reading=services.engine.get(f"{path}/reading"),
        touchpoints=all_pages(services.engine, f"{path}/touchpoints", MOST_TOUCHPOINTS),
        history=all_pages(services.engine, f"{path}/history", MOST_TOUCHPOINTS, facts="all"),
        explanation=services.engine.get(f"{path}/explanation"),
        profile_summary=services.engine.get(f"{path}/summary"),
        conflicts=all_pages(services.engine, "/v1/identity-conflicts", 1000),
        plays=services.notifier.get("/v1/plays"),
        profile=services.notifier.get(f"/v1/profiles/{quote(customer_id, safe='')}"),
        actions=services.notifier.get("/v1/actions", customer_id=customer_id, limit=100),
    )
    titles = Titles(found["lifecycles"].items)
    for point in found["touchpoints"].value or []:
        point["text"] = touchpoint_text(point["type"], point["properties"], currency)
    return {
        "standing": standing,
        "titles": titles,
        "slipped": slipped(found["explanation"].get("lifecycles") or {}, datetime.now(UTC)),
        "value": _value(found["touchpoints"].value or []),
        **found,
        "play_titles": {play["play"]: play.get("title") for play in found["plays"].items},
        "consent": words.consent(
            found["profile"].get("consent") or {},
            found["profile"].get("suppressions") or [],
            found["profile"].get("messages") or [],
        ),
        "conflicts": [one for one in found["conflicts"].value or [] if customer_id in one["customers"]],
        "charts": {
            name: _timeline(name, titles, found, standing) for name in standing["stages"] if found["touchpoints"].ok
        },
    }


def _timeline(lifecycle: str, titles: Titles, found: dict[str, Part[Any]], standing: dict[str, Any]) -> Any:
    history = [fact for fact in found["history"].value or [] if fact["lifecycle"] == lifecycle]
    names = {stage: title for (name, stage), title in titles.stages.items() if name == lifecycle}
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    actions = [
        {"at": action["decided_at"], "text": action["play"], "outcome": action["outcome"]}
        for action in found["actions"].items
    ]
    return timeline(
        found["touchpoints"].value or [],
        bands(history, titles.order(lifecycle), names, now),
        marks(history, names),
        actions,
    )


def _value(touchpoints: list[dict[str, Any]]) -> dict[str, Any]:
    """Value, purchases and the last one, as the engine defines value."""
    value, purchases, last = 0.0, 0, None
    for point in touchpoints:
        if point["machine"] or point["type"] not in ("purchased", "renewed", "upgraded", "refunded"):
            continue
        amount = next(
            (
                point["properties"][name]
                for name in ("value", "amount", "total")
                if isinstance(point["properties"].get(name), int | float)
                and not isinstance(point["properties"].get(name), bool)
            ),
            0.0,
        )
        if abs(amount) >= 1e12:
            continue
        if point["type"] == "refunded":
            value -= abs(amount)
        else:
            value, purchases, last = value + amount, purchases + 1, point["occurred_at"]
    return {"value": value, "purchases": purchases, "last_purchase_at": last}


async def exists(services: Services, key: str) -> str | None:
    """The customer's id where a key belongs to one."""
    try:
        standing = await services.engine.get(path_of(key))
    except NotFound:
        return None
    return str(standing["customer_id"])


def slipped(explained: Mapping[str, Any], now: datetime) -> dict[str, str]:
    """Lifecycle → the move by which the customer slipped back, where the last move was backward and is recent."""
    found = {}
    for name, one in explained.items():
        last = one["last_move"]
        moment = formats.instant(last["occurred_at"])
        if last["move"] in ("regress", "lapse") and moment and now - moment <= SLIPPED_FOR:
            found[name] = last["move"]
    return found


def most_telling(found: dict[str, Any]) -> str | None:
    """The lifecycle to show first: one that the customer is at risk in, else the calmest."""
    stages: dict[str, Any] = found["standing"]["stages"]
    back: dict[str, str] = found["slipped"]
    troubled = [name for name, stage in stages.items() if stage["stalled_level"] or name in back]
    if not troubled:
        return calmest(found)
    return max(troubled, key=lambda name: (name in back, stages[name]["entered_at"]))


def calmest(found: dict[str, Any]) -> str | None:
    """The lifecycle whose stages last longest for this customer: the best background of a timeline of months."""
    moves: dict[str, int] = dict.fromkeys(found["standing"]["stages"], 0)
    for fact in found["history"].value or []:
        if fact["fact"] == "move" and fact["lifecycle"] in moves:
            moves[fact["lifecycle"]] += 1
    return min(moves, key=lambda name: (moves[name] < 2, moves[name], name), default=None)
