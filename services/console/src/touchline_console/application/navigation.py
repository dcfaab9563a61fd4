"""What every page shows beside its content: the lifecycles that run. Kept for a few seconds."""

import time
from typing import Any

from touchline_console.application.parts import part
from touchline_console.application.ports import Services

_KEPT_SECONDS = 10.0


class Navigation:
    """The lifecycles, as last heard; an engine that is away leaves the last ones in place."""

    def __init__(self) -> None:
        self._lifecycles: list[dict[str, Any]] = []
        self._heard_at = float("-inf")

    async def lifecycles(self, services: Services) -> list[dict[str, Any]]:
        """Name and title of each running lifecycle."""
        if time.monotonic() - self._heard_at > _KEPT_SECONDS:
            found = await part(services.engine.get("/v1/lifecycles"))
            if found.ok:
                self._lifecycles = found.items
            self._heard_at = time.monotonic()
        return self._lifecycles
