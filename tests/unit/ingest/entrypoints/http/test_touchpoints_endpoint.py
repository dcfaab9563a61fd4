"""``POST /v1/touchpoints``, with a log in memory."""

import asyncio
import gzip
import uuid
from collections.abc import AsyncIterator

import orjson
import pytest


async def test_one_touchpoint_is_accepted_once_the_log_has_it(ingest, touchpoint):
    response = await ingest.post(touchpoint(id="a"))
    assert response.status_code == 202
    assert response.json() == {
        "accepted": 1,
        "rejected": 0,
        "results": [{"index": 0, "id": "a", "status": "accepted", "error": None}],
    }
    assert [stored["id"] for stored in ingest.touchpoints()] == ["a"]


async def test_an_array_is_judged_item_by_item(ingest, touchpoint):
    items = [touchpoint(id=str(number)) for number in range(1000)]
    for bad in (3, 500, 999):
        items[bad]["occurred_at"] = "soon"
    response = await ingest.post(items)
    assert response.status_code == 202
    answer = response.json()
    assert (answer["accepted"], answer["rejected"]) == (997, 3)
    assert [r["index"] for r in answer["results"] if r["status"] == "rejected"] == [3, 500, 999]
    assert [r["index"] for r in answer["results"]] == list(range(1000))
    assert len(ingest.touchpoints()) == 997


async def test_lines_are_judged_line_by_line(ingest, touchpoint):
    body = orjson.dumps(touchpoint()) + b"\nbroken\n\n" + orjson.dumps(touchpoint())
    response = await ingest.post(body, content_type="application/x-ndjson")
    assert (response.json()["accepted"], response.json()["rejected"]) == (2, 1)


