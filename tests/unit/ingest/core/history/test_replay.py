"""What can be done with a dead letter."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from touchline_ingest.core.access.configured_sources import Sources
from touchline_ingest.core.access.keys import key_hash
from touchline_ingest.core.access.sources_file import read_sources
from touchline_ingest.core.history.dead_letter_replay import (
    CannotReplay,
    DeadLetter,
    Filter,
    PublishAgain,
    ReadAgain,
    plan,
)
from touchline_ingest.core.sources.interface import Understood
from touchline_ingest.core.sources.registry import build_registry
from touchline_ingest.core.touchpoints.records import Record, RequestOrigin, dead_letter_record
from touchline_schemas.events.dead_letters import dead_letter, kafka_origin

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REGISTRY = build_registry()


def dead_letter_of(record: Record, **fields: Any) -> DeadLetter:
    known: dict[str, Any] = {"partition": 1, "offset": 5, "at": NOW, "key": record.key, "value": record.value}
    return DeadLetter(**known | {"headers": tuple(record.headers)} | fields)


def dead_request(endpoint: str, source: str, body: bytes = b"{}", url: str | None = None, **headers: str) -> DeadLetter:
    origin = RequestOrigin(source, endpoint, url or f"https://in.example{endpoint}", "named")
    sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return dead_letter_of(dead_letter_record(body, sent, reason="not_understood", error="why", origin=origin))


@pytest.fixture
def sources() -> Sources:
    text = f"""
sources:
  - {{name: shop, kind: api, key_sha256: "{key_hash("k")}"}}
  - {{name: mail, kind: postmark, secret: {{value: "user:password"}}}}
"""
    return read_sources(text, registry=REGISTRY, read_secret=lambda how, name: "")


def planned(dead_letter: DeadLetter, sources: Sources) -> Any:
    return plan(dead_letter, sources=sources, registry=REGISTRY, prefix="touchline")


def test_a_record_of_the_touchpoints_topic_is_published_again_byte_for_byte(sources: Sources) -> None:
    original = [("ce_id", b"1"), ("ce_type", b"touchline.touchpoint")]
    origin = kafka_origin("touchline.touchpoints.v1", 3, 99)
    value, headers = dead_letter(b"poison", original, reason="r", error="e", origin=origin)
    again = planned(dead_letter_of(Record(b"c-1", value, headers)), sources)
    assert again == PublishAgain(Record(b"c-1", b"poison", original))


def test_a_record_of_another_topic_or_installation_is_not(sources: Sources) -> None:
    for topic in ("touchline.stage-changes.v1", "other.touchpoints.v1"):
        value, headers = dead_letter(b"x", [], reason="r", error="e", origin=kafka_origin(topic, 3, 99))
        assert isinstance(planned(dead_letter_of(Record(None, value, headers)), sources), CannotReplay)


def test_what_was_cut_is_not_replayed(sources: Sources) -> None:
    dead_letter = dead_request("/v1/track", "shop", b"x" * 1_000_000)
    assert "cut" in planned(dead_letter, sources).reason


def test_a_request_is_read_again_by_its_source_as_of_when_it_came_in(sources: Sources) -> None:
    body = b'{"event":"Order Completed","userId":"u"}'
    again = planned(dead_request("/v1/track", "shop", body, content_type="application/json"), sources)
    assert isinstance(again, ReadAgain)
    assert (again.source.kind, again.named_by, again.received_at) == ("segment", "named", NOW)
    assert again.request.headers == {"content-type": "application/json"}
    reading = again.source.read(again.request, again.config, NOW)
    assert isinstance(reading, Understood)
    assert reading.touchpoints[0]["type"] == "purchased"


def test_credentials_are_not_kept_and_a_replay_needs_none_of_them(sources: Sources) -> None:
    dead_letter = dead_request(
        "/v1/webhooks/mail",
        "mail",
        b'{"RecordType":"Nonsense"}',
        url="https://in.example/v1/webhooks/mail?token=user:password&a=1",
        authorization="Basic dXNlcjpwYXNzd29yZA==",
        cookie="session=1",
    )
    assert b"password" not in b"".join(value for _, value in dead_letter.headers)
    assert not {"authorization", "cookie"} & {name for name, _ in dead_letter.headers}
    again = planned(dead_letter, sources)
    assert isinstance(again.source.read(again.request, again.config, NOW), Understood)


def test_a_source_that_is_gone_is_named(sources: Sources) -> None:
    assert "'gone'" in planned(dead_request("/v1/track", "gone"), sources).reason


def test_filters_choose_exactly_what_they_say() -> None:
    dead_letter = dead_request("/v1/webhooks/mail", "mail")
    assert Filter().matches_all
    chosen = [
        Filter(ids=frozenset({"1/5"})),
        Filter(reason="not_understood", source="mail", origin="/v1/webhooks"),
        Filter(since=NOW, until=NOW + timedelta(seconds=1)),
    ]
    others = [
        Filter(ids=frozenset({"1/6"})),
        Filter(reason="invalid_touchpoint"),
        Filter(source="shop"),
        Filter(origin="/v1/track"),
        Filter(until=NOW),
        Filter(since=NOW + timedelta(seconds=1)),
    ]
    assert all(which.matches(dead_letter) for which in chosen)
    assert not any(which.matches(dead_letter) for which in others)
    assert not any(which.matches_all for which in chosen + others)
