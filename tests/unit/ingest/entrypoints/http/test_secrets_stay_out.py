"""The kind: what opens a door reaches no topic and no log, wherever in a request it was sent."""

import base64
from typing import Any

import orjson
import pytest
from touchline_ingest.core.touchpoints.records import without_secrets

MORE = """
  - {name: post, kind: postmark, secret: {value: "post-user:post-password"}}
  - {name: force, kind: salesforce, secret: {value: force-secret-value}}
"""
BAD = {"type": "track", "userId": "c-1", "messageId": "m-1"}


def on_topics(ingest: Any) -> bytes:
    """Every byte of every record: key, value and headers."""
    return b"\n".join(
        b"".join([record.key or b"", record.value, *(name.encode() + value for name, value in record.headers)])
        for records in ingest.publisher.published.values()
        for record in records
    )


SENT: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "in the body": ({**BAD, "writeKey": "key-of-tracker"}, {}),
    "in the body of a batch": ({"batch": [BAD], "writeKey": "key-of-tracker"}, {}),
    "in every event too": ({"batch": [{**BAD, "writeKey": "key-of-tracker"}], "writeKey": "key-of-tracker"}, {}),
    "deep inside": ({**BAD, "context": {"app": {"note": "it is key-of-tracker"}}, "writeKey": "key-of-tracker"}, {}),
    "as Bearer": (BAD, {"authorization": "Bearer key-of-tracker"}),
    "as Basic": (BAD, {"authorization": "Basic " + base64.b64encode(b"key-of-tracker:").decode()}),
    "as Bearer and in the body": ({**BAD, "writeKey": "key-of-tracker"}, {"authorization": "Bearer key-of-tracker"}),
    "in other headers": (
        BAD,
        {"authorization": "Bearer key-of-tracker", "x-debug": "key-of-tracker"},
    ),
    "in the address": (BAD, {"authorization": "Bearer key-of-tracker", "query": "?writeKey=key-of-tracker&key=x"}),
}


@pytest.mark.parametrize("where", SENT)
async def test_a_write_key_is_kept_nowhere(ingest: Any, capsys: pytest.CaptureFixture[str], where: str) -> None:
    body, headers = SENT[where]
    headers = dict(headers)
    path = ("/v1/batch" if "batch" in body else "/v1/track") + headers.pop("query", "")
    answer = await ingest.client.post(path, content=orjson.dumps(body), headers=headers)
    assert answer.status_code == 200, answer.text
    (dead_letter,) = ingest.publisher.published["dead-letters"]
    assert b"key-of-tracker" not in on_topics(ingest)
    kept = orjson.loads(dead_letter.value)
    assert kept.get("userId", kept.get("batch")) is not None, "the rest stays readable"
    assert "key-of-tracker" not in "".join(capsys.readouterr())


async def test_credentials_of_webhooks_are_kept_nowhere(ingest: Any) -> None:
    ingest.sources_file.write_text(ingest.sources_file.read_text() + MORE)
    assert ingest.watch.check()
    basic = "Basic " + base64.b64encode(b"post-user:post-password").decode()
    body = orjson.dumps({"RecordType": "Unknown", "echo": "post-password"})
    headers = {"authorization": basic, "x-original-authorization": "post-user:post-password"}
    assert (await ingest.client.post("/v1/webhooks/post", content=body, headers=headers)).status_code == 200
    session = b"<a xmlns:s='u'><s:SessionId>00D-live-session</s:SessionId><SessionId>00D-live-session</SessionId></a>"
    answer = await ingest.client.post("/v1/webhooks/force?token=force-secret-value&x=1", content=session)
    assert answer.status_code == 200
    kept = on_topics(ingest)
    assert len(ingest.publisher.published["dead-letters"]) == 2
    for secret in (b"post-password", b"force-secret-value", b"00D-live-session", base64.b64encode(b"post-user:post")):
        assert secret not in kept
    assert b"x=1" in kept


@pytest.mark.parametrize(
    "value",
    ['"a"', '"a\\"b"', '"a\\\\"', '""', '"é"', '"' + "k" * 500 + '"'],
)
def test_a_field_is_emptied_and_what_is_around_it_is_not_touched(value: str) -> None:
    before, after = '{"x": [1, "writeKe"], ', ', "y": "z", "other": "writeKey"}'
    cleaned = without_secrets(f'{before}"writeKey" : {value}{after}'.encode()).decode()
    assert cleaned == f'{before}"writeKey" : "removed"{after}'
    orjson.loads(cleaned)
