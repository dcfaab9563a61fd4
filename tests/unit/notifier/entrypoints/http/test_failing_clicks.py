"""Kind: clicks that fail for any reason must not fill the log: a line a minute, and one when clicks count again."""

from collections.abc import Collection
from datetime import datetime

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs
from touchline_notifier.application.api_ports import Link, Preferences
from touchline_notifier.entrypoints.http.unsubscribe import unsubscribe_router

CLICKS = 50


class BrokenLinks:
    """Links whose clicks fail until they are repaired."""

    broken = True

    async def link(self, token: str) -> Link | None:
        return Link("email", [])

    async def __call__(self, token: str, now: datetime) -> Link | None:
        if self.broken:
            raise ValueError("no such column")
        return Link("email", [])

    async def choices(self, token: str) -> Preferences | None:
        return None

    async def choose(
        self, token: str, chosen: Collection[str], shown: Collection[str] | None, now: datetime
    ) -> Preferences | None:
        if self.broken:
            raise ValueError("no such column")
        return None


@pytest.mark.parametrize(("path", "event"), [("", "unsubscribe_failed"), ("/preferences", "preferences_failed")])
async def test_failing_clicks_are_logged_once_and_when_they_count_again(path: str, event: str) -> None:
    links, app = BrokenLinks(), FastAPI()
    app.include_router(unsubscribe_router(links))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://notifier") as client:
        with capture_logs() as logs:
            answers = [await client.post(f"/v1/unsubscribe/token{path}") for _ in range(CLICKS)]
            links.broken = False
            await client.post(f"/v1/unsubscribe/token{path}")
    assert {answer.status_code for answer in answers} == {503}
    failed, over = logs
    assert (failed["event"], failed["log_level"], failed["error"]) == (event, "error", "ValueError: no such column")
    assert (over["event"], over["fault"], over["attempts"]) == ("fault_over", event, CLICKS)
