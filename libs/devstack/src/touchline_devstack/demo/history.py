"""The months before: exported to one file, and imported with ``touchline-ingest import``."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson

from touchline_devstack.demo.doors import Answers, DoorError
from touchline_devstack.demo.people import Deed, Mistake

_TOLD = re.compile(r"(\d+) accepted, (\d+) rejected")


class ImportDoor:
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

    async def post(self, told: Sequence[Deed | Mistake]) -> Answers:
        """Export and import; what is rejected must be the mistakes, all of them and nothing else."""
        await asyncio.to_thread(self._export, told)
        output = await self._run(
            "import", str(self._file), "--source", self._source, "--restart", "--rejects", str(self._rejects)
        )
        found = _TOLD.findall(output)
        if not found:
            raise DoorError(f"touchline-ingest import said nothing of what it accepted: {output[-500:]}")
        accepted, rejected = map(int, found[-1])
        mistakes = {number for number, one in enumerate(told, 1) if isinstance(one, Mistake)}
        refused = {orjson.loads(line)["line"] for line in self._rejects.read_bytes().splitlines()}
        if refused != mistakes or rejected != len(mistakes):
            raise DoorError(f"the import rejected other rows than the mistakes: see {self._rejects}")
        return Answers(accepted=accepted, rejected=rejected)

    def _export(self, told: Sequence[Deed | Mistake]) -> None:
        with self._file.open("wb") as file:
            for one in told:
                file.write(orjson.dumps(one.body if isinstance(one, Mistake) else one.as_posted()) + b"\n")
