import base64
import json

import pytest
from touchline_ingest.core.sources.crm.pipedrive import Pipedrive
from touchline_ingest.core.sources.interface import RequestRejection

SOURCE = Pipedrive()
AUTHORIZATION = "Basic " + base64.b64encode(b"hook:secret").decode()


def change(entity, action, data, previous=None):
    meta = {
        "action": action,
        "entity": entity,
        "entity_id": "9",
        "id": "f0f3c7a4-0000-4000-8000-000000000001",
        "timestamp": "2026-03-01T11:00:00.000Z",
        "version": "2.0",
    }
    return {"meta": meta, "data": data, "previous": previous}


@pytest.fixture
def read(post, configured, now):
    def run(body, **options):
        return SOURCE.read(
            post(body, authorization=AUTHORIZATION), configured("pipedrive", "hook:secret", **options), now
        )

    return run


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (change("deal", "change", {"status": "won"}, {"status": "open"}), "deal_won"),
        (change("deal", "change", {"status": "lost"}, {"status": "open"}), "deal_lost"),
        (change("deal", "change", {"status": "won", "title": "x"}, {"title": "y"}), "deal_changed"),
        (change("deal", "change", {"status": "open", "stage_id": 2}, {"stage_id": 1}), "deal_stage_changed"),
        (change("activity", "create", {"type": "meeting", "done": False}), "meeting_scheduled"),
        (change("activity", "change", {"type": "meeting", "done": True}, {"done": False}), "meeting_held"),
        (change("activity", "change", {"type": "call", "done": True}, {"done": False}), "call_held"),
        (change("activity", "change", {"type": "call", "done": True}, {"note": "x"}), "activity_changed"),
        (change("activity", "create", {"type": "demo", "done": False}), "demo_booked"),
    ],
)
def test_changes_become_touchpoints(read, accepted, body, expected):
    (touchpoint,) = accepted(read(body))
    assert (touchpoint.type, touchpoint.id) == (expected, body["meta"]["id"])


def test_a_change_comes_under_its_person_else_under_itself(read, accepted):
    won = {"status": "won", "value": 100}
    assert accepted(read(change("deal", "create", won | {"person_id": 7})))[0].key == "ext:vendor:person-7"
    assert accepted(read(change("deal", "create", won)))[0].key == "ext:vendor:deal-9"


def test_the_primary_address_of_a_person_links_them(read, accepted):
    emails = [{"value": "old@example.org", "primary": False}, {"value": "Ada@example.org", "primary": True}]
    person = {"emails": emails, "custom_fields": {"abc": {"type": "varchar", "value": "u1"}}}
    (touchpoint,) = accepted(read(change("person", "change", person), customer_id_field="abc"))
    assert touchpoint.keys == ["u1", "email:ada@example.org", "ext:vendor:person-9"]


def test_a_company_can_map_its_own_activities(read, accepted):
    body = change("activity", "create", {"type": "site visit", "done": False})
    (touchpoint,) = accepted(read(body, events={"activity.site_visit.added": "meeting_scheduled"}))
    assert touchpoint.type == "meeting_scheduled"
    (kept,) = accepted(read(body))
    assert (kept.type, kept.direction) == ("activity_site_visit_added", "outbound")


def test_a_deleted_record_is_read_from_what_it_was(read, accepted):
    (touchpoint,) = accepted(read(change("deal", "delete", None, {"person_id": 7})))
    assert touchpoint.key == "ext:vendor:person-7"


def test_without_credentials_nothing_is_read(post, configured, now):
    body = change("deal", "create", {"status": "won"})
    wrong = post(body, authorization="Basic " + base64.b64encode(b"hook:guess").decode())
    for request in (post(body), wrong):
        refused = SOURCE.read(request, configured("pipedrive", "hook:secret"), now)
        assert isinstance(refused, RequestRejection)
        assert refused.status == 401


def test_version_1_is_kept_with_a_reason(read):
    body = {"meta": {"action": "updated", "object": "deal", "id": 9}, "current": {}}
    (unreadable,) = read(body).unreadable
    assert json.loads(unreadable.body) == body
    assert "version 2" in unreadable.reason
