"""What a person may change of one customer, and what is stored of them: all of it through the services' APIs."""

import asyncio
from typing import Any
from urllib.parse import quote

from touchline_console.application.customer import path_of
from touchline_console.application.parts import part, parts
from touchline_console.application.ports import NotFound, Services


async def set_stage(services: Services, key: str, lifecycle: str, stage: str, reason: str) -> None:
    """Move a customer by hand."""
    body = {"lifecycle": lifecycle, "stage": stage, "reason": reason}
    await services.engine.send("POST", f"{path_of(key)}/stage", body)


async def suppress(services: Services, address: str, reason: str, *, lift: bool) -> None:
    """Send nothing to an address any more, or lift that."""
    path = f"/v1/suppressions/{quote(address, safe='')}"
    if lift:
        await services.notifier.send("DELETE", f"{path}?reason={quote(reason, safe='')}")
    else:
        await services.notifier.send("PUT", path, {"reason": reason})


async def erase(services: Services, key: str, reason: str) -> str:
    """Erase a customer; the receipt."""
    asked = await services.engine.send("DELETE", f"{path_of(key)}?reason={quote(reason, safe='')}")
    return str(asked["receipt"])


async def erasure(services: Services, receipt: str, key: str) -> dict[str, Any]:
    """How far an erasure is, in every service that stores something of customers."""
    found = await parts(
        engine=services.engine.get(f"/v1/erasures/{quote(receipt, safe='')}"),
        notifier=services.notifier.get(f"/v1/profiles/{quote(key, safe='')}"),
    )
    notifier = found["notifier"]
    gone = isinstance(notifier.fault, NotFound)
    states = [
        ("Stage engine", bool(found["engine"].get("complete")), found["engine"].missing),
        ("Notifier", gone, None if gone or notifier.ok else notifier.missing),
    ]
    return {"states": states, "done": all(done for _, done, _ in states), "removed": found["engine"].get("removed", {})}


async def export(services: Services, key: str) -> dict[str, Any]:
    """Everything that the services store of a customer.

    Raises:
        NotFound: nothing is stored.
    """
    engine, notifier = await asyncio.gather(
        services.engine.get(f"{path_of(key)}/export"),
        part(services.notifier.get(f"/v1/profiles/{quote(key, safe='')}/export")),
    )
    if notifier.fault is not None and not isinstance(notifier.fault, NotFound):
        raise notifier.fault
    return {"stage_engine": engine, "notifier": notifier.value}
