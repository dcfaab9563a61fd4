"""A session that cannot go on is reported once while the fault lasts, and again when it comes back."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs
from touchline_notifier.application.deciding import reader as module
from touchline_notifier.application.session_ports import SessionFault
from touchline_runtime.errors import Unavailable

from tests.support.waiting import wait_until


class Sessions:
    """Sessions of which none can be opened."""

    def __init__(self) -> None:
        self.opened = 0

    def open(self) -> Any:
        self.opened += 1
        raise PermissionError


class Unobserved:
    """Ignores what the reader does."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


async def tried_five_times(sessions: Sessions, fault: SessionFault) -> tuple[module.Reader, list[Any]]:
    """A reader whose sessions end with a fault, and what it logs."""
    no_plays: Any = None
    reader = module.Reader(
        sessions.open, lambda error: fault, no_plays, Unobserved(), sending=True, stall_seconds=60,
        wake_delivery=lambda: None,
    )  # fmt: skip
    stopping = asyncio.Event()
    with capture_logs() as logs:
        running = asyncio.create_task(reader.run(stopping))
        await wait_until(lambda: sessions.opened >= 5, "a fifth session is tried", interval=0)
        stopping.set()
        await running
    return reader, list(logs)


@pytest.mark.parametrize("worked", [False, True])
async def test_a_fault_is_reported_once_while_it_lasts_and_again_after_a_session_that_worked(
    monkeypatch: pytest.MonkeyPatch, worked: bool
) -> None:
    if worked:
        monkeypatch.setattr(module, "_WORKED_SECONDS", -1.0)
    sessions = Sessions()
    reader, logs = await tried_five_times(sessions, SessionFault("blocked", "grant the right", 0.001))
    reports = [entry["error"] for entry in logs if entry["event"] == "session_blocked"]
    assert set(reports) == {"grant the right"}
    assert len(reports) == (sessions.opened if worked else 1)
    with pytest.raises(Unavailable, match="grant the right"):
        await reader.check()


@pytest.mark.parametrize(("kind", "event"), [("passing", "session_ended"), ("failed", "session_failed")])
async def test_a_fault_that_is_met_at_every_retry_is_logged_once_a_minute(kind: Any, event: str) -> None:
    """Kind: a loop that retries during an outage."""
    sessions = Sessions()
    _, logs = await tried_five_times(sessions, SessionFault(kind, "PostgreSQL is away", 0.001))
    assert [(line["event"], line["error"]) for line in logs] == [(event, "PostgreSQL is away")]
