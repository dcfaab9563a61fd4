import json
from datetime import UTC, datetime, timedelta

import pytest
from hubspot.utils.signature import Signature
from touchline_ingest.core.sources.crm.hubspot import HubSpot, signed_uri
from touchline_ingest.core.sources.interface import Request, RequestRejection, SourceConfig, Understood

SOURCE = HubSpot()
SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URL = "https://in.example.org/v1/webhooks/crm"
OCCURRED = 1772362800123
WON = {
    "eventId": 1,
    "subscriptionId": 2,
    "portalId": 3,
    "occurredAt": OCCURRED,
    "subscriptionType": "deal.propertyChange",
    "attemptNumber": 0,
    "objectId": 77,
    "propertyName": "dealstage",
    "propertyValue": "closedwon",
}


@pytest.fixture
def read(now):
    def run(body, at=None, url=URL, called=URL, **options):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        timestamp = str(int((at or now).timestamp() * 1000))
        signature = Signature.get_signature(SECRET, raw.decode(), "v3", called, "POST", timestamp)
        headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": timestamp}
        return SOURCE.read(Request("POST", url, headers, raw), SourceConfig("crm", "hubspot", (SECRET,), options), now)

    return run


def test_the_published_vector_is_genuine():
    headers = {
        "x-hubspot-signature-v3": "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=",
        "x-hubspot-request-timestamp": "1693657560000",
    }
    body = b"{'example_field':'example_value'}"
    request = Request("POST", "https://www.example.com/webhook_uri", headers, body)
    then = datetime.fromtimestamp(1693657560, UTC)
    reading = SOURCE.read(request, SourceConfig("crm", "hubspot", (SECRET,)), then)
    # Its body is no JSON, so it is kept, not refused.
    assert isinstance(reading, Understood)
    assert reading.unreadable[0].body == body
    assert isinstance(SOURCE.read(request, SourceConfig("crm", "hubspot", ("other",)), then), RequestRejection)


def test_a_won_deal_comes_under_its_external_id(read, accepted):
    (touchpoint,) = accepted(read([WON]))
    assert (touchpoint.type, touchpoint.channel, touchpoint.external_id) == ("deal_won", "sales", "deal-77")
    assert touchpoint.occurred_at == datetime(2026, 3, 1, 11, 0, 0, 123000, tzinfo=UTC)
    assert touchpoint.properties["portalId"] == 3


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"propertyValue": "closedlost"}, "deal_lost"),
        ({"propertyValue": "contractsent"}, "proposal_sent"),
        ({"propertyValue": "qualifiedtobuy"}, "deal_stage_changed"),
        ({"subscriptionType": "object.propertyChange", "objectTypeId": "0-3"}, "deal_won"),
        ({"subscriptionType": "call.creation", "propertyName": None}, "call_held"),
        ({"subscriptionType": "meeting.creation", "propertyName": None}, "meeting_scheduled"),
        (
            {
                "subscriptionType": "meeting.propertyChange",
                "propertyName": "hs_meeting_outcome",
                "propertyValue": "NO_SHOW",
            },
            "meeting_missed",
        ),
        ({"subscriptionType": "ticket.creation", "propertyName": None}, "ticket_opened"),
        ({"subscriptionType": "company.creation", "propertyName": None}, "company_created"),
    ],
)
def test_record_events_become_touchpoints(read, accepted, change, expected):
    assert accepted(read([WON | change]))[0].type == expected


def test_a_company_can_map_its_own_stages(read, accepted):
    events = {"deal.propertyChange dealstage=12345": "demo_booked"}
    (touchpoint,) = accepted(read([WON | {"propertyValue": "12345"}], events=events))
    assert (touchpoint.type, touchpoint.direction) == ("demo_booked", "inbound")


def test_another_attempt_is_the_same_touchpoint_and_an_equal_event_id_is_not(read, accepted):
    first, again, other = accepted(read([WON, WON | {"attemptNumber": 3}, WON | {"objectId": 78}]))
    assert first.id == again.id != other.id


def test_the_address_of_a_contact_links_it(read, accepted):
    change = {"subscriptionType": "contact.propertyChange", "propertyName": "email", "propertyValue": "Ada@example.org"}
    (touchpoint,) = accepted(read([WON | change]))
    assert touchpoint.keys == ["email:ada@example.org", "ext:vendor:contact-77"]
    own = {"subscriptionType": "contact.propertyChange", "propertyName": "shop_id", "propertyValue": "u1"}
    (touchpoint,) = accepted(read([WON | own], customer_id_property="shop_id"))
    assert touchpoint.keys == ["u1", "ext:vendor:contact-77"]


ASSOCIATION = {
    "subscriptionType": "deal.associationChange",
    "associationType": "DEAL_TO_CONTACT",
    "fromObjectId": 77,
    "toObjectId": 5,
    "associationRemoved": False,
    "occurredAt": OCCURRED,
}


def test_an_association_joins_a_deal_to_its_contact_only_where_that_is_wanted(read):
    (draft,) = read([ASSOCIATION], link_deals=True).touchpoints
    assert (draft["customer_id"], draft["external_id"]) == ("ext:crm:contact-5", "deal-77")
    (draft,) = read([ASSOCIATION]).touchpoints
    assert (draft.get("customer_id"), draft["external_id"]) == (None, "contact-5")
    (draft,) = read([ASSOCIATION | {"associationRemoved": True}], link_deals=True).touchpoints
    assert draft.get("customer_id") is None


def test_the_uri_is_decoded_as_hubspot_does_and_no_further():
    assert signed_uri("https://x/a%3Fb%20c%2Fd%252F%3b") == "https://x/a?b%20c/d%252F;"


def test_behind_a_proxy_the_public_url_can_be_set(read):
    inside = "http://10.0.0.1:8080/v1/webhooks/crm"
    assert isinstance(read([WON], url=inside), RequestRejection)
    assert isinstance(read([WON], url=inside, public_url=URL), Understood)


@pytest.mark.parametrize(
    ("age", "title"),
    [(timedelta(seconds=301), "request too old"), (timedelta(seconds=-301), "request from the future")],
)
def test_a_replayed_or_future_dated_request_is_refused(read, now, age, title):
    refused = read([WON], at=now - age)
    assert isinstance(refused, RequestRejection)
    assert (refused.status, refused.title) == (401, title)


def test_a_tampered_method_url_body_or_timestamp_is_refused(now):
    raw = json.dumps([WON]).encode()
    timestamp = str(int(now.timestamp() * 1000))
    good = {
        "x-hubspot-signature-v3": Signature.get_signature(SECRET, raw.decode(), "v3", URL, "POST", timestamp),
        "x-hubspot-request-timestamp": timestamp,
    }
    config = SourceConfig("crm", "hubspot", (SECRET,))
    assert isinstance(SOURCE.read(Request("POST", URL, good, raw), config, now), Understood)
    for request in (
        Request("PUT", URL, good, raw),
        Request("POST", URL + "?x=1", good, raw),
        Request("POST", URL, good, raw.replace(b"77", b"78")),
        Request("POST", URL, good | {"x-hubspot-request-timestamp": timestamp[:-1] + "1"}, raw),
        Request("POST", URL, {}, raw),
    ):
        refused = SOURCE.read(request, config, now)
        assert isinstance(refused, RequestRejection)
        assert refused.status == 401


def test_an_event_that_names_nobody_goes_to_the_dead_letters(read):
    reading = read([WON, {"subscriptionType": "deal.creation", "occurredAt": OCCURRED}, "x"])
    assert len(reading.touchpoints) == 1
    assert len(reading.unreadable) == 2
