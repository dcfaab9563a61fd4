"""Every figure over a lifecycle equals a plain count over the histories and touchpoints of all customers."""

import json
import math
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.engine.api import ApiWorld

pytestmark = pytest.mark.stack
NAME = "service-cycle"
PATH = f"/v1/lifecycles/{NAME}"
DAY = timedelta(days=1)
Histories = dict[str, list[dict[str, Any]]]


def ready(api: ApiWorld, path: str, **parameters: Any) -> Any:
    """An answer that is computed, and computed now: a slow one comes from a cache, and is computed again meanwhile."""
    asked = datetime.now(UTC)

    def answer() -> Any:
        found = api.ask(path, **parameters)
        assert found.status_code in (200, 202), found.text
        computed = found.status_code == 200 and at(found.json()["as_of"]) >= asked
        return found.json() if computed else None

    return api.wait(f"{path} is computed", answer)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.fixture(scope="module")
def histories(api: ApiWorld) -> Histories:
    """Every customer's history in the lifecycle, as the API has it one by one."""
    posted = {one["customer_id"] for one in api.posted if one["customer_id"]}
    found = {}
    for customer in sorted(posted):
        path = f"/v1/customers/{quote(customer, safe='')}/history"
        answer = api.ask(path, lifecycle=NAME, facts="all", limit=1000)
        if answer.status_code == 200:
            found[customer] = answer.json()["items"]
    return {customer: facts for customer, facts in found.items() if facts}


@pytest.fixture(scope="module")
def stages(api: ApiWorld) -> list[str]:
    return [stage["name"] for stage in api.get(PATH)["stages"]]


