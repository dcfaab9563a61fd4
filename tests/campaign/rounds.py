"""One round: load and faults for a while, then rest, then the checker's judgement."""

import asyncio
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from touchline_checker.findings import Report
from touchline_devstack.stack import Stack

from tests.campaign.deployment import deployed
from tests.campaign.disk import SmallDisk
from tests.campaign.faults import Faults
from tests.campaign.judge import judge, settle
from tests.campaign.leaks import leaks, metrics_of
from tests.campaign.load import Load
from tests.support.waiting import wait_until


@dataclass
class Outcome:
    """What a round did, and what the checker said of it."""

    seed: int
    round: int
    seconds: float
    accepted: int
    poisoned: int
    answers: dict[str, int]
    faults: dict[str, int]
    kills: int
    takeovers: int
    unfinished: list[str]
    leaked: list[str]
    report: Report = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether everything came to rest, nothing was found, and no secret or address leaked."""
        return not (self.unfinished or self.leaked or self.report.findings)

    def as_json(self) -> dict[str, Any]:
        """The line that is recorded."""
        report = self.report.as_json()
        return {
            "seed": self.seed,
            "round": self.round,
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "ok": self.ok,
            "seconds": round(self.seconds, 1),
            "kills": self.kills,
            "frozen_owner_takeovers": self.takeovers,
            "accepted": self.accepted,
            "poisoned": self.poisoned,
            "answers": self.answers,
            "faults": dict(sorted(self.faults.items())),
            "unfinished": self.unfinished,
            "leaked": self.leaked[:20],
            "compared": report["compared"],
            "left_out": report["left_out"],
            "findings_by_kind": report["findings_by_kind"],
            "findings": report["findings"][:20],
        }


async def play_round(
    stack: Stack,
    folder: Path,
    seed: int,
    number: int,
    seconds: float,
    *,
    engines: int = 3,
    notifiers: int = 2,
    servers: bool = True,
    disk: SmallDisk | None = None,
    chosen: Sequence[str] = (),
    least: int = 0,
) -> Outcome:
    """Play one round; its evidence and logs stay in ``folder``.

    Args:
        servers: Kafka and PostgreSQL fail, too.
        disk: PostgreSQL's, where it can be made full.
        chosen: which of the servers' faults are made; all unless given.
        least: touchpoints that are accepted at least, and one fault that is made, however long that takes.
    """
    prefix = f"r{seed}x{number}x{os.urandom(3).hex()}"
    began = time.monotonic()
    async with deployed(stack, prefix, folder, engines, notifiers) as deployment:
        accepted = folder / "accepted.ndjson"
        load = Load(deployment, seed * 1000 + number, accepted)
        faults = Faults(deployment, seed * 1000 + number, servers=servers, disk=disk, chosen=chosen)
        async with asyncio.TaskGroup() as tasks:
            loading, injecting = tasks.create_task(load.run()), tasks.create_task(faults.run())
            await asyncio.wait([loading, injecting], timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            if least:
                await wait_until(
                    lambda: loading.done() or injecting.done() or (load.accepted >= least and faults.counts),
                    f"{least} touchpoints are accepted and a fault is made",
                )
            faults.stop()
            await injecting
            load.stop()
        left = await settle(deployment)
        report = await judge(deployment, accepted, folder / "evidence")
        leaked = leaks(deployment.database_url, folder / "logs", folder / "evidence", await metrics_of(deployment))
    await asyncio.to_thread(stack.drop_database, f"campaign_{prefix}")
    return Outcome(
        seed, number, time.monotonic() - began, load.accepted, load.poisoned, dict(load.answers), dict(faults.counts),
        faults.kills, faults.takeovers, left, leaked, report,
    )  # fmt: skip


def machine() -> dict[str, Any]:
    """The machine and the versions, for the record."""
    names = ("aiokafka", "asyncpg", "fastapi", "pydantic", "uvicorn")
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "versions": {name: version(name) for name in names},
    }
