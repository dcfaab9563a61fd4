"""The stream of facts: live, taken up again without loss, ended at once."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx
import pytest

from tests.support.engine.api import ApiWorld, touchpoint

pytestmark = pytest.mark.stack


class Event(NamedTuple):
    id: str
    type: str
    data: dict[str, Any]


def events(lines: Iterator[str]) -> Iterator[Event]:
    """The events among a stream's lines."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if not line and found:
            yield Event(found["id"], found["event"], json.loads(found["data"]))
            found = {}
        elif name:
            found[name] = value


@contextmanager
def following(url: str, headers: dict[str, str] | None = None, **parameters: str) -> Iterator[Iterator[str]]:
    """A stream's lines, once it follows."""
    with httpx.stream(
        "GET", f"{url}/v1/stage-changes/stream", params=parameters, headers=headers, timeout=180, trust_env=False
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == ": follows"
        yield lines


def enter(api: ApiWorld, name: str) -> None:
    api.post([touchpoint(f"{name}-{time.monotonic_ns()}", datetime.now(UTC), customer_id=name)])


def test_facts_arrive_while_they_happen_and_of_the_lifecycle_asked_for(api: ApiWorld) -> None:
    with following(api.engine.url, lifecycle="service-cycle") as lines:
        enter(api, "live-1")
        published = next(events(lines))
    assert published.type == "touchline.stage-changed"
    assert (published.data["customer_id"], published.data["lifecycle"], published.data["move"]) == (
        "live-1",
        "service-cycle",
        "enter",
    )


def test_a_stream_is_taken_up_again_without_loss_or_repeats(api: ApiWorld) -> None:
    ids: list[str] = []
    with following(api.engine.url, lifecycle="service-cycle") as lines:
        enter(api, "again-1")
        first = next(events(lines))
    for number in range(2, 8):
        enter(api, f"again-{number}")
    with following(api.engine.url, {"Last-Event-ID": first.id}, lifecycle="service-cycle") as lines:
        for event in events(lines):
            ids.append(event.data["customer_id"])
            if len(ids) == 6:
                break
    assert sorted([first.data["customer_id"], *ids]) == [f"again-{number}" for number in range(1, 8)]


def test_from_the_beginning_it_tells_everything_of_a_customer_in_order(api: ApiWorld) -> None:
    history = api.get("/v1/customers/c-3/history", lifecycle="service-cycle", limit=1000)["items"]
    published: list[Event] = []
    with following(api.engine.url, since="beginning", lifecycle="service-cycle", customer_id="c-3") as lines:
        for event in events(lines):
            if event.type == "touchline.stage-changed":
                published.append(event)
            if len(published) >= len(history):
                break
    assert [event.data["sequence"] for event in published] == list(range(1, len(published) + 1))
    assert published[-1].data["to_stage"] == history[-1]["to_stage"]


def test_a_place_that_no_stream_named_is_the_callers_mistake(api: ApiWorld) -> None:
    for index in ("garbage", "0", "0:1:2", "-1:0", "0:-1", "9" * 5000 + ":1"):
        answer = httpx.get(
            f"{api.engine.url}/v1/stage-changes/stream", headers={"Last-Event-ID": index}, timeout=60, trust_env=False
        )
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), index


def test_an_open_stream_does_not_hold_up_the_end(api: ApiWorld) -> None:
    service = api.serve("ends")
    service.start().wait_ready()
    with following(service.url) as lines:
        began = time.monotonic()
        assert service.terminate() == 0
        assert time.monotonic() - began < 20, "the shutdown's patience is 25 s: the stream did not end by itself"
        assert list(lines) == [""]