async def test_when_everything_is_bad_the_answer_is_422_with_results(ingest, touchpoint):
    response = await ingest.post([touchpoint(type=...), {}])
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["accepted"] == 0
    assert [r["status"] for r in response.json()["results"]] == ["rejected", "rejected"]
    assert ingest.touchpoints() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 422), (b"", 422), (b"[]", 422), (b"7", 422), (b"[" * 5000, 422), (b"x" * 1_000_001, 413), (b"\xff", 422)],
)
async def test_a_body_that_makes_no_sense_is_a_problem_and_never_an_error_of_ours(ingest, body, status):
    response = await ingest.post(body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= response.json().keys()


async def test_more_bytes_than_allowed_are_refused_without_a_length_too(ingest):
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 100_000

    headers = {"authorization": "Bearer key-of-shop", "content-type": "application/json"}
    response = await ingest.client.post("/v1/touchpoints", content=endless(), headers=headers)
    assert response.status_code == 413
    assert "1000000 bytes" in response.json()["detail"]


async def test_more_items_than_allowed_are_refused(ingest):
    response = await ingest.post(b"[" + b"1," * 10_000 + b"1]")
    assert response.status_code == 413


async def test_a_compressed_body_is_read_and_a_bomb_is_not(ingest, touchpoint):
    response = await ingest.post(gzip.compress(orjson.dumps(touchpoint())), content_encoding="gzip")
    assert response.status_code == 202
    assert (await ingest.post(gzip.compress(b" " * 20_000_000), content_encoding="gzip")).status_code == 413
    assert (await ingest.post(b"{}", content_encoding="br")).status_code == 415


async def test_other_media_types_are_415(ingest, touchpoint):
    assert (await ingest.post(touchpoint(), content_type="text/xml")).status_code == 415


@pytest.mark.parametrize("key", [None, "nobody", "page", "tracker"])
async def test_without_a_key_that_opens_this_door_it_stays_shut(ingest, touchpoint, key):
    response = await ingest.post(touchpoint(), key=key)
    assert response.status_code == 401
    assert "www-authenticate" in response.headers
    assert ingest.touchpoints() == []


async def test_basic_authentication_works_with_the_key_as_the_user(ingest, touchpoint):
    response = await ingest.client.post("/v1/touchpoints", json=touchpoint(), auth=("key-of-shop", ""))
    assert response.status_code == 202


async def test_validate_only_says_what_would_happen_and_accepts_nothing(ingest, touchpoint):
    response = await ingest.post([touchpoint(id="a"), {}], path="/v1/touchpoints?validate_only=true")
    assert response.status_code == 200
    assert (response.json()["accepted"], response.json()["rejected"]) == (1, 1)
    assert ingest.touchpoints() == []
    assert (await ingest.post({}, path="/v1/touchpoints?validate_only=1")).status_code == 422
    assert (await ingest.post({}, path="/v1/touchpoints?validate_only=maybe")).status_code == 422


async def test_the_same_idempotency_key_mints_the_same_ids(ingest, touchpoint):
    first = (await ingest.post([touchpoint(), touchpoint()], idempotency_key="k")).json()
    again = (await ingest.post([touchpoint(), touchpoint()], idempotency_key="k")).json()
    assert first == again
    assert first["results"][0]["id"] != first["results"][1]["id"]
    assert (await ingest.post(touchpoint(), idempotency_key="x" * 300)).status_code == 422


async def test_stages_are_set_only_by_sources_that_may(ingest, touchpoint):
    move = touchpoint(type="stage_set", properties={"lifecycle": "service-cycle", "stage": "reach"})
    assert (await ingest.post(move)).status_code == 422
    assert (await ingest.post(move, key="staff")).status_code == 202


async def test_a_source_is_held_to_its_types_and_its_size(ingest, touchpoint):
    assert (await ingest.post(touchpoint(), key="few")).status_code == 422
    assert (await ingest.post(touchpoint(type="purchased"), key="few")).status_code == 202
    large = touchpoint(type="purchased", properties={"text": "x" * 2000})
    assert (await ingest.post(large, key="few")).status_code == 413


async def test_beyond_its_rate_a_source_is_told_when_to_come_back_and_others_are_not_held_up(ingest, touchpoint):
    assert (await ingest.post([touchpoint()] * 5, key="slow")).status_code == 202
    refused = await ingest.post(touchpoint(), key="slow")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 90
    assert (await ingest.post(touchpoint())).status_code == 202


async def test_beyond_its_rate_nothing_of_a_sources_body_is_read(ingest, touchpoint):
    assert (await ingest.post([touchpoint()] * 5, key="slow")).status_code == 202
    assert (await ingest.post(b"[" * 100_000, key="slow")).status_code == 429


async def refused_at_last(send):
    """The first answer 429. The limit is per minute: what a slow machine does not use up in time comes back."""
    for _ in range(3000):
        if (answer := await send()).status_code == 429:
            return answer
        assert answer.status_code == 401
    raise AssertionError("never refused")


async def test_an_address_that_keeps_trying_wrong_keys_is_told_to_wait_and_a_right_key_still_opens(ingest, touchpoint):
    answers = [await ingest.post(touchpoint(), key="nobody") for _ in range(300)]
    assert {answer.status_code for answer in answers} == {401}
    limited = await refused_at_last(lambda: ingest.post(touchpoint(), key="nobody"))
    assert int(limited.headers["retry-after"]) > 0
    await refused_at_last(lambda: ingest.client.post("/v1/webhooks/hooks", content=b"{}", headers={"webhook-id": "m"}))
    assert (await ingest.post(touchpoint())).status_code == 202
    body_key = {"userId": "u", "event": "x", "writeKey": "key-of-tracker"}
    assert (await ingest.client.post("/v1/track", json=body_key)).status_code == 200


async def test_what_the_log_does_not_acknowledge_is_503_with_the_ids_to_send_again(ingest, touchpoint):
    ingest.publisher.go_away()
    response = await ingest.post([touchpoint(), {}, touchpoint()])
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    results = response.json()["results"]
    assert [r["status"] for r in results] == ["unacknowledged", "rejected", "unacknowledged"]
    assert response.json()["accepted"] == 0
    ingest.publisher.come_back()
    resent = [touchpoint(id=r["id"]) for r in results if r["id"]]
    assert (await ingest.post(resent)).json()["accepted"] == 2
    assert [stored["id"] for stored in ingest.touchpoints()] == [r["id"] for r in results if r["id"]]


async def test_it_is_ready_only_while_the_log_answers(ingest):
    assert (await ingest.client.get("/readyz")).status_code == 200
    ingest.publisher.go_away()
    assert (await ingest.client.get("/readyz")).status_code == 503
    assert (await ingest.client.get("/healthz")).status_code == 200


async def test_a_sender_that_dawdles_is_answered_408(ingest):
    never = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"["
        await never.wait()

    headers = {"authorization": "Bearer key-of-shop", "content-type": "application/json"}
    response = await ingest.client.post("/v1/touchpoints", content=slow(), headers=headers)
    assert response.status_code == 408
    assert response.headers["connection"] == "close"


async def test_a_changed_sources_file_is_taken_up_and_a_bad_one_is_not(ingest, touchpoint):
    text = ingest.sources_file.read_text()
    ingest.sources_file.write_text(text.replace("name: shop", "name: boutique"))
    assert ingest.watch.check()
    assert (await ingest.post(touchpoint())).status_code == 202
    assert ingest.touchpoints()[-1]["source"] == "boutique"
    ingest.sources_file.write_text("sources: [")
    assert not ingest.watch.check()
    assert (await ingest.post(touchpoint())).status_code == 202
    assert "touchline_ingest_sources_file_bad 1.0" in (await ingest.client.get("/metrics")).text
    ingest.sources_file.unlink()
    assert not ingest.watch.check()
    assert (await ingest.post(touchpoint())).status_code == 202


async def test_what_happened_is_counted(ingest, touchpoint):
    await ingest.post([touchpoint(), {}])
    text = (await ingest.client.get("/metrics")).text
    for outcome in ("accepted", "rejected"):
        assert f'touchpoints_total{{door="touchpoints",outcome="{outcome}",source="shop"}} 1.0' in text
    assert 'touchline_ingest_requests_total{door="touchpoints",status="202"} 1.0' in text


async def test_items_without_an_id_get_uuid7s_that_rise_with_their_index(ingest, touchpoint):
    answer = await ingest.post([touchpoint() for _ in range(500)])
    ids = [uuid.UUID(result["id"]) for result in answer.json()["results"]]
    assert {(one.version, one.variant) for one in ids} == {(7, uuid.RFC_4122)}
    assert ids == sorted(set(ids))
    assert [str(one) for one in ids] == [sent["id"] for sent in ingest.touchpoints()]
