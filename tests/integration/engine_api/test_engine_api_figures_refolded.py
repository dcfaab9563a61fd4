"""Every figure equals a plain count after late touchpoints, a merge and an erasure have changed histories."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from touchline_devstack.stack import Stack

from tests.integration.engine_api.test_engine_api_figures import (  # noqa: F401  (collected here, too)
    histories,
    listed,
    stages,
    test_a_filter_by_the_first_channel_counts_its_customers_alone,
    test_cohorts_count_whole_months_from_entry,
    test_drop_out_names_those_whose_path_ended,
    test_effort_counts_each_touchpoint_in_the_stage_it_found_the_customer_in,
    test_flows_count_the_moves_of_the_period,
    test_key_figures_are_those_of_the_list_and_the_histories,
    test_people_by_day_are_counted_customer_by_customer,
    test_the_funnel_of_a_period_counts_those_who_entered_in_it,
    test_time_in_stage_is_the_plain_product_limit_estimate,
)
from tests.support.engine.api import ApiWorld, touchpoint

pytestmark = pytest.mark.stack
LATE = ("demo_booked", "purchased", "survey_answered", "complaint_made", "email_delivered", "referral_made")


@pytest.fixture(scope="module")
def api(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    """A running engine whose histories have been folded again."""
    name = f"test_engine_api_{secrets.token_hex(4)}"
    url = stack.create_database(name)
    try:
        folder = tmp_path_factory.mktemp("refolded")
        with ApiWorld.open(stack.kafka_bootstrap, url, f"t{secrets.token_hex(5)}", folder) as one:
            change(one)
            yield one
    finally:
        stack.drop_database(name)


def change(api: ApiWorld) -> None:
    """Touchpoints between others, a visitor who turns out to be a customer, and an erased customer."""
    folded = api.metric("touchline_touchpoints_folded_total")
    late: list[dict[str, Any]] = []
    now = datetime.now(UTC)
    for number in range(0, 60, 2):
        for index, kind in enumerate(LATE):
            more = {"score": 2} if kind == "survey_answered" else {}
            at = now - timedelta(days=5 + (number * 7 + index * 31) % 240, hours=number)
            late.append(touchpoint(f"late-{number}-{index}", at, kind, customer_id=f"c-{number}", properties=more))
    visits = [
        touchpoint(f"visit-{index}", now - timedelta(days=200 - index * 20), "page_viewed", anonymous_id="visitor")
        | {"customer_id": None}
        for index in range(6)
    ]
    link = touchpoint("link", now - timedelta(days=3), customer_id="c-61", anonymous_id="visitor")
    already = len(api.posted)
    api.post([*late, *({key: one[key] for key in one if key != "customer_id"} for one in visits), link])
    # From now on they are the customer's.
    api.posted[already:] = [*late, *(one | {"customer_id": "c-61"} for one in visits), link]
    gone = "c-63"
    receipt = httpx.delete(f"{api.engine.url}/v1/customers/{gone}", timeout=60, trust_env=False)
    assert receipt.status_code == 202, receipt.text
    api.posted[:] = [one for one in api.posted if one["customer_id"] != gone]
    api.wait(
        "the touchpoints are folded",
        lambda: api.metric("touchline_touchpoints_folded_total") >= folded + len(late) + len(visits) + 1,
    )
    api.wait("the visitor is the customer", lambda: owner(api, "anon:visitor") == "c-61")
    api.wait("the customer is erased", lambda: owner(api, gone) is None)
    theirs = sum(one["customer_id"] == "c-61" for one in api.posted)
    api.wait("they have the visitor's touchpoints", lambda: api.get("/v1/customers/c-61")["touchpoints"] == theirs)
    api.wait("timers have fired", api.no_timer_is_due)


def owner(api: ApiWorld, key: str) -> str | None:
    answer = api.ask(f"/v1/customers/{key}")
    return answer.json()["customer_id"] if answer.status_code == 200 else None
