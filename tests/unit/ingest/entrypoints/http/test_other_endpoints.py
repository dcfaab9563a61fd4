"""Segment, CloudEvents, webhooks, beacon, pixel and script, with a log in memory."""

import base64
import hashlib
import hmac
import time
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from touchline_schemas.times import to_wire

SECRET = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def signed(body: bytes, message_id: str = "m1") -> dict[str, str]:
    moment = str(int(time.time()))
    digest = hmac.new(SECRET, f"{message_id}.{moment}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {"webhook-id": message_id, "webhook-timestamp": moment, "webhook-signature": signature}


def letters(ingest):
    return [(record.value, dict(record.headers)) for record in ingest.publisher.published["dead-letters"]]


async def test_segments_calls_become_touchpoints(ingest):
    call = {"userId": "u", "event": "Order Completed", "messageId": "m", "timestamp": "2026-03-01T12:00:00Z"}
    response = await ingest.client.post("/v1/track", json=call, auth=("key-of-tracker", ""))
    assert (response.status_code, response.json()) == (200, {"success": True})
    (stored,) = ingest.touchpoints()
    assert (stored["type"], stored["id"], stored["source"]) == ("purchased", "m", "tracker")


async def test_segments_key_may_be_in_the_body(ingest):
    call = {"userId": "u", "event": "x", "writeKey": "key-of-shop"}
    assert (await ingest.client.post("/v1/track", json=call)).status_code == 200
    assert (await ingest.client.post("/v1/track", json=call | {"writeKey": "no"})).status_code == 401
    assert (await ingest.client.post("/v1/track", content=b"{")).status_code == 401


async def test_for_a_key_in_the_body_no_more_is_read_than_a_batch_may_hold(ingest):
    large = b'{"writeKey":"no","x":"' + b"a" * 600_000
    assert (await ingest.client.post("/v1/track", content=large)).status_code == 413


async def test_what_segment_sends_and_nobody_understands_is_kept_with_its_bytes(ingest):
    batch = {"batch": [{"type": "track", "event": "x", "userId": "u"}, {"type": "nonsense"}]}
    response = await ingest.client.post("/v1/batch", json=batch, auth=("key-of-tracker", ""))
    assert response.status_code == 200
    assert len(ingest.touchpoints()) == 1
    ((body, headers),) = letters(ingest)
    assert orjson.loads(body) == batch
    assert headers["reason"] == b"not_understood"
    assert headers["origin"] == b"/v1/batch"
    assert b"nonsense" in headers["error"]
    assert headers["touchline-source"] == b"tracker"
    assert "authorization" not in headers


async def test_a_touchpoint_that_breaks_a_rule_is_kept_too(ingest):
    call = {"userId": "x" * 1000, "event": "x"}
    assert (await ingest.client.post("/v1/track", json=call, auth=("key-of-tracker", ""))).status_code == 200
    ((_, headers),) = letters(ingest)
    assert headers["reason"] == b"invalid_touchpoint"


async def test_nothing_is_called_a_success_while_the_log_is_away(ingest):
    ingest.publisher.go_away()
    for call in ({"userId": "u", "event": "x"}, {"type": "nobody"}):
        response = await ingest.client.post("/v1/track", json=call, auth=("key-of-tracker", ""))
        assert response.status_code == 503
        assert "retry-after" in response.headers


async def test_cloud_events_get_results_for_each_event(ingest):
    good = {"specversion": "1.0", "id": "1", "source": "/s", "type": "purchased", "subject": "c-9"}
    response = await ingest.post(
        [good, {"id": "2"}], path="/v1/cloudevents", content_type="application/cloudevents-batch+json"
    )
    assert response.status_code == 202
    assert [r["status"] for r in response.json()["results"]] == ["accepted", "rejected"]
    assert len(letters(ingest)) == 1
    alone = await ingest.post({"id": "2"}, path="/v1/cloudevents", content_type="application/cloudevents+json")
    assert alone.status_code == 422
    assert len(letters(ingest)) == 1


async def test_an_empty_batch_of_cloud_events_is_fine(ingest):
    response = await ingest.post([], path="/v1/cloudevents", content_type="application/cloudevents-batch+json")
    assert response.status_code == 200


async def test_a_signed_webhook_is_taken_and_the_same_delivery_again_has_the_same_ids(ingest, touchpoint):
    body = orjson.dumps(touchpoint())
    for _ in range(2):
        response = await ingest.client.post("/v1/webhooks/hooks", content=body, headers=signed(body))
        assert response.status_code == 200
    first, second = ingest.touchpoints()
    assert first["id"] == second["id"]
    assert first["source"] == "hooks"


async def test_a_tampered_webhook_is_401_and_leaves_nothing(ingest, touchpoint):
    body = orjson.dumps(touchpoint())
    response = await ingest.client.post("/v1/webhooks/hooks", content=body + b" ", headers=signed(body))
    assert response.status_code == 401
    assert ingest.touchpoints() == []
    assert letters(ingest) == []


async def test_a_genuine_webhook_nobody_understands_is_kept_and_answered_with_success(ingest):
    body = b"what is this"
    response = await ingest.client.post("/v1/webhooks/hooks", content=body, headers=signed(body))
    assert response.status_code == 200
    ((kept, headers),) = letters(ingest)
    assert kept == body
    assert headers["webhook-id"] == b"m1"


@pytest.mark.parametrize("name", ["nobody", "shop", "..%2Fx"])
async def test_only_sources_that_sign_take_webhooks(ingest, name):
    assert (await ingest.client.post(f"/v1/webhooks/{name}", content=b"{}")).status_code == 404


async def test_a_beacon_from_an_allowed_page_is_taken_and_the_page_may_read_the_answer(ingest, touchpoint):
    response = await ingest.post(
        {"touchpoints": [touchpoint(id="a")]},
        path="/v1/beacon?key=key-of-page",
        key=None,
        content_type="text/plain",
        origin="https://shop.example",
    )
    assert response.status_code == 202
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    assert ingest.touchpoints()[0]["source"] == "page"


async def test_a_beacon_from_elsewhere_is_refused(ingest, touchpoint):
    response = await ingest.post(
        touchpoint(), path="/v1/beacon?key=key-of-page", key=None, origin="https://evil.example"
    )
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers
    assert ingest.touchpoints() == []


async def test_a_page_may_read_a_refusal_too(ingest):
    response = await ingest.post(b"{", path="/v1/beacon?key=key-of-page", key=None, origin="https://shop.example")
    assert response.status_code == 422
    assert response.headers["access-control-allow-origin"] == "https://shop.example"


async def test_a_browser_that_asks_first_is_answered_by_its_origin(ingest):
    async def ask(origin: str) -> int:
        response = await ingest.client.options("/v1/beacon?key=key-of-page", headers={"origin": origin})
        return int(response.status_code)

    assert await ask("https://shop.example") == 204
    assert await ask("https://evil.example") == 403


async def test_a_browsers_wrong_clock_is_corrected_for(ingest, touchpoint):
    wrong = datetime.now(UTC) + timedelta(days=2)
    body = {"sent_at": to_wire(wrong), "touchpoints": [touchpoint(occurred_at=to_wire(wrong - timedelta(seconds=10)))]}
    assert (await ingest.post(body, path="/v1/beacon?key=key-of-page", key=None)).status_code == 202
    happened = datetime.fromisoformat(ingest.touchpoints()[0]["occurred_at"])
    assert abs(datetime.now(UTC) - timedelta(seconds=10) - happened) < timedelta(seconds=30)


async def test_a_crawlers_anonymous_view_is_a_machines_and_what_a_program_posts_is_not(ingest, touchpoint):
    visitor = {"customer_id": ..., "anonymous_id": "a1"}
    for agent, fields in (
        ("Mozilla/5.0 (compatible; Googlebot/2.1)", visitor),
        ("python-httpx/0.28", visitor),
        ("Mozilla/5.0 (compatible; Googlebot/2.1)", {}),
        ("Mozilla/5.0 (compatible; Googlebot/2.1)", visitor | {"type": "unsubscribed"}),
    ):
        # The key of a server, for a public one reports no consent.
        await ingest.post(touchpoint(**fields), path="/v1/beacon?key=key-of-shop", key=None, user_agent=agent)
    assert [stored["machine"] for stored in ingest.touchpoints()] == [True, False, False, False]


async def test_a_scanner_that_asks_for_the_pixels_head_has_opened_nothing(ingest):
    for query in ("key=key-of-web&type=email_opened&email=ada@example.org", "key=no&type=email_opened"):
        response = await ingest.client.head(f"/v1/pixel.gif?{query}")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-type"] == "image/gif"
    assert "touchpoints" not in ingest.publisher.published


async def test_the_pixel_takes_fields_as_parameters_and_is_always_an_image(ingest):
    query = "key=key-of-page&type=email_opened&customer_id=c-7&campaign=spring&occurred_at=2026-03-01T12:00:00Z"
    response = await ingest.client.get(f"/v1/pixel.gif?{query}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/gif"
    assert response.content[:6] == b"GIF89a"
    (stored,) = ingest.touchpoints()
    assert (stored["customer_id"], stored["channel"], stored["properties"]) == ("c-7", "email", {"campaign": "spring"})
    for query, status in (("key=no&type=x", 401), ("key=key-of-page&type=email_opened", 422)):
        response = await ingest.client.get(f"/v1/pixel.gif?{query}")
        assert (response.status_code, response.headers["content-type"]) == (status, "image/gif")
        assert response.headers["touchline-problem"]


async def test_the_script_is_served_small_and_cached(ingest):
    response = await ingest.client.get("/v1/touchline.js")
    assert response.headers["content-type"].startswith("text/javascript")
    assert len(response.content) < 12_000
    again = await ingest.client.get("/v1/touchline.js", headers={"if-none-match": response.headers["etag"]})
    assert again.status_code == 304


async def test_the_api_page_lists_every_door(ingest):
    document = (await ingest.client.get("/openapi.json")).json()
    doors = {"touchpoints", "track", "batch", "identify", "alias", "cloudevents", "beacon", "pixel.gif", "touchline.js"}
    assert {f"/v1/{door}" for door in doors} | {"/v1/webhooks/{source}"} <= set(document["paths"])
    assert (await ingest.client.get("/docs")).status_code == 200
