"""What Segment's libraries for Node send, byte for byte, through the doors.

The requests in ``sent_by_segment/`` were recorded from the libraries themselves (the current one and the one before),
told nothing but a write key and a host, making one call of each kind. To record them again: let the library post to any
HTTP server and write down method, path, headers and body.
"""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from touchline_schemas.times import to_wire

RECORDED = sorted((Path(__file__).parent / "sent_by_segment").glob("*.json"))


@pytest.fixture(params=RECORDED, ids=lambda path: path.stem)
def requests(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    recorded: list[dict[str, Any]] = json.loads(request.param.read_text())["requests"]
    return recorded


async def send(ingest, requests):
    """Each request as it was recorded, a tenth of a second after the library wrote it."""
    answers = []
    for request in requests:
        sent_at = datetime.fromisoformat(json.loads(request["body"])["sentAt"])
        with time_machine.travel(sent_at + timedelta(seconds=0.1), tick=True):
            answers.append(
                await ingest.client.request(
                    request["method"], request["path"], headers=request["headers"], content=request["body"].encode()
                )
            )
    return answers


async def test_every_call_becomes_its_touchpoint(ingest, requests):
    answers = await send(ingest, requests)
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {"success": True})] * len(requests)
    calls = [call for request in requests for call in json.loads(request["body"])["batch"]]
    stored = ingest.touchpoints()
    assert [touchpoint["type"] for touchpoint in stored] == [
        "purchased", "page_viewed", "identified", "page_viewed", "screen_viewed", "group_joined", "aliased"
    ]  # fmt: skip
    assert [touchpoint["id"] for touchpoint in stored] == [call["messageId"] for call in calls]
    assert [touchpoint["occurred_at"] for touchpoint in stored] == [
        to_wire(datetime.fromisoformat(call["timestamp"])) for call in calls
    ]
    purchase, view, who, page, screen, group, alias = stored
    assert purchase["properties"] == {"total": 12.5, "event_name": "Order Completed"}
    assert view["anonymous_id"] == "anon1"
    assert (who["customer_id"], who["anonymous_id"], who["email"]) == ("u1", "anon1", "ada@example.org")
    assert (page["properties"]["name"], page["properties"]["category"]) == ("Home", "Docs")
    assert screen["properties"]["name"] == "Settings"
    assert (group["properties"]["group_id"], group["properties"]["name"]) == ("g1", "Acme")
    assert (alias["customer_id"], alias["anonymous_id"]) == ("u1", "old")
    assert {touchpoint["source"] for touchpoint in stored} == {"tracker"}


async def test_what_it_sends_again_is_stored_under_the_same_ids(ingest, requests):
    await send(ingest, requests)
    await send(ingest, requests)
    ids = [touchpoint["id"] for touchpoint in ingest.touchpoints()]
    assert ids[: len(ids) // 2] == ids[len(ids) // 2 :]


async def test_it_is_told_to_come_back_in_a_way_that_it_follows(ingest, requests):
    """It waits for a 429 with whole seconds in Retry-After, tries 5xx again, and gives up on any other 4xx."""
    ingest.publisher.go_away()
    for answer in await send(ingest, requests):
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
    ingest.publisher.come_back()
    assert ingest.touchpoints() == []
