"""Classifies a failed database command: a transient fault, a refusal, or invalid values."""

import asyncpg
import sqlalchemy.exc
from asyncpg.exceptions._base import DataError as ClientDataError

UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke in the middle of an operation, asked for the next
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.ReadOnlySQLTransactionError,  # 25006: a replica, after a failover
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,  # class 28: a password that is being changed
    asyncpg.InvalidCatalogNameError,  # 3D000: a database that is being restored
    asyncpg.TransactionRollbackError,  # class 40: a deadlock, a serialization failure
    asyncpg.InsufficientResourcesError,  # class 53: a full disk, no memory, too many connections
    asyncpg.ObjectNotInPrerequisiteStateError,  # class 55: a lock that was not available
    asyncpg.OperatorInterventionError,  # class 57: shut down, starting, cancelled
    asyncpg.PostgresSystemError,  # class 58: input or output failed
)
"""What asyncpg raises when the server is away, silent, read-only, full or shutting down: a transient fault, so retry.

Catch :data:`CONTENT_FAULTS` first: asyncpg's own complaint about an argument is an InterfaceError, too.
"""

REFUSALS = (
    asyncpg.InsufficientPrivilegeError,  # 42501
    asyncpg.UndefinedTableError,  # 42P01
    asyncpg.UndefinedColumnError,  # 42703: the tables are those of an earlier version
    asyncpg.UndefinedFunctionError,  # 42883
    asyncpg.UndefinedObjectError,  # 42704
    asyncpg.InvalidSchemaNameError,  # 3F000
)
"""The server refuses such a statement until an operator acts: rights are missing, or the tables are not migrated."""

REFUSAL = (
    "the database refuses: check that its tables are those of this version (run the service's `migrate` command) and "
    "that its user has the rights to read and write them"
)
"""What an operator has to do about one of :data:`REFUSALS`. It names nothing of the database."""

CONTENT_FAULTS = (
    ClientDataError,
    asyncpg.DataError,  # class 22
    asyncpg.CardinalityViolationError,  # class 21
    asyncpg.IntegrityConstraintViolationError,  # class 23
    asyncpg.ProgramLimitExceededError,  # class 54: a row that is too large for an index
)
"""The values of a statement are invalid: it fails at every attempt."""


def is_transient(error: BaseException) -> bool:
    """Whether a failed database operation may succeed when it is tried again later."""
    return isinstance(error, UNREACHABLE) and not isinstance(error, CONTENT_FAULTS)


def is_refusal(error: BaseException) -> bool:
    """Whether the server refuses until an operator acts."""
    return isinstance(error, REFUSALS)


def database_cause(error: BaseException) -> BaseException | None:
    """The driver's error behind one of ours, or behind SQLAlchemy's; None where there is none."""
    cause: BaseException | None = error
    while cause is not None:
        found = driver_error(cause)
        if is_transient(found) or is_refusal(found):
            return found
        cause = cause.__cause__
    return None


def driver_error(error: BaseException) -> BaseException:
    """The driver's own error behind one that SQLAlchemy raised."""
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return TimeoutError("no connection of the pool is free")
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def remedy(error: BaseException) -> str:
    """What to do when a server refuses, to append to its error; empty where the error says enough."""
    match error:
        case asyncpg.ReadOnlySQLTransactionError():
            return " (the server is a read-only replica: TOUCHLINE_DATABASE_URL must lead to the primary)"
        case asyncpg.DiskFullError():
            return " (free disk space on the database server)"
        case asyncpg.InvalidAuthorizationSpecificationError():
            return " (the password or pg_hba.conf has changed: restart with the new TOUCHLINE_DATABASE_URL)"
    return ""
