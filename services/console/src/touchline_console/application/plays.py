"""Plays and what came of them; actions; deliveries with every attempt; endpoints."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from touchline_console.application.names import names
from touchline_console.application.parts import Part, part, parts
from touchline_console.application.ports import Services
from touchline_console.application.titles import Titles
from touchline_console.core import formats, words
from touchline_console.core.charts import statistics
from touchline_console.core.period import Period, wire
from touchline_console.core.sequence_steps import tree

PAGE = 50


async def plays(services: Services) -> dict[str, Any]:
    """All plays with their counts and, where there is a hold-out, their uplift."""
    found = await parts(plays=services.notifier.get("/v1/plays"), lifecycles=services.engine.get("/v1/lifecycles"))
    items = found["plays"].items
    results = await asyncio.gather(
        *(part(services.notifier.get(f"/v1/plays/{quote(play['play'], safe='')}/results")) for play in items)
    )
    uplift = {}
    for play, result in zip(items, results, strict=True):
        if play["hold_out"] and result.ok:
            uplift[play["play"]] = result.get("measures", {}).get("converted")
    return {**found, "uplift": uplift, "titles": Titles(found["lifecycles"].items)}


async def play(services: Services, name: str, period: Period) -> dict[str, Any]:
    """One play: its funnel, what held it back, treated against hold-out.

    Raises:
        NotFound: no such play runs.
    """
    path = f"/v1/plays/{quote(name, safe='')}"
    about = await services.notifier.get(path)
    found = await parts(
        figures=services.notifier.get(f"{path}/figures", **period.parameters()),
        results=services.notifier.get(f"{path}/results", since=period.parameters()["since"]),
        sequence=services.notifier.get(f"{path}/steps", since=period.parameters()["since"]),
        actions=services.notifier.get("/v1/actions", play=name, limit=15),
        lifecycles=services.engine.get("/v1/lifecycles"),
    )
    charts: dict[str, Any] = {"funnel": None, "reasons": None, "rates": None}
    mails = found["figures"].get("mails")
    counted = {**(found["figures"].get("funnel") or {}), **(mails or {})}
    funnel = {key: counted[key] for key in words.STEPS if counted.get(key) is not None}
    if funnel.get("facts"):
        charts["funnel"] = statistics.bars(
            [
                (
                    label,
                    funnel[key],
                    f"{formats.number(funnel[key])} · {formats.percent(funnel[key] / funnel['facts'])}",
                )
                for key, label in words.STEPS.items()
                if key in funnel
            ]
        )
    reasons = [
        (words.reason(one["reason_code"]), one["actions"], formats.number(one["actions"]))
        for one in found["figures"].get("reasons") or []
    ]
    charts["reasons"] = statistics.bars(reasons, "$line-strong") if reasons else None
    measures = found["results"].get("measures") or {}
    compared = {name: one for name, one in measures.items() if one["treated"]["customers"]}
    if compared and about["hold_out"]:
        charts["rates"] = statistics.rates(
            [(words.MEASURES[name], one["treated"]["rate"], one["held_out"]["rate"]) for name, one in compared.items()]
        )
    titles = Titles(found["lifecycles"].items)
    return {
        **found,
        "play": about,
        "funnel": funnel,
        "mails": mails,
        "charts": charts,
        "measures": measures,
        "steps": tree(found["sequence"].get("steps") or []),
        "titles": titles,
        "names": await _names(services, found["actions"]),
    }


async def actions(services: Services, filters: dict[str, str | None], cursor: str | None) -> dict[str, Any]:
    """A page of actions."""
    found = await parts(
        actions=services.notifier.get("/v1/actions", **filters, limit=PAGE, cursor=cursor),
        plays=services.notifier.get("/v1/plays"),
        lifecycles=services.engine.get("/v1/lifecycles"),
    )
    titles = {one["play"]: one.get("title") for one in found["plays"].items}
    people = await _names(services, found["actions"])
    return {**found, "play_titles": titles, "titles": Titles(found["lifecycles"].items), "names": people}


async def action(services: Services, action_id: str) -> dict[str, Any]:
    """One action with its deliveries and their attempts.

    Raises:
        NotFound: there is no such action.
    """
    about = await services.notifier.get(f"/v1/actions/{quote(action_id, safe='')}")
    found = await parts(plays=services.notifier.get("/v1/plays"), lifecycles=services.engine.get("/v1/lifecycles"))
    attempts = await asyncio.gather(
        *(part(services.notifier.get(f"/v1/deliveries/{one['id']}/attempts")) for one in about["deliveries"])
    )
    titles = {one["play"]: one.get("title") for one in found["plays"].items}
    deliveries = list(zip(about["deliveries"], attempts, strict=True))
    return {
        "action": about,
        "deliveries": deliveries,
        "play_titles": titles,
        "titles": Titles(found["lifecycles"].items),
        "names": await names(services.engine, [about["customer_id"]]),
    }


async def deliveries(services: Services, filters: dict[str, str | None], cursor: str | None) -> dict[str, Any]:
    """A page of deliveries."""
    found = await parts(
        deliveries=services.notifier.get("/v1/deliveries", **filters, limit=PAGE, cursor=cursor),
        endpoints=services.notifier.get("/v1/endpoints"),
    )
    return {**found, "names": await _names(services, found["deliveries"])}


async def delivery(services: Services, delivery_id: str) -> dict[str, Any]:
    """One delivery with its message and every attempt.

    Raises:
        NotFound: there is no such delivery.
    """
    path = f"/v1/deliveries/{quote(delivery_id, safe='')}"
    about = await services.notifier.get(path)
    found = await parts(attempts=services.notifier.get(f"{path}/attempts"))
    return {"delivery": about, **found, "names": await names(services.engine, [about["customer_id"]])}


async def endpoints(services: Services, days: int, now: datetime) -> dict[str, Any]:
    """Endpoints with their state and how they answered in the last days."""
    since = wire(now - timedelta(days=days))
    found = await parts(
        endpoints=services.notifier.get("/v1/endpoints"),
        figures=services.notifier.get("/v1/endpoint-figures", since=since),
    )
    figures = {one["endpoint"]: one for one in found["figures"].items}
    return {**found, "by_endpoint": figures}


async def _names(services: Services, listed: Part[Any]) -> dict[str, str]:
    """Names of the customers of a list's page."""
    return await names(services.engine, [one["customer_id"] for one in listed.items])
