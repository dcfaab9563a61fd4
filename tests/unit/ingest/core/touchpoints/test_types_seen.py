"""The kind: a type that nothing knows is accepted, and leaves a trace that somebody finds."""

from typing import Any

import pytest
from touchline_ingest.core.touchpoints.types_seen import TypesSeen
from touchline_schemas.near_misses import near_miss
from touchline_schemas.touchpoint_types import STANDARD_TYPES


@pytest.mark.parametrize(
    ("written", "meant"),
    [("signd_up", "signed_up"), ("page_veiwed", "page_viewed"), ("Purchased", "purchased"),
     ("demo-booked", "demo_booked"), ("refundedd", "refunded"), ("unsubscribd", "unsubscribed"),
     ("identifed", "identified"), ("email_open", "email_opened")],
)  # fmt: skip
async def test_a_near_miss_is_warned_about_in_the_answer_and_listed(
    ingest: Any, touchpoint: Any, written: str, meant: str
) -> None:
    answer = await ingest.post([touchpoint(type=written), touchpoint(type="page_viewed")])
    assert answer.status_code == 202
    assert answer.json()["warnings"] == [{"type": written, "did_you_mean": meant}]
    items = {one["type"]: one for one in (await ingest.client.get("/v1/types")).json()["items"]}
    assert items[written]["did_you_mean"] == meant
    assert items[written]["standard"] is False
    assert (items["page_viewed"]["standard"], items["page_viewed"]["did_you_mean"]) == (True, None)


@pytest.mark.parametrize(
    "name", [*STANDARD_TYPES, "stage_set", "identified", "onboarding_call", "kaffee_getrunken", "x"]
)
def test_a_standard_type_and_a_name_of_ones_own_are_no_misses(name: str) -> None:
    assert near_miss(name) is None


async def test_types_are_listed_by_source_and_page(ingest: Any, touchpoint: Any) -> None:
    for key, kind in (("shop", "a_type"), ("shop", "b_type"), ("staff", "a_type"), ("shop", "a_type")):
        answer = await ingest.post(touchpoint(type=kind), key=key)
        assert "warnings" not in answer.json()
    await ingest.post(touchpoint(type="!"), key="shop")
    call = {"event": "???", "userId": "c-1"}
    await ingest.post(call, key="tracker", path="/v1/track")
    found: list[tuple[str, str, int]] = []
    cursor: str | None = None
    while True:
        query = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = (await ingest.client.get("/v1/types", params=query)).json()
        found += [(one["source"], one["type"], one["count"]) for one in page["items"]]
        assert all(one["first_at"] <= one["last_at"] for one in page["items"])
        cursor = page["next"]
        if cursor is None:
            break
    assert found[:3] == [("shop", "a_type", 2), ("shop", "b_type", 1), ("staff", "a_type", 1)]
    assert found[3][0] == "tracker"
    only = (await ingest.client.get("/v1/types", params={"source": "staff"})).json()["items"]
    assert [one["source"] for one in only] == ["staff"]
    assert (await ingest.client.get("/v1/types", params={"cursor": "x"})).status_code == 400


def test_what_is_remembered_is_bounded() -> None:
    from datetime import UTC, datetime

    seen = TypesSeen(most=5)
    for number in range(50):
        seen.note("s", [(f"t{number}", 1)], datetime(2026, 1, 1, tzinfo=UTC))
    assert [one.type for one in seen.page()] == ["t45", "t46", "t47", "t48", "t49"]


async def test_the_list_asks_for_a_token(ingest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    from touchline_ingest import metrics as declared
    from touchline_ingest.adapters.memory.publisher import MemoryPublisher
    from touchline_ingest.bootstrap import application
    from touchline_ingest.settings import IngestSettings
    from touchline_runtime.metrics import Metrics

    for settings in ({"api_tokens": "right"}, {"http_host": "0.0.0.0"}):
        configured = IngestSettings(sources_file=ingest.sources_file, **settings)  # type: ignore[arg-type]
        app, _ = application(configured, MemoryPublisher(), Metrics(declared.ALL))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            assert (await client.get("/v1/types")).status_code == 401
            known = await client.get("/v1/types", headers={"authorization": "Bearer right"})
            assert known.status_code == (200 if "api_tokens" in settings else 401)
