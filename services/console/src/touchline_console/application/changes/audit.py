"""Who changed what in the services: their audit logs in one list, newest first."""

import asyncio
from typing import Any

from touchline_console.application.parts import Part, parts
from touchline_console.application.ports import Service, Services

SERVICES = (("engine", "Stage engine"), ("notifier", "Notifier"))
COLUMNS = ("service", "at", "actor", "role", "action", "target", "reason", "request_id", "before", "after")
_MOST_EXPORTED = 10_000
_AT_ONCE = 500


async def audit(services: Services, chosen: str, filters: dict[str, str | None], cursor: str | None) -> dict[str, Any]:
    """A page of the logs: the newest entries of both, or a page of one service's."""
    asked = {name: getattr(services, name) for name, _ in SERVICES if chosen in ("", name)}
    found, titles = await asyncio.gather(
        parts(**{name: one.get("/v1/audit", limit=50, cursor=cursor, **filters) for name, one in asked.items()}),
        _titles(services),
    )
    entries = [
        entry | {"service": dict(SERVICES)[name], "about": titles.get(entry["target"])}
        for name, part in found.items()
        for entry in part.items
    ]
    entries.sort(key=lambda entry: entry["at"], reverse=True)
    single: Part[Any] | None = found.get(chosen)
    missing = [part.missing for part in found.values() if not part.ok]
    return {"entries": entries, "missing": missing, "next": single.get("next") if single is not None else None}


async def _titles(services: Services) -> dict[str, str]:
    """Target of an entry → title: of plays, lifecycles and audiences, as far as they are known."""
    found = await parts(
        play=services.notifier.get("/v1/plays"),
        lifecycle=services.engine.get("/v1/lifecycles"),
        audience=services.engine.get("/v1/audiences", limit=_AT_ONCE),
    )
    return {
        f"{kind}/{one['play' if kind == 'play' else 'name']}": one["title"]
        for kind, part in found.items()
        for one in part.items
        if one.get("title")
    }


async def exported(services: Services, chosen: str, filters: dict[str, str | None]) -> list[list[Any]]:
    """Rows of all entries that pass the filters, the newest of each service first; with a heading."""
    rows: list[list[Any]] = [list(COLUMNS)]
    for name, title in SERVICES:
        if chosen in ("", name):
            rows += [
                [title if column == "service" else _cell(entry.get(column)) for column in COLUMNS]
                for entry in await _all(getattr(services, name), filters)
            ]
    return rows


async def _all(service: Service, filters: dict[str, str | None]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    cursor = None
    while len(entries) < _MOST_EXPORTED:
        page = await service.get("/v1/audit", limit=_AT_ONCE, cursor=cursor, **filters)
        entries += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    return entries


def _cell(value: Any) -> Any:
    return ", ".join(f"{name}: {part}" for name, part in value.items()) if isinstance(value, dict) else value
