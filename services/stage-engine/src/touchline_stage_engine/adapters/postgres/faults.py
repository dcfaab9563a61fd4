"""PostgreSQL's errors in the application's terms."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from touchline_runtime.database import faults

from touchline_stage_engine.application.errors import DatabaseAwayError, PermanentFaultError


@contextmanager
def database_faults() -> Iterator[None]:
    """Translate what database commands raise. An error in the values of a statement is passed on unchanged.

    Raises:
        DatabaseAwayError: the server is away, silent, read-only or full, or the outcome of a transaction is unknown.
        PermanentFaultError: the server refuses, and retrying will not help.
    """
    try:
        yield
    except faults.CONTENT_FAULTS:
        raise
    except faults.UNREACHABLE as error:
        raise DatabaseAwayError(f"{str(error) or type(error).__name__}{faults.remedy(error)}") from error
    except asyncpg.PostgresError as error:
        raise PermanentFaultError(
            f"PostgreSQL refuses: {error}: check that the tables are those of this version (touchline-stage-engine "
            "migrate) and that the user has the rights to read and write them"
        ) from error
