"""The kind: what somebody without a key sends is bounded, in number and in bytes, and is not parsed."""

import asyncio
import gzip
import sys
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from starlette.requests import Request
from touchline_ingest.application.body_budget import BodyBudget, BodyReservation
from touchline_ingest.application.ports import Overloaded
from touchline_ingest.core.touchpoints import decoding
from touchline_ingest.entrypoints.http.request_reader import MAX_UNPROVEN_DECOMPRESSED_BYTES

HOOKS = """
  - {name: mailer, kind: sendgrid, secret: {value: MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==}}
  - {name: pay, kind: stripe, secret: {value: whsec_test}}
  - {name: crm, kind: hubspot, secret: {value: app-secret}}
  - {name: post, kind: postmark, secret: {value: "user:password"}}
  - {name: deals, kind: pipedrive, secret: {value: "user:password"}}
  - {name: force, kind: salesforce, secret: {value: a-long-secret}}
"""  # noqa: E501  (a key as it is published)


def request() -> Request:
    return Request({"type": "http", "headers": []})


async def unread() -> AsyncIterator[bytes]:
    """A body that must not be asked for."""
    for _ in range(1):
        raise AssertionError("the body was read")
    yield b""


@pytest.mark.parametrize("name", ["hooks", "mailer", "pay", "crm", "post", "deals", "force"])
async def test_a_webhook_that_its_headers_prove_wrong_is_refused_unread(ingest: Any, name: str) -> None:
    ingest.sources_file.write_text(ingest.sources_file.read_text() + HOOKS)
    assert ingest.watch.check()

    answer = await ingest.client.post(f"/v1/webhooks/{name}", content=unread())
    assert answer.status_code == 401
    assert answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/touchpoints", "/v1/cloudevents", "/v1/beacon", "/v1/beacon?key=wrong"])
@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic Og=="])
async def test_no_body_is_read_for_a_wrong_key(ingest: Any, path: str, authorization: str | None) -> None:
    headers = {"authorization": authorization} if authorization else {}
    answer = await ingest.client.post(path, content=unread(), headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize("key", [None, "wrong", "wr\\u006fng"])
async def test_a_body_with_a_wrong_key_in_it_is_not_parsed(
    ingest: Any, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    def parsed(_: bytes) -> Any:
        raise AssertionError("it was parsed")

    monkeypatch.setattr(orjson, "loads", parsed)
    written = b"" if key is None else b'"writeKey": "' + key.encode() + b'", '
    body = b"{" + written + b'"type": "track", "x": ' + b"[" * 1000 + b"]" * 1000 + b"}"
    answer = await ingest.post(body, key=None, path="/v1/track")
    assert answer.status_code == 401


@pytest.mark.parametrize("call", ["track", "batch"])
async def test_a_right_key_in_the_body_still_opens(ingest: Any, call: str) -> None:
    event = {"type": "track", "event": "Signed Up", "userId": "c-1", "messageId": "m-1"}
    body = {"writeKey": "key-of-tracker", **({"batch": [event]} if call == "batch" else event)}
    assert (await ingest.post(body, key=None, path=f"/v1/{call}")).status_code == 200


async def test_a_key_that_is_not_the_bodys_own_opens_nothing(ingest: Any) -> None:
    body = {"type": "track", "event": "x", "userId": "c", "properties": {"writeKey": "key-of-tracker"}}
    assert (await ingest.post(body, key=None, path="/v1/track")).status_code == 401


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_body_held_open_costs_what_was_sent(encoding: str) -> None:
    decoder = decoding.BodyDecoder(encoding, 5_000_000)
    sent = gzip.compress(b"\0" * 4_000_000)[:-1]
    decoder.feed(sent)
    assert sum(sys.getsizeof(chunk) for chunk in decoder._chunks) < len(sent) + 100


SIGNED = {
    "mailer": {
        "x-twilio-email-event-webhook-signature": "MEUCIQ==",
        "x-twilio-email-event-webhook-timestamp": "1700000000",
    },
    "pay": {"stripe-signature": "t=1700000000,v1=00"},
    "crm": {"x-hubspot-signature-v3": "AAAA", "x-hubspot-request-timestamp": "1700000000000"},
}


@pytest.mark.parametrize("name", list(SIGNED))
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
async def test_little_of_a_compressed_body_is_decompressed_for_a_forged_signature(
    ingest: Any, monkeypatch: pytest.MonkeyPatch, name: str, encoding: str
) -> None:
    """Kind: work before proof. Signatures are over the decompressed bytes, so some of it can't be avoided."""
    ingest.sources_file.write_text(ingest.sources_file.read_text() + HOOKS)
    assert ingest.watch.check()
    allowed: list[int] = []
    inflate = decoding._inflated

    def noting(body: bytes, limit: int) -> bytes:
        allowed.append(limit)
        return inflate(body, limit)

    monkeypatch.setattr(decoding, "_inflated", noting)
    headers = SIGNED[name] | {"content-encoding": encoding}
    for size, status in ((4_900_000, 413), (900_000, 401)):
        answer = await ingest.client.post(f"/v1/webhooks/{name}", content=gzip.compress(b"\0" * size), headers=headers)
        assert answer.status_code == status
    assert allowed == [MAX_UNPROVEN_DECOMPRESSED_BYTES] * 2


def test_unproven_clients_have_a_share_and_the_others_the_rest() -> None:
    budget = BodyBudget(16_000_000, most_unproven=3)
    held = [BodyReservation(budget, proven=False) for _ in range(3)]
    with pytest.raises(Overloaded):
        BodyReservation(budget, proven=False)
    with pytest.raises(Overloaded):
        held[0].grow(2_000_000)
    held[0].release()
    known = BodyReservation(budget, proven=True)
    known.grow(13_000_000)
    held[1].prove()
    BodyReservation(budget, proven=False)
    for one in (*held, known):
        one.release()
    assert budget.unproven == 1
    assert budget.bytes == budget.unproven_bytes > 0


def test_what_is_decompressed_counts_until_the_answer() -> None:
    budget = BodyBudget(8_000_000)
    first, second = BodyReservation(budget, proven=True), BodyReservation(budget, proven=True)
    first.grow(5_000_000)
    with pytest.raises(Overloaded):
        second.grow(5_000_000)
    second.release()
    first.release()
    assert budget.bytes == 0


async def test_nothing_is_held_once_everybody_is_answered(ingest: Any, touchpoint: Any) -> None:
    budgets: list[BodyBudget] = []
    real = BodyReservation.release

    def noting(self: Any) -> None:
        real(self)
        budgets.append(self._budget)

    BodyReservation.release = noting  # type: ignore[method-assign]
    try:
        bodies = [orjson.dumps(touchpoint()), b"not json", gzip.compress(orjson.dumps([touchpoint()] * 50))]
        await asyncio.gather(
            *(ingest.post(body, **({"content_encoding": "gzip"} if n == 2 else {})) for n, body in enumerate(bodies))
        )
        await ingest.post(b"{}", key=None, path="/v1/track")
    finally:
        BodyReservation.release = real  # type: ignore[method-assign]
    assert len(budgets) == 4
    assert {(one.bytes, one.unproven, one.unproven_bytes) for one in budgets} == {(0, 0, 0)}
