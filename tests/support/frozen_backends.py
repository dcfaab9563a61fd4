"""PostgreSQL's server processes, frozen by a signal."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import asyncpg

from tests.support.waiting import wait_until


@asynccontextmanager
async def frozen_while_idle(database_url: str, pids: Iterable[int]) -> AsyncIterator[None]:
    """Freeze server processes, each between two transactions, and let them go on afterwards.

    One that is frozen inside a transaction keeps its locks until somebody kills it: not even pg_terminate_backend ends
    it. A test that has to see clients recover by themselves can't begin with that.
    """
    frozen = []
    connection = await asyncpg.connect(database_url)
    try:
        for pid in pids:

            async def idle(pid: int = pid) -> bool:
                os.kill(pid, signal.SIGSTOP)
                state = await connection.fetchval("SELECT state FROM pg_stat_activity WHERE pid = $1", pid)
                if state == "idle":
                    return True
                os.kill(pid, signal.SIGCONT)
                await asyncio.sleep(0.01)
                return False

            await wait_until(idle, f"server process {pid} is idle", interval=0.01)
            frozen.append(pid)
        yield
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        await connection.close()