def moves(facts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [fact for fact in facts if fact["fact"] == "move"]


def test_the_funnel_of_a_period_counts_those_who_entered_in_it(
    api: ApiWorld, histories: Histories, stages: list[str]
) -> None:
    since = datetime.now(UTC) - timedelta(days=120)
    funnel = ready(api, f"{PATH}/funnel", since=since.isoformat())
    cohort = {c: moves(f) for c, f in histories.items() if at(moves(f)[0]["occurred_at"]) >= since}
    furthest = Counter(max(stages.index(move["to_stage"]) for move in found) for found in cohort.values())
    assert [step["reached"] for step in funnel["stages"]] == [
        sum(count for position, count in furthest.items() if position >= index) for index in range(len(stages))
    ]
    now = Counter(found[-1]["to_stage"] for found in cohort.values())
    assert {step["stage"]: step["customers"] for step in funnel["stages"]} == {stage: now[stage] for stage in stages}


@pytest.mark.parametrize("channel", ["web", "email", "nowhere"])
def test_a_filter_by_the_first_channel_counts_its_customers_alone(
    api: ApiWorld, histories: Histories, stages: list[str], listed: list[dict[str, Any]], channel: str
) -> None:
    theirs = {one["customer_id"] for one in listed if one["first_channel"] == channel}
    funnel = ready(api, f"{PATH}/funnel", channel=channel)
    now = Counter(moves(facts)[-1]["to_stage"] for customer, facts in histories.items() if customer in theirs)
    assert {step["stage"]: step["customers"] for step in funnel["stages"]} == {stage: now[stage] for stage in stages}
    times = ready(api, f"{PATH}/time-in-stage", channel=channel)
    stays = Counter(
        move["to_stage"] for customer, facts in histories.items() if customer in theirs for move in moves(facts)
    )
    assert {one["stage"]: one["stays"] for one in times["stages"]} == {stage: stays[stage] for stage in stages}
    effort = ready(api, f"{PATH}/effort", channel=channel)
    assert sum(one["inbound"] + one["outbound"] for one in effort["stages"]) == sum(
        one["customer_id"] in theirs for one in api.posted
    )


def test_flows_count_the_moves_of_the_period(api: ApiWorld, histories: Histories) -> None:
    since, until = datetime.now(UTC) - timedelta(days=90), datetime.now(UTC) - timedelta(days=20)
    flows = ready(api, f"{PATH}/flows", since=since.isoformat(), until=until.isoformat())["items"]
    counted = Counter(
        (move["from_stage"], move["to_stage"], move["move"])
        for facts in histories.values()
        for move in moves(facts)
        if since <= at(move["occurred_at"]) < until
    )
    assert {(flow["from_stage"], flow["to_stage"], flow["move"]): flow["moves"] for flow in flows} == counted
    for flow in flows:
        found = [
            (customer, move["previous_stage_seconds"])
            for customer, facts in histories.items()
            for move in moves(facts)
            if since <= at(move["occurred_at"]) < until
            and (move["from_stage"], move["to_stage"], move["move"])
            == (flow["from_stage"], flow["to_stage"], flow["move"])
        ]
        assert flow["customers"] == len({customer for customer, _ in found})
        seconds = [length for _, length in found if length is not None]
        if not seconds:
            assert flow["median_seconds"] is None
        else:
            assert math.isclose(flow["median_seconds"], median(seconds), rel_tol=1e-12, abs_tol=1e-6)


def test_people_by_day_are_counted_customer_by_customer(api: ApiWorld, histories: Histories) -> None:
    found = ready(api, f"{PATH}/population", since=(datetime.now(UTC) - timedelta(days=60)).isoformat())
    shown = {stage["stage"]: stage["customers"] for stage in found["stages"]}
    for index, day in enumerate(found["days"]):
        end = datetime.fromisoformat(day).replace(tzinfo=UTC) + DAY
        where = Counter(
            before[-1]["to_stage"]
            for facts in histories.values()
            if (before := [move for move in moves(facts) if at(move["occurred_at"]) < end])
        )
        assert {stage: values[index] for stage, values in shown.items()} == {stage: where[stage] for stage in shown}


def test_time_in_stage_is_the_plain_product_limit_estimate(api: ApiWorld, histories: Histories) -> None:
    found = ready(api, f"{PATH}/time-in-stage")
    now = at(found["as_of"])
    lengths: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for facts in histories.values():
        led = moves(facts)
        for index, move in enumerate(led):
            ended = at(led[index + 1]["occurred_at"]) if index + 1 < len(led) else None
            seconds = int(((ended or now) - at(move["occurred_at"])).total_seconds())
            cut = 1 if seconds < 3600 else 60 if seconds < 604_800 else 3600
            lengths[move["to_stage"]].append((seconds // cut * cut, ended is not None))
    for stage in found["stages"]:
        observed = lengths[stage["stage"]]
        assert (stage["stays"], stage["left"]) == (len(observed), sum(left for _, left in observed))
        for point in stage["curve"]:
            seconds, share = round(point["days"] * 86_400), 1.0
            for length in sorted({t for t, left in observed if left and t <= seconds}):
                share *= 1 - sum(left and t == length for t, left in observed) / sum(t >= length for t, _ in observed)
            assert math.isclose(point["share"], share, abs_tol=1e-9)
        half = [point for point in stage["curve"] if point["share"] <= 0.5]
        assert (stage["median_seconds"] is None) == (not half)


def test_cohorts_count_whole_months_from_entry(api: ApiWorld, histories: Histories, stages: list[str]) -> None:
    found = ready(api, f"{PATH}/cohorts", stage="nurture")
    least = stages.index("nurture")
    expected: dict[str, list[int | None]] = defaultdict(list)
    for facts in histories.values():
        led = moves(facts)
        entered = at(led[0]["occurred_at"])
        there = [at(move["occurred_at"]) for move in led if stages.index(move["to_stage"]) >= least]
        expected[f"{entered:%Y-%m}"].append(_whole_months(entered, there[0]) if there else None)
    assert {cohort["month"]: cohort["size"] for cohort in found["cohorts"]} == {m: len(v) for m, v in expected.items()}
    for cohort in found["cohorts"]:
        months = expected[cohort["month"]]
        for index, share in enumerate(cohort["shares"]):
            assert math.isclose(share, sum(m is not None and m <= index for m in months) / len(months))


def _whole_months(since: datetime, until: datetime) -> int:
    months = (until.year - since.year) * 12 + until.month - since.month
    clock = (until.day, until.time())
    return months - (clock < (since.day, since.time()))


def test_drop_out_names_those_whose_path_ended(api: ApiWorld, histories: Histories, stages: list[str]) -> None:
    found = ready(api, f"{PATH}/drop-out")
    stalled, back = Counter[str](), Counter[str]()
    for facts in histories.values():
        led = moves(facts)
        furthest = stages[max(stages.index(move["to_stage"]) for move in led)]
        if led[-1]["to_stage"] != furthest:
            back[furthest] += 1
        elif facts[-1]["fact"] == "stall":
            stalled[furthest] += 1
    assert {one["stage"]: (one["stalled"], one["left_back"]) for one in found["stages"]} == {
        stage: (stalled[stage], back[stage]) for stage in stages
    }
    months: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for facts in histories.values():
        for fact in facts:
            month = fact["occurred_at"][:7]
            if fact["fact"] == "move":
                months["arrived"][month, fact["to_stage"]] += 1
                if fact["move"] in ("regress", "lapse"):
                    months["back"][month, fact["from_stage"]] += 1
            elif fact["fact"] == "stall" and fact["level"] == 1:
                months["stalled"][month, fact["stage"]] += 1
    for kind in ("arrived", "back", "stalled"):
        assert {(row["month"], row["stage"]): row[kind] for row in found["months"] if row[kind]} == months[kind]


@pytest.mark.parametrize("days", [None, 70])
def test_effort_counts_each_touchpoint_in_the_stage_it_found_the_customer_in(
    api: ApiWorld, histories: Histories, stages: list[str], days: int | None
) -> None:
    since = None if days is None else datetime.now(UTC) - timedelta(days=days)
    found = ready(api, f"{PATH}/effort", **({} if since is None else {"since": since.isoformat()}))
    counted: dict[str, Counter[str]] = {stage: Counter() for stage in stages}
    customers: dict[str, set[str]] = {stage: set() for stage in stages}
    for one in api.posted:
        when, led = at(one["occurred_at"]), moves(histories[one["customer_id"]])
        if since is not None and when < since:
            continue
        before = [move for move in led if at(move["occurred_at"]) < when] or led[:1]
        stage = before[-1]["to_stage"]
        counted[stage][one["direction"]] += 1
        counted[stage]["feedback"] += one["type"] in ("survey_answered", "complaint_made")
        minutes = one["properties"].get("minutes", 0)
        counted[stage]["minutes"] += minutes if minutes <= 525_600 else 0
        customers[stage].add(one["customer_id"])
    for stage in found["stages"]:
        expected = counted[stage["stage"]]
        names = ("inbound", "outbound", "feedback", "minutes")
        assert {name: stage[name] for name in names} == {name: expected[name] for name in names}
        assert stage["customers"] == len(customers[stage["stage"]])


def value_of(api: ApiWorld) -> dict[str, float]:
    """Customer → value, from what was posted."""
    values: dict[str, float] = defaultdict(float)
    for one in api.posted:
        amount = next((one["properties"][n] for n in ("value", "amount", "total") if n in one["properties"]), None)
        if one["type"] in ("purchased", "renewed", "upgraded", "refunded") and amount and abs(amount) < 1e12:
            values[one["customer_id"]] += -abs(amount) if one["type"] == "refunded" else amount
    return values


def all_customers(api: ApiWorld, **filters: Any) -> list[dict[str, Any]]:
    """Every page of the list."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = api.get("/v1/customers", limit=37, **filters, **({"cursor": cursor} if cursor else {}))
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items


@pytest.fixture(scope="module")
def listed(api: ApiWorld) -> list[dict[str, Any]]:
    """The list, once every summary is up to date."""

    def current() -> Any:
        items = all_customers(api, sort="id")
        counted = Counter(one["customer_id"] for one in api.posted)
        return items if {one["customer_id"]: one["touchpoints"] for one in items} == dict(counted) else None

    return api.wait("every summary is written", current)  # type: ignore[no-any-return]


def test_the_list_holds_everybody_once_with_value_and_stages(api: ApiWorld, listed: list[dict[str, Any]]) -> None:
    assert len({one["customer_id"] for one in listed}) == len(listed)
    values = value_of(api)
    for one in listed:
        assert math.isclose(one["value"], values[one["customer_id"]], abs_tol=1e-6), one["customer_id"]
    by_value = all_customers(api, sort="value")
    assert [one["value"] for one in by_value] == sorted((one["value"] for one in listed), reverse=True)
    assert {one["customer_id"] for one in by_value} == {one["customer_id"] for one in listed}


TRAITS_ASKED = (
    ("plan", "b"), ("plan", "5"), ("plan", "true"), ("plan", "B"), ("plan", "b'\" ü"), ("plan", ""),
    ("seats", "5"), ("seats", "5.0"), ("seats", "50"), ("seats", "-1.25"), ("seats", "5e0"), ("none", "b"),
)  # fmt: skip


def shown(trait: Any) -> str | None:
    """A trait's value as text, as the filter compares it."""
    return trait if trait is None or isinstance(trait, str) else json.dumps(trait)


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        ({"lifecycle": NAME, "stage": "nurture"}, lambda one: one["stages"][NAME]["stage"] == "nurture"),
        ({"lifecycle": NAME, "stalled": "true"}, lambda one: one["stages"][NAME]["stalled_level"] > 0),
        ({"stalled": "true"}, lambda one: any(stage["stalled_level"] for stage in one["stages"].values())),
        (
            {"at_risk": "true"},
            lambda one: any(stage["stalled_level"] or stage["slipped_by"] for stage in one["stages"].values()),
        ),
        ({"min_value": "300"}, lambda one: one["value"] >= 300),
        ({"q": "C-1"}, lambda one: re.match("c-1", one["customer_id"])),
        ({"q": "device-3"}, lambda one: re.match("c-3", one["customer_id"])),
        *(
            ({"trait": f"{name}:{value}"}, lambda one, name=name, value=value: shown(one["traits"].get(name)) == value)
            for name, value in TRAITS_ASKED
        ),
        ({"first_channel": "email"}, lambda one: one["first_channel"] == "email"),
    ],
)
def test_filters_let_through_whom_they_name(
    api: ApiWorld, listed: list[dict[str, Any]], filters: dict[str, str], holds: Any
) -> None:
    found = {one["customer_id"] for one in all_customers(api, sort="id", **filters)}
    expected = {one["customer_id"] for one in listed if holds(one)}
    if filters.get("q") == "device-3":  # those who never showed their device are not found by it
        assert found
        assert found <= expected
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v1/customers?lifecycle=nothing", NAME),
        (f"/v1/customers?lifecycle={NAME}&stage=nowhere", "nurture"),
        ("/v1/customers?stage=nowhere", "nurture"),
        ("/v1/stage-changes?lifecycle=nothing", NAME),
        ("/v1/customers?colour=red", "lifecycle"),
    ],
)
def test_unknown_names_are_refused_with_those_there_are(api: ApiWorld, path: str, named: str) -> None:
    answer = api.ask(path)
    assert answer.status_code == 422
    assert named in answer.json()["detail"]


