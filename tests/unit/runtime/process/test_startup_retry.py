"""What the log says while a server is waited for at start."""

import asyncio

import pytest
from structlog.testing import capture_logs
from touchline_runtime.process.startup_retry import StartupRetry


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "TimeoutError"),
        (OSError("refused"), "refused"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_an_error_without_a_text_is_named(error: Exception, words: str) -> None:
    with capture_logs() as logs:
        asyncio.run(StartupRetry("PostgreSQL", 60).wait(error, "it does not answer"))
    assert [entry["error"] for entry in logs] == [words]
