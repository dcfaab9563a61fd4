"""Import of earlier months: export to one file, then ``touchline-ingest import``."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson

from touchline_demo.clients.api import Answers, ClientError
from touchline_demo.company.people import Event, InvalidEvent

_TOLD = re.compile(r"(\d+) accepted, (\d+) rejected")


class HistoryImportClient:
    """A file of NDJSON, and the command that imports it.

    Args:
        folder: where the file, and that of the rejected rows, are written.
        run: runs ``touchline-ingest`` with arguments; its output.
    """

    def __init__(self, folder: Path, source: str, run: Callable[..., Awaitable[str]]) -> None:
        self._file = folder / "history.ndjson"
        self._rejects = folder / "history-rejects.ndjson"
        self._source = source
        self._run = run

    async def post(self, items: Sequence[Event | InvalidEvent]) -> Answers:
        """Export and import. Exactly the invalid events must be rejected."""
        await asyncio.to_thread(self._export, items)
        output = await self._run(
            "import", str(self._file), "--source", self._source, "--restart", "--rejects", str(self._rejects)
        )
        found = _TOLD.findall(output)
        if not found:
            raise ClientError(f"touchline-ingest import said nothing of what it accepted: {output[-500:]}")
        accepted, rejected = map(int, found[-1])
        invalid = {number for number, one in enumerate(items, 1) if isinstance(one, InvalidEvent)}
        refused = {orjson.loads(line)["line"] for line in self._rejects.read_bytes().splitlines()}
        if refused != invalid or rejected != len(invalid):
            raise ClientError(f"the import did not reject exactly the invalid events: see {self._rejects}")
        return Answers(accepted=accepted, rejected=rejected)

    def _export(self, items: Sequence[Event | InvalidEvent]) -> None:
        with self._file.open("wb") as file:
            for one in items:
                file.write(orjson.dumps(one.body if isinstance(one, InvalidEvent) else one.as_posted()) + b"\n")
