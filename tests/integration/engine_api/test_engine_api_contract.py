"""Whatever is asked, the query API answers as its page says, and never with an error of ours."""

import base64
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.engine.api import ODD_ID, ApiWorld

pytestmark = pytest.mark.stack
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ROUTES = [
    "/v1/customers/{customer_id}",
    "/v1/customers/{customer_id}/touchpoints",
    "/v1/customers/{customer_id}/history",
    "/v1/customers/{customer_id}/reading",
    "/v1/customers/{customer_id}/explanation",
    "/v1/customers/{customer_id}/summary",
    "/v1/customers",
    "/v1/customer-summaries",
    "/v1/key-figures",
    "/v1/first-touchpoints",
    "/v1/stage-changes",
    "/v1/operations",
    "/v1/touchpoints/{source}/{touchpoint_id}",
    "/v1/top-customers",
    "/v1/identity-conflicts",
    "/v1/lifecycles",
    "/v1/lifecycles/{name}",
    "/v1/lifecycles/{name}/funnel",
    "/v1/lifecycles/{name}/flows",
    "/v1/lifecycles/{name}/stalled",
    "/v1/lifecycles/{name}/slipping",
    "/v1/lifecycles/{name}/effort",
    "/v1/lifecycles/{name}/population",
    "/v1/lifecycles/{name}/time-in-stage",
    "/v1/lifecycles/{name}/cohorts",
    "/v1/lifecycles/{name}/drop-out",
    "/v1/lifecycles/{name}/rules",
    "/v1/lifecycles/{name}/versions",
    "/v1/lifecycles/{name}/versions/{version}",
    "/v1/simulations/{simulation}",
    "/v1/simulations/{simulation}/changes",
    "/v1/audit",
    "/v1/customers/{customer_id}/export",
    "/v1/erasures/{receipt}",
    "/v1/audiences",
    "/v1/audiences/{name}",
    "/v1/audiences/{name}/members",
]
POSTED = [
    "/v1/customers/{customer_id}/stage",
    "/v1/lifecycles/check",
    "/v1/lifecycles/{name}/differences",
    "/v1/lifecycles/{name}/simulations",
    "/v1/lifecycles/{name}/versions",
    "/v1/audiences",
]
KNOWN = {
    "customer_id": st.sampled_from(["c-1", "c-2", "anon:device-1", "left-0", "huge", ODD_ID, "nobody", "a" * 10_000]),
    "name": st.sampled_from(["service-cycle", "reach-to-loyalty", "nothing", "quiet"]),
    "source": st.just("shop"),
    "version": st.integers(0, 3),
    "simulation": st.uuids().map(str),
    "receipt": st.uuids().map(str),
    "touchpoint_id": st.sampled_from(["e-1-0", "left-0", "none"]),
}


@pytest.fixture(scope="session")
def page(api: ApiWorld) -> Any:
    """The API page of the running engine."""
    return schemathesis.openapi.from_url(f"{api.engine.url}/openapi.json")


def test_every_route_is_on_the_page_and_tried_here(page: Any) -> None:
    routes = {path for path in page.raw_schema["paths"] if path.startswith("/v1/")}
    assert routes == {*ROUTES, *POSTED, "/v1/stage-changes/stream"}


@pytest.mark.parametrize("path", ROUTES)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_route_answers_as_its_page_says(page: Any, path: str, data: st.DataObject) -> None:
    case = data.draw(page[path]["GET"].as_strategy())
    if case.path_parameters and data.draw(st.booleans()):
        case.path_parameters = {name: quote(str(data.draw(KNOWN[name])), safe="") for name in case.path_parameters}
    case.call_and_validate(checks=CHECKS, timeout=120)


@pytest.mark.parametrize("path", POSTED)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_route_that_takes_a_body_answers_as_its_page_says(page: Any, path: str, data: st.DataObject) -> None:
    case = data.draw(page[path]["POST"].as_strategy())
    if case.path_parameters and data.draw(st.booleans()):
        case.path_parameters = {name: quote(str(data.draw(KNOWN[name])), safe="") for name in case.path_parameters}
    case.call_and_validate(checks=CHECKS, timeout=120)


def cursor(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_change_of_an_audience_answers_as_its_page_says(page: Any, data: st.DataObject) -> None:
    case = data.draw(page["/v1/audiences/{name}"]["PUT"].as_strategy())
    case.call_and_validate(checks=CHECKS, timeout=120)


LISTS = [
    "/v1/customers/c-1/touchpoints",
    "/v1/customers/c-1/history",
    "/v1/identity-conflicts",
    "/v1/lifecycles/service-cycle/stalled",
    "/v1/lifecycles/service-cycle/slipping",
]
NO_CURSORS = [
    "garbage", "é", "%00", "====", cursor({}), cursor([1]), cursor([1, 2, 3, 4]), cursor([1 << 63, "a", "b"]),
    cursor([1, "a\x00", "b"]), cursor([1, "\ud800", "b"]), cursor([True, "a", "b"]),
    base64.urlsafe_b64encode(b"[" * 1400).decode().rstrip("="),
]  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_that_no_list_handed_out_is_the_callers_mistake(api: ApiWorld, path: str) -> None:
    for text in NO_CURSORS:
        answer = api.ask(path, cursor=text)
        assert answer.status_code == 422, (text, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_cursor_with_a_number_beyond_the_column_is_only_far_away(api: ApiWorld) -> None:
    assert api.get("/v1/customers/c-1/history", cursor=cursor([0, "a", 1 << 40]))["items"]


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "1e3", str(10**40), "many", ""])
def test_a_limit_out_of_bounds_is_the_callers_mistake(api: ApiWorld, limit: str) -> None:
    for path in [*LISTS, "/v1/top-customers"]:
        answer = api.ask(path, limit=limit)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize("name", ["%00", "a%00b", "%0a", "a" * 10_000, "%ff%fe", "nobody", "%20"])
def test_nobody_is_found_under_an_id_that_nobody_has(api: ApiWorld, name: str) -> None:
    for path in (f"/v1/customers/{name}", f"/v1/customers/{name}/history", f"/v1/lifecycles/{name}/funnel"):
        answer = api.ask(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path


def test_an_id_may_hold_spaces_slashes_and_signs(api: ApiWorld) -> None:
    path = "/v1/customers/" + httpx.QueryParams({"x": ODD_ID})["x"].encode().hex("%").join(["%", ""])
    assert api.get(path)["customer_id"] == ODD_ID
    assert [one["id"] for one in api.get(f"{path}/touchpoints")["items"]] == ["odd"]


def test_tokens_are_asked_for_where_they_are_configured(api: ApiWorld) -> None:
    with api.serve("guarded", TOUCHLINE_API_TOKENS="secret") as guarded:
        guarded.wait_ready()
        with httpx.Client(base_url=guarded.url, timeout=60, trust_env=False) as client:
            for path in ("/", "/v1/lifecycles", "/v1/customers/c-1", "/v1/top-customers", "/v1/stage-changes/stream"):
                answer = client.get(path)
                assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json"), path
            bearer = {"Authorization": "Bearer secret"}
            assert client.get("/v1/lifecycles", headers=bearer).status_code == 200
            assert client.get("/v1/lifecycles", auth=("", "secret")).status_code == 200
            assert client.get("/", auth=("", "secret")).status_code == 307, "it leads to the console"