def test_key_figures_are_those_of_the_list_and_the_histories(
    api: ApiWorld, histories: Histories, listed: list[dict[str, Any]]
) -> None:
    figures = ready(api, "/v1/key-figures", since=(datetime.now(UTC) - timedelta(days=45)).isoformat())
    since = at(figures["since"])
    assert figures["customers"] == len(listed)
    assert figures["new_customers"] == sum(at(one["first_seen_at"]) >= since for one in listed)
    week = datetime.now(UTC) - timedelta(days=7)
    assert figures["active"] == sum(bool(one["last_seen_at"]) and at(one["last_seen_at"]) >= week for one in listed)
    stalled = [one for one in listed if any(stage["stalled_level"] for stage in one["stages"].values())]
    assert figures["stalled"] == len(stalled)
    before = 0
    for one in listed:
        customer = quote(one["customer_id"], safe="")
        facts = api.get(f"/v1/customers/{customer}/history", facts="all", limit=1000)["items"]
        of: dict[str, str] = {}
        for fact in facts:
            if at(fact["occurred_at"]) < since:
                of[fact["lifecycle"]] = fact["fact"]
        before += "stall" in of.values()
    assert figures["stalled_before"] == before
    risk = [
        one for one in listed if any(stage["stalled_level"] or stage["slipped_by"] for stage in one["stages"].values())
    ]
    assert figures["customers_at_risk"] == len(risk)
    assert math.isclose(figures["value_at_risk"], sum(max(one["value"], 0) for one in risk), rel_tol=1e-9)


def test_an_explanation_names_the_cause_of_the_last_move(api: ApiWorld, histories: Histories) -> None:
    for customer, facts in list(histories.items())[:40]:
        last = moves(facts)[-1]
        answer = api.ask(f"/v1/customers/{customer}/explanation")
        if answer.status_code != 200:
            continue
        published = answer.json()["lifecycles"][NAME]
        assert (published["stage"], published["last_move"]["move"]) == (last["to_stage"], last["move"])
        if last["reason"]["kind"] == "rule" and last["move"] != "enter":
            assert published["last_move"]["rule"]
            assert published["last_move"]["evidence"][-1]["id"] == last["reason"]["touchpoint_id"]
