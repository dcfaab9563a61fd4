"""Sources, what they posted, dead letters, and how the services run."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from touchline_console.application.parts import parts
from touchline_console.application.ports import Services
from touchline_console.core import formats
from touchline_console.core.charts import statistics
from touchline_console.core.hours import by_hour

PAGE = 50


async def sources(services: Services, now: datetime) -> dict[str, Any]:
    """All sources with their last day."""
    found = await parts(sources=services.ingest.get("/v1/sources"))
    trends = {one["source"]: by_hour(one["hours"], "accepted", now) for one in found["sources"].items}
    return {**found, "trends": trends}


async def source(services: Services, name: str, status: str | None, now: datetime) -> dict[str, Any]:
    """One source: reasons of rejections, and the last events as posted."""
    found = await parts(
        sources=services.ingest.get("/v1/sources"),
        events=services.ingest.get(f"/v1/sources/{quote(name, safe='')}/events", status=status),
    )
    about = next((one for one in found["sources"].items if one["source"] == name), None)
    chart = None
    if about is not None and about["reasons"]:
        chart = statistics.bars(
            [(one["reason"], one["items"], formats.number(one["items"])) for one in about["reasons"][:12]], "$regress"
        )
    trend = by_hour(about["hours"], "accepted", now) if about else []
    return {**found, "name": name, "about": about, "charts": {"reasons": chart}, "trend": trend}


async def dead_letters(services: Services, reason: str | None, source: str | None, offset: int) -> dict[str, Any]:
    """The newest dead letters, and how many there are by reason."""
    found = await parts(
        counts=services.ingest.get("/v1/dead-letters/counts"),
        letters=services.ingest.get(
            "/v1/dead-letters", reason=reason, source=source, limit=PAGE, offset=offset or None
        ),
    )
    reasons = list((found["counts"].get("reasons") or {}).items())
    chart = statistics.bars([(name, number, formats.number(number)) for name, number in reasons]) if reasons else None
    return {**found, "charts": {"reasons": chart}, "reasons": reasons}


async def dead_letter(services: Services, partition: int, offset: int) -> dict[str, Any]:
    """One dead letter, whole.

    Raises:
        NotFound: there is none.
    """
    return {"letter": await services.ingest.get(f"/v1/dead-letters/{partition}/{offset}")}


async def operations(services: Services) -> dict[str, Any]:
    """Partitions, lag, timers, outbox, versions, settings in force, and the sending switch."""
    return await parts(
        engine=services.engine.get("/v1/operations"),
        ingest=services.ingest.get("/v1/operations"),
        notifier=services.notifier.get("/v1/operations"),
        sending=services.notifier.get("/v1/sending"),
    )
