"""Lists page without loss or repeats, and the analyses agree with what was posted."""

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from touchline_schemas.times import parse_micros
from touchline_stage_engine.core.analysis.motive import analyse_motive
from touchline_stage_engine.core.touchpoint import Touchpoint

from tests.support.engine.api import LIFECYCLES, ApiWorld

pytestmark = pytest.mark.stack

LISTS: list[tuple[str, dict[str, str]]] = [
    ("/v1/customers/{busiest}/touchpoints", {}),
    ("/v1/customers/{busiest}/history", {"facts": "all"}),
    ("/v1/customers/{busiest}/history", {"lifecycle": "service-cycle"}),
    ("/v1/identity-conflicts", {}),
    ("/v1/lifecycles/service-cycle/stalled", {}),
    ("/v1/lifecycles/reach-to-loyalty/stalled", {"stage": "reach"}),
    ("/v1/lifecycles/service-cycle/slipping", {"since": "2020-01-01T00:00:00Z"}),
]


def busiest(api: ApiWorld) -> str:
    counts: dict[str, int] = defaultdict(int)
    for one in api.posted:
        counts[one["customer_id"]] += 1
    return max(counts, key=lambda name: counts[name])


@pytest.mark.parametrize(("path", "parameters"), LISTS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(limit=st.integers(1, 40))
def test_pages_of_any_size_give_each_item_once_and_in_order(
    api: ApiWorld, path: str, parameters: dict[str, str], limit: int
) -> None:
    path = path.format(busiest=busiest(api))
    whole = api.get(path, limit=1000, **parameters)
    assert whole["next"] is None
    assert len(whole["items"]) > 1
    walked: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.get(path, limit=limit, **parameters, **cursor)
        assert len(page["items"]) <= limit
        walked += page["items"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert walked == whole["items"]


def test_touchpoints_come_in_the_order_of_the_fold_under_whatever_key(api: ApiWorld) -> None:
    who = busiest(api)
    expected = sorted((parse_micros(one["occurred_at"]), one["id"]) for one in api.posted if one["customer_id"] == who)
    items = api.get(f"/v1/customers/{who}/touchpoints", limit=1000)["items"]
    assert [(parse_micros(one["occurred_at"]), one["id"]) for one in items] == expected
    alias = next(one for one in api.posted if "anonymous_id" in one and one["customer_id"].startswith("c-"))
    assert api.get(f"/v1/customers/anon:{alias['anonymous_id']}")["customer_id"] == alias["customer_id"]


def test_a_link_between_two_known_customers_is_listed_once(api: ApiWorld) -> None:
    listed = api.get("/v1/identity-conflicts")["items"]
    assert [one["customers"] for one in listed] == [[f"left-{number}", f"right-{number}"] for number in range(4)]


def test_the_top_customers_are_those_who_paid_most_and_each_has_their_stages(api: ApiWorld) -> None:
    value: dict[str, float] = defaultdict(float)
    for one in api.posted:
        amount = next(
            (one["properties"][name] for name in ("value", "amount", "total") if name in one["properties"]), 0
        )
        if amount < 1e12:
            value[one["customer_id"]] += {"purchased": amount, "refunded": -abs(amount)}.get(one["type"], 0)
    expected = sorted(((worth, name) for name, worth in value.items() if worth > 0), key=lambda one: (-one[0], one[1]))

    def top() -> list[tuple[float, str]]:
        return [(one["value"], one["customer_id"]) for one in api.get("/v1/top-customers", limit=1000)["items"]]

    api.wait("every value is summed", lambda: top() == expected)
    items = api.get("/v1/top-customers", limit=1000)["items"]
    five = api.get("/v1/top-customers")["items"]
    assert five == items[:5]
    for one in five:
        stages = api.get(f"/v1/customers/{one['customer_id']}")["stages"]
        assert set(one["stages"]) == set(LIFECYCLES)
        assert {name: stage["stage"] for name, stage in one["stages"].items()} == {
            name: stage["stage"] for name, stage in stages.items()
        }


def test_summaries_of_several_customers_come_in_the_order_asked(api: ApiWorld) -> None:
    wanted = ["c-3", "c-1", "nobody", "c-3", "c-2"]
    found = api.get("/v1/customer-summaries", id=wanted)["items"]
    assert [one["customer_id"] for one in found] == ["c-3", "c-1", "c-2"]
    assert found == [api.get(f"/v1/customers/{one['customer_id']}/summary") for one in found]


def test_a_reading_says_how_it_was_reached(api: ApiWorld) -> None:
    minds = set()
    for number in range(40):
        who = f"c-{number}"
        mine = [
            Touchpoint(
                parse_micros(one["occurred_at"]), one["id"], one["source"], one["type"], one["channel"],
                one["direction"], one["properties"],
            )
            for one in api.posted
            if one["customer_id"] == who
        ]  # fmt: skip
        expected = analyse_motive(sorted(mine, key=lambda one: one.order))
        answer = api.get(f"/v1/customers/{who}/reading")
        assert (answer["reading"], answer["because"]) == (expected.motive, list(expected.because))
        minds.add(answer["reading"])
    assert {"curiosity", "value"} <= minds


def test_the_worst_come_first_and_everybody_who_stalls_is_among_them(api: ApiWorld) -> None:
    slipping = api.get("/v1/lifecycles/service-cycle/slipping", limit=1000, since="2020-01-01T00:00:00Z")["items"]
    order = [(-one["stalled_level"], parse_micros(one["since"]), one["customer_id"]) for one in slipping]
    assert order == sorted(order)
    stalled = {one["customer_id"] for one in api.get("/v1/lifecycles/service-cycle/stalled", limit=1000)["items"]}
    assert stalled == {one["customer_id"] for one in slipping if one["stalled_level"]}
    slipped = [one for one in slipping if one["slipped_by"]]
    assert slipped
    for one in slipped[:20]:
        history = api.get(f"/v1/customers/{one['customer_id']}/history", lifecycle="service-cycle")["items"]
        last = history[-1]
        assert (last["move"], last["from_stage"], last["to_stage"], last["occurred_at"]) == (
            one["slipped_by"], one["slipped_from"], one["stage"], one["slipped_at"],
        )  # fmt: skip


def test_a_funnel_adds_up(api: ApiWorld) -> None:
    everybody = {one["customer_id"] for one in api.posted}

    def of_everybody() -> Any:
        """The funnel; on a busy machine it may be some seconds old."""
        found = api.get("/v1/lifecycles/service-cycle/funnel")
        counted = sum(stage["customers"] for stage in [*found["stages"], *found["off_path"]])
        return found if counted == len(everybody) else None

    funnel = api.wait("the funnel is of everybody", of_everybody)
    reached = [stage["reached"] for stage in funnel["stages"]]
    assert reached[0] == len(everybody)
    assert reached == sorted(reached, reverse=True)

    def entered() -> int:
        flows = api.get("/v1/lifecycles/service-cycle/flows")["items"]
        return sum(flow["moves"] for flow in flows if flow["move"] == "enter")

    def touchpoints() -> int:
        effort = api.get("/v1/lifecycles/service-cycle/effort")["stages"]
        return sum(stage["outbound"] + stage["inbound"] for stage in effort)

    api.wait("the flows are of everybody", lambda: entered() == len(everybody))
    api.wait("the effort is of everything", lambda: touchpoints() == len(api.posted))
    effort = api.get("/v1/lifecycles/service-cycle/effort")["stages"]
    minutes = [one["properties"]["minutes"] for one in api.posted if "minutes" in one["properties"]]
    assert sum(stage["minutes"] for stage in effort) == sum(one for one in minutes if one == 20)
