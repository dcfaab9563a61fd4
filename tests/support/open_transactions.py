"""Transactions that outlive the process that began them: PostgreSQL finishes a COMMIT whose sender was killed."""

from typing import Any, Protocol

from tests.support.waiting import wait_until

OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
"""


class Connections(Protocol):
    """A connection or a pool of them."""

    async def fetchval(self, query: str, /) -> Any: ...


async def no_transactions(connections: Connections) -> None:
    """Wait for a moment in which nobody else has a transaction open in the database."""

    async def none() -> bool:
        return bool(await connections.fetchval(OTHERS) == 0)

    await wait_until(none, "no transaction is open")
