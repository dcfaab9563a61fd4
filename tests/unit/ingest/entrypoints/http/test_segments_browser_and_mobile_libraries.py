"""What analytics.js sends from a page and the mobile libraries from a device, through the doors unchanged.

``sent_by_analytics_js/`` was recorded from the library in Chromium, told nothing but a write key and a host:
preflights, calls, and one retry after a 500. To record it again: serve the package's ``dist/umd`` and write down what
arrives. The mobile libraries' requests are written after ``HTTPClient.swift``, ``HTTPClient.kt`` and ``api.ts``.
"""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

RECORDED = {
    file.stem: json.loads(file.read_text())["requests"]
    for file in sorted((Path(__file__).parent / "sent_by_analytics_js").glob("*.json"))
}
HOP = {"host", "connection", "content-length", "accept-encoding"}


def kept(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in HOP}


@pytest.mark.parametrize("requests", RECORDED.values(), ids=RECORDED)
async def test_every_request_of_analytics_js_is_taken(ingest: Any, requests: list[dict[str, Any]]) -> None:
    calls: dict[str, dict[str, Any]] = {}
    for request in requests:
        sent = json.loads(request["body"]) if request["body"] else {}
        at = datetime.fromisoformat(sent["sentAt"]) if sent else datetime.now(UTC)
        with time_machine.travel(at + timedelta(seconds=0.1), tick=True):
            answer = await ingest.client.request(
                request["method"], request["path"], headers=kept(request["headers"]), content=request["body"].encode()
            )
        assert answer.headers["access-control-allow-origin"] == request["headers"]["origin"]
        if request["method"] == "OPTIONS":
            asked = {name.strip() for name in request["headers"]["access-control-request-headers"].split(",")}
            allowed = {name.strip() for name in answer.headers["access-control-allow-headers"].split(",")}
            assert answer.status_code == 204
            assert asked <= allowed
            assert "POST" in answer.headers["access-control-allow-methods"]
        else:
            assert (answer.status_code, answer.json()) == (200, {"success": True})
            for call in sent.get("batch", [sent]):
                calls[call["messageId"]] = call
    types = {stored["id"]: stored["type"] for stored in ingest.touchpoints()}
    assert set(types) == set(calls)
    assert list(types.values()) == [
        "page_viewed",
        "purchased",
        "identified",
        "group_joined",
        "screen_viewed",
        "aliased",
        "page_viewed",
    ]
    assert ingest.publisher.published["dead-letters"] == []
    assert {stored["source"] for stored in ingest.touchpoints()} == {"tracker"}
    assert not any(stored["machine"] for stored in ingest.touchpoints())


def test_the_retry_was_recorded() -> None:
    retries = [one["headers"].get("x-retry-count") for one in RECORDED["analytics-js-1.84.3"]]
    assert retries.count("1") == 1


def a_batch() -> bytes:
    event = {"type": "track", "event": "Order Completed", "userId": "u1", "anonymousId": "a1", "messageId": "m1",
             "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
             "properties": {"total": 3}, "context": {"library": {"name": "analytics-kotlin"}}}  # fmt: skip
    sent_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"batch": [event], "sentAt": sent_at, "writeKey": "key-of-tracker"}).encode()


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/json; charset=utf-8", "user-agent": "analytics-ios/1.7.3"},
        {"content-type": "text/plain", "content-encoding": "gzip", "user-agent": "analytics-kotlin/1.21.0"},
        {"content-type": "application/json; charset=utf-8", "x-retry-count": "3", "user-agent": "okhttp/4.12.0"},
    ],
    ids=["swift", "kotlin", "react-native"],
)
async def test_a_mobile_librarys_batch_is_taken(ingest: Any, headers: dict[str, str]) -> None:
    body = gzip.compress(a_batch()) if "content-encoding" in headers else a_batch()
    answer = await ingest.client.post("/v1/b", content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    (stored,) = ingest.touchpoints()
    assert (stored["id"], stored["type"], stored["customer_id"]) == ("m1", "purchased", "u1")


@pytest.mark.parametrize(
    ("short", "call", "type_name"),
    [
        ("t", {"event": "Order Completed"}, "purchased"),
        ("i", {"traits": {}}, "identified"),
        ("p", {}, "page_viewed"),
        ("s", {}, "screen_viewed"),
        ("g", {"groupId": "g"}, "group_joined"),
        ("a", {"previousId": "old"}, "aliased"),
    ],
)
async def test_short_paths_are_the_long_ones(ingest: Any, short: str, call: dict[str, Any], type_name: str) -> None:
    for body in (call, call | {"writeKey": "key-of-tracker"}):
        auth = None if "writeKey" in body else ("key-of-tracker", "")
        request = ingest.client.build_request(
            "POST", f"/v1/{short}", content=json.dumps({"userId": "u1"} | body), headers={"content-type": "text/plain"}
        )
        assert (await ingest.client.send(request, auth=auth)).status_code == 200
    assert [stored["type"] for stored in ingest.touchpoints()] == [type_name] * 2


@pytest.mark.parametrize(
    "asked", ["x-retry-count", "authorization,x-retry-count", "X-My-Own, content-type", "", "bad name"]
)
async def test_a_preflight_allows_what_a_page_sends(ingest: Any, asked: str) -> None:
    headers = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    headers |= {"access-control-request-headers": asked} if asked else {}
    answer = await ingest.client.options("/v1/t", headers=headers)
    allowed = {name.strip() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {"authorization", "content-type", "x-retry-count"} <= allowed
    assert {name.strip().lower() for name in asked.split(",") if name and " " not in name.strip()} <= allowed
    assert "bad name" not in allowed
