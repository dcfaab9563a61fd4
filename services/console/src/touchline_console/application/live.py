"""What happens now: the engine's stream as rows for the live list."""

from collections.abc import AsyncIterator
from typing import Any

from touchline_console.application.ports import RequestRejected, ServiceFault, Services
from touchline_console.application.titles import Titles
from touchline_console.core.happenings import happening


async def live(services: Services) -> AsyncIterator[tuple[str, Any]]:
    """("fact", row), ("away", why) and, while nothing happens, ("", None). Ends when the engine's stream does."""
    try:
        listed = await services.engine.get("/v1/lifecycles")
        titles = Titles(listed["items"])
        async for kind, data in services.engine.events("/v1/stage-changes/stream"):
            if not kind:
                yield "", None
            elif kind == "error":
                yield "away", "the engine's stream broke off; trying again"
            elif (row := happening(kind, data, titles.stages)) is not None:
                yield "fact", row
    except RequestRejected:
        raise
    except ServiceFault as fault:
        yield "away", f"the stage engine does not answer ({fault.detail})"
