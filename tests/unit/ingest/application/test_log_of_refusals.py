"""Kind: a sender whose requests are refused or not understood, again and again, must not fill the log."""

from typing import Any

import orjson
from structlog.testing import capture_logs

REQUESTS = 40


async def test_many_dead_letters_of_a_source_are_one_line(ingest: Any) -> None:
    with capture_logs() as logs:
        for number in range(REQUESTS):
            call = orjson.dumps({"userId": "c-1", "messageId": f"m-{number}"})
            assert (await ingest.post(call, key="tracker", path="/v1/track")).status_code == 200
    assert len(ingest.publisher.published["dead-letters"]) == REQUESTS
    (line,) = [line for line in logs if line["event"] == "dead_letter"]
    assert (line["source"], line["times"]) == ("tracker", 1)


async def test_many_forged_webhooks_are_one_line(ingest: Any) -> None:
    with capture_logs() as logs:
        for number in range(REQUESTS):
            answer = await ingest.post({"type": "x", "n": number}, key=None, path="/v1/webhooks/hooks")
            assert answer.status_code in (401, 429)
    lines = [line for line in logs if line["event"] == "request_refused"]
    assert [(line["source"], line["status"]) for line in lines] == [("hooks", 401)]
