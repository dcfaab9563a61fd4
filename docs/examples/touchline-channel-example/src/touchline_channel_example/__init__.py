"""The channel ``logbook``: every message becomes a line of JSON in a file."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from touchline_notifier.core.delivery.channel import Attempt, Delivered, Delivery, Retry
from touchline_notifier.core.delivery.endpoints import Endpoint


class LogbookChannel:
    """Appends to the file that the endpoint's ``options: {path: …}`` names."""

    name = "logbook"
    needs_address = False  # it doesn't write to the customer, so consent and addresses don't matter

    def check(self, endpoint: Endpoint) -> Sequence[str]:
        """What is wrong with an endpoint; shown at start and by ``touchline-notifier check``."""
        if not isinstance(endpoint.options.get("path"), str):
            return ["options: say which file: options: {path: /var/lib/touchline/logbook.ndjson}"]
        return []

    async def send(self, delivery: Delivery, endpoint: Endpoint, now: datetime) -> Attempt:
        """Write one line. The delivery's id is in it: a reader can tell a repeat."""
        line = json.dumps({"id": delivery.id, "at": now.isoformat(), "text": delivery.message.text})
        try:
            await asyncio.to_thread(_append, Path(str(endpoint.options["path"])), line)
        except OSError as error:
            return Retry(f"{error.filename}: {error.strerror}")
        return Delivered()

    async def close(self) -> None:
        """Nothing is kept open."""


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
