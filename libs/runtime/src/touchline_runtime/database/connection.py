"""Database connections with time limits: on every command, and on a peer that has gone silent."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.process.sockets import IDLE_SECONDS, INTERVAL_SECONDS, PROBES, USER_TIMEOUT_MS, keep_alive

# A process that stops in the middle of a transaction must not hold its locks for ever, and the server has to notice a
# client that disappeared.
SESSION = {
    "idle_in_transaction_session_timeout": "15000",
    "timezone": "UTC",
    "tcp_keepalives_idle": str(IDLE_SECONDS),
    "tcp_keepalives_interval": str(INTERVAL_SECONDS),
    "tcp_keepalives_count": str(PROBES),
    "tcp_user_timeout": str(USER_TIMEOUT_MS),
}


class LimitedConnection(asyncpg.Connection):
    """A connection that is closed when a command takes longer than its limit.

    asyncpg's own ``command_timeout`` asks the server to cancel and then waits for its answer, which a server process
    that is stopped never gives. Closing the connection ends the wait on our side in any case.
    """

    limit_seconds = 60.0
    _refused: asyncpg.ReadOnlySQLTransactionError | None = None
    """The server said that it is read-only: after a failover another connection may reach the primary."""

    async def reset(self, **more: Any) -> None:
        """As asyncpg's, when a pool takes the connection back. A pool closes a connection whose reset fails."""
        if self._refused is not None:
            raise self._refused
        await super().reset(**more)

    @contextmanager
    def _limited(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            self.terminate()

        timer = loop.call_later(self.limit_seconds, expire)
        try:
            yield
        except (asyncio.CancelledError, TimeoutError):
            # asyncpg would wait for the server to confirm that it has cancelled the command.
            self.terminate()
            if expired:
                raise TimeoutError(f"PostgreSQL did not answer a command within {self.limit_seconds:g} s") from None
            raise
        except Exception as error:
            if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                self._refused = error
            if expired:
                raise TimeoutError(f"PostgreSQL did not answer a command within {self.limit_seconds:g} s") from error
            raise
        finally:
            timer.cancel()

    async def execute(self, *arguments: Any, **more: Any) -> Any:
        """As asyncpg's, with the limit."""
        with self._limited():
            return await super().execute(*arguments, **more)

    async def executemany(self, *arguments: Any, **more: Any) -> Any:
        """As asyncpg's, with the limit."""
        with self._limited():
            return await super().executemany(*arguments, **more)

    async def fetch(self, *arguments: Any, **more: Any) -> Any:
        """As asyncpg's, with the limit."""
        with self._limited():
            return await super().fetch(*arguments, **more)

    async def fetchrow(self, *arguments: Any, **more: Any) -> Any:
        """As asyncpg's, with the limit."""
        with self._limited():
            return await super().fetchrow(*arguments, **more)

    async def fetchval(self, *arguments: Any, **more: Any) -> Any:
        """As asyncpg's, with the limit."""
        with self._limited():
            return await super().fetchval(*arguments, **more)

    async def copy_records_to_table(self, *arguments: Any, **more: Any) -> Any:
        """As asyncpg's, with the limit."""
        with self._limited():
            return await super().copy_records_to_table(*arguments, **more)

    async def copy_to_table(self, *arguments: Any, **more: Any) -> Any:
        """As asyncpg's, with the limit."""
        with self._limited():
            return await super().copy_to_table(*arguments, **more)

    async def prepare(self, *arguments: Any, **more: Any) -> Any:
        """As asyncpg's, with the limit."""
        with self._limited():
            return await super().prepare(*arguments, **more)


def connection_class(settings: ServiceSettings) -> type[LimitedConnection]:
    """The class of connections with the settings' limit on a command."""
    limit = settings.database_command_timeout_seconds
    return type("LimitedConnection", (LimitedConnection,), {"limit_seconds": limit})


async def prepare_connection(connection: Any) -> None:
    """Set the time limits of a connection's socket."""
    keep_alive(connection._transport)
