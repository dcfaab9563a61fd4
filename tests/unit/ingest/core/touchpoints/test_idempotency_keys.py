"""The kind: one Idempotency-Key names one body; another body under it is refused, the same one gets the same answer."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_ingest.core.touchpoints.idempotency import IdempotencyKeys

ONE = {"type": "page_viewed", "customer_id": "c-1", "occurred_at": "2026-03-01T12:00:00Z"}
EVENT = {"specversion": "1.0", "id": "e-1", "source": "/s", "type": "page_viewed", "subject": "c-1"}
CALL = {"event": "Signed Up", "userId": "c-1"}
DOORS = {
    "/v1/touchpoints": (ONE, ONE | {"customer_id": "c-2"}, [ONE], ONE | {"properties": {"a": 1}}),
    "/v1/cloudevents": (EVENT, EVENT | {"subject": "c-2"}),
    "/v1/track": (CALL, CALL | {"userId": "c-2"}),
    "/v1/batch": ({"batch": [CALL | {"type": "track"}]}, {"batch": [CALL | {"type": "track"}] * 2}),
}


async def send(ingest: Any, path: str, body: Any, key: str = "k-1", **more: str) -> Any:
    kind = "application/cloudevents+json" if "cloudevents" in path else "application/json"
    return await ingest.post(body, path=path, content_type=kind, idempotency_key=key, **more)


@pytest.mark.parametrize("path", DOORS)
async def test_another_body_under_a_used_key_is_refused_and_the_same_is_answered_the_same(
    ingest: Any, path: str
) -> None:
    first, *others = DOORS[path]
    answer = await send(ingest, path, first)
    assert answer.is_success
    stored = len(ingest.touchpoints())
    again = await send(ingest, path, first)
    assert (again.status_code, again.content) == (answer.status_code, answer.content)
    ids = {touchpoint["id"] for touchpoint in ingest.touchpoints()}
    for other in others:
        refused = await send(ingest, path, other)
        assert refused.status_code == 422
        assert refused.json()["type"] == "/problems/idempotency-key-reused"
        assert (await send(ingest, path, other, key="k-2" + str(other))).is_success
    assert len(ids) == stored


async def test_a_key_is_its_sources_own(ingest: Any) -> None:
    assert (await send(ingest, "/v1/touchpoints", ONE)).is_success
    assert (await send(ingest, "/v1/touchpoints", ONE | {"customer_id": "c-9"})).status_code == 422
    other = await ingest.post(ONE | {"customer_id": "c-9"}, key="staff", idempotency_key="k-1")
    assert other.status_code == 202


@pytest.mark.parametrize("refused", [ONE | {"occurred_at": "yesterday"}, b"not json", [], ONE | {"type": ""}])
async def test_a_refused_body_leaves_its_key_free_for_a_corrected_one(ingest: Any, refused: Any) -> None:
    assert (await send(ingest, "/v1/touchpoints", refused)).status_code == 422
    assert (await send(ingest, "/v1/touchpoints", ONE)).status_code == 202


async def test_what_kafka_may_have_stored_keeps_its_key(ingest: Any) -> None:
    ingest.publisher.go_away()
    assert (await send(ingest, "/v1/touchpoints", ONE)).status_code == 503
    ingest.publisher.come_back()
    assert (await send(ingest, "/v1/touchpoints", ONE | {"customer_id": "c-2"})).status_code == 422
    assert (await send(ingest, "/v1/touchpoints", ONE)).status_code == 202


async def test_a_refused_repetition_does_not_free_the_key(ingest: Any) -> None:
    assert (await send(ingest, "/v1/touchpoints", ONE)).status_code == 202
    for _ in range(3):
        assert (await send(ingest, "/v1/touchpoints", ONE | {"customer_id": "c-2"})).status_code == 422


async def test_validating_alone_uses_no_key_up(ingest: Any) -> None:
    assert (await send(ingest, "/v1/touchpoints?validate_only=true", ONE)).status_code == 200
    assert (await send(ingest, "/v1/touchpoints", ONE | {"customer_id": "c-2"})).status_code == 202


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("kl"), st.binary(max_size=3)), max_size=30))
def test_a_key_holds_the_first_body_it_came_with(requests: list[tuple[str, str, bytes]]) -> None:
    keys, first = IdempotencyKeys(), dict[tuple[str, str], bytes]()
    for source, key, body in requests:
        assert keys.claim(source, key, body, 0.0) is (first.setdefault((source, key), body) == body)


def test_what_is_remembered_is_bounded_in_number_and_in_time() -> None:
    keys = IdempotencyKeys(most=3, keep_seconds=10)
    for number in range(5):
        assert keys.claim("s", str(number), orjson.dumps(number), number)
    assert len(keys) == 3
    assert not keys.claim("s", "4", b"other", 9)
    assert keys.claim("s", "4", b"other", 15)
