"""Audiences over HTTP: saving them, what is refused, the audit log, members by page and as a file."""

import csv
import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from tests.support.engine.api import ApiWorld

pytestmark = pytest.mark.stack


@pytest.fixture
def client(api: ApiWorld) -> Iterator[httpx.Client]:
    """A client of the engine."""
    with httpx.Client(base_url=api.engine.url, timeout=60, trust_env=False) as client:
        yield client


def body(wanted: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"title": "Quiet big buyers", "filter": wanted} | more


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [one["customer_id"] for one in items]


def test_two_people_who_edit_lose_nothing_and_every_change_is_in_the_audit_log(client: httpx.Client) -> None:
    wanted = {"lifecycle": "service-cycle", "in_stage_for": "P14D", "min_value": 50}
    made = client.post("/v1/audiences", json=body(wanted, name="edited", description="For Ann", comment="a start"))
    assert (made.status_code, made.headers["location"]) == (201, "/v1/audiences/edited")
    assert (made.json()["version"], made.json()["incarnation"], made.json()["filter"]) == (1, 1, wanted)
    assert client.get("/v1/audiences/edited").json()["title"] == "Quiet big buyers"
    twice = client.post("/v1/audiences", json=body(wanted, name="edited"))
    assert (twice.status_code, twice.json()["in_force"]) == (409, 1)
    first = client.put("/v1/audiences/edited", json=body(wanted | {"min_value": 60}, base=1))
    assert (first.status_code, first.json()["version"], first.json()["changed"]) == (200, 2, True)
    second = client.put("/v1/audiences/edited", json=body(wanted | {"min_value": 70}, base=1))
    assert second.status_code == 409
    assert "version 2 of edited is in force (saved by local)" in second.json()["detail"]
    same = client.put("/v1/audiences/edited", json=body(wanted | {"min_value": 60}, base=2))
    assert (same.json()["version"], same.json()["changed"]) == (2, False)
    assert client.delete("/v1/audiences/edited", params={"base": 1}).status_code == 409
    assert client.delete("/v1/audiences/edited", params={"base": 2, "reason": "done"}).json()["version"] == 2
    for method, path in (("GET", ""), ("GET", "/members"), ("DELETE", "")):
        assert client.request(method, f"/v1/audiences/edited{path}").status_code == 404
    assert client.put("/v1/audiences/edited", json=body(wanted, base=2)).status_code == 404
    again = client.post("/v1/audiences", json=body(wanted, name="edited"))
    assert (again.json()["version"], again.json()["incarnation"]) == (1, 2)
    client.delete("/v1/audiences/edited")
    entries = client.get("/v1/audit", params={"target": "audience/edited"}).json()["items"]
    assert [(one["action"], one["reason"]) for one in reversed(entries)] == [
        ("audience_created", "a start"), ("audience_changed", None), ("audience_deleted", "done"),
        ("audience_created", None), ("audience_deleted", None),
    ]  # fmt: skip
    changed = entries[3]
    assert (changed["before"]["filter"]["min_value"], changed["after"]["filter"]["min_value"]) == (50, 60)


def test_what_is_wrong_is_answered_with_its_field(client: httpx.Client) -> None:
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"lifecycle": "nothing"}, "filter.lifecycle", "there are: reach-to-loyalty, service-cycle"),
        ({"stage": "nowhere"}, "filter.stage", "there are: "),
        ({"seen_within": "soon"}, "filter.seen_within", "14d"),
        ({"q": "ann"}, "filter.q", "a search is no condition"),
        ({}, "filter", "every customer would be a member"),
    ]
    for wanted, path, message in wrong:
        answer = client.post("/v1/audiences", json=body(wanted, name="wrong"))
        assert answer.status_code == 422, wanted
        (fault,) = answer.json()["errors"]
        assert fault["path"] == path
        assert message in fault["message"]
    name = client.post("/v1/audiences", json=body({"stalled": True}, name="Big Buyers"))
    assert (name.status_code, name.json()["errors"][0]["path"]) == (422, "name")
    assert client.post("/v1/audiences", json=body({"stalled": True}, name="x", colour=1)).status_code == 422
    assert client.get("/v1/audiences/wrong").status_code == 404


FILTERS: list[dict[str, Any]] = [
    {"lifecycle": "service-cycle"},
    {"stage": "reach"},
    {"stalled": True, "lifecycle": "service-cycle"},
    {"at_risk": True},
    {"min_value": 100, "max_value": 5000},
    {"not_seen_for": "P30D"},
    {"seen_within": "90d", "in_stage_for": "P2D"},
    {"lifecycle": "service-cycle", "entered_within": "P120D"},
    {"first_channel": "web"},
    {"trait": "plan:5"},
    {"trait": "plan:true"},
    {"trait": "plan:b'\" ü"},
]


def test_members_are_the_customers_of_the_list_by_page_and_as_a_file(api: ApiWorld, client: httpx.Client) -> None:
    names = [f"members-{number}" for number in range(len(FILTERS))]
    for name, wanted in zip(names, FILTERS, strict=True):
        assert client.post("/v1/audiences", json=body(wanted, name=name)).status_code == 201

    def listed(wanted: dict[str, Any]) -> list[str]:
        parameters = {name: "true" if value is True else value for name, value in wanted.items()}
        return ids(api.get("/v1/customers", limit=1000, sort="id", **parameters)["items"])

    def agree(name: str, wanted: dict[str, Any]) -> bool:
        return ids(api.get(f"/v1/audiences/{name}/members", limit=1000)["items"]) == listed(wanted)

    for name, wanted in zip(names, FILTERS, strict=True):
        api.wait(f"{wanted} has the members of the list", partial(agree, name, wanted))
    known = [one["name"] for one in api.get("/v1/audiences", limit=1000)["items"]]
    assert [name for name in known if name.startswith("members-")] == sorted(names)
    whole = api.get("/v1/audiences/members-0/members", limit=1000)
    assert whole["total"] == len(whole["items"]) > 100
    paged, cursor = [], None
    while True:
        page = api.get("/v1/audiences/members-0/members", limit=37, **({} if cursor is None else {"cursor": cursor}))
        paged += page["items"]
        if (cursor := page["next"]) is None:
            break
    assert ids(paged) == ids(whole["items"])
    assert api.ask("/v1/audiences/members-0/members", cursor="garbage").status_code == 422
    file = api.ask("/v1/audiences/members-0/members", format="csv")
    assert file.headers["content-disposition"] == 'attachment; filename="members-0.csv"'
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert [row["customer_id"] for row in rows] == ids(whole["items"])
    assert {row["customer_id"]: float(row["value"]) for row in rows} == {
        one["customer_id"]: one["value"] for one in whole["items"]
    }
    for name in names:
        assert client.delete(f"/v1/audiences/{name}").is_success
