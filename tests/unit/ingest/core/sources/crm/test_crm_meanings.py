"""Kinds: a CRM's merge is a link; coming back gives consent again; a placeholder is no record."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hubspot.utils.signature import Signature
from touchline_ingest.core.sources.crm.hubspot import HubSpot
from touchline_ingest.core.sources.crm.pipedrive import Pipedrive
from touchline_ingest.core.sources.crm.salesforce import Salesforce
from touchline_ingest.core.sources.interface import Request, SourceConfig, Understood
from touchline_notifier.core.profiles.profile import Profile
from touchline_schemas.touchpoint import PostedTouchpoint, Touchpoint

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
URL = "https://in.example.org/v1/webhooks/crm"


def touchpoints(reading: Any) -> list[Touchpoint]:
    assert isinstance(reading, Understood), reading
    assert not reading.unreadable, reading.unreadable
    return [
        PostedTouchpoint.model_validate(draft).accepted(id=draft["id"], source="crm", received_at=NOW)
        for draft in reading.touchpoints
    ]


def hubspot(event: dict[str, Any], **options: Any) -> Any:
    body = json.dumps([{"occurredAt": 1772362800123, "eventId": 1, "portalId": 3} | event])
    timestamp = str(int(NOW.timestamp() * 1000))
    headers = {
        "x-hubspot-signature-v3": Signature.get_signature("secret", body, "v3", URL, "POST", timestamp),
        "x-hubspot-request-timestamp": timestamp,
    }
    config = SourceConfig("crm", "hubspot", ("secret",), options)
    assert HubSpot().check(config) == []
    return HubSpot().read(Request("POST", URL, headers, body.encode()), config, NOW)


def pipedrive(meta: dict[str, Any], data: Any = None, previous: Any = None) -> Any:
    full = {"id": "w", "entity": "person", "entity_id": "9", "action": "change", "timestamp": "2026-03-01T11:00:00Z"}
    body = json.dumps({"meta": full | meta, "data": data, "previous": previous}).encode()
    headers = {"authorization": "Basic " + base64.b64encode(b"u:p").decode()}
    return Pipedrive().read(Request("POST", URL, headers, body), SourceConfig("crm", "pipedrive", ("u:p",)), NOW)


def salesforce(record: dict[str, Any]) -> Any:
    headers = {"authorization": "Bearer s", "content-type": "application/json"}
    body = json.dumps({"id": "e"} | record).encode()
    return Salesforce().read(Request("POST", URL, headers, body), SourceConfig("crm", "salesforce", ("s",)), NOW)


MERGES = [
    (
        hubspot(
            {
                "subscriptionType": "contact.merge",
                "primaryObjectId": 1,
                "mergedObjectIds": [2, 3],
                "newObjectId": 4,
                "numberOfPropertiesMoved": 5,
            }
        ),
        [["ext:crm:contact-1", f"ext:crm:contact-{other}"] for other in (2, 3, 4)],
    ),
    (
        hubspot(
            {
                "subscriptionType": "contact.merge",
                "objectId": 1,
                "primaryObjectId": 1,
                "mergedObjectIds": [1, 2],
                "newObjectId": None,
            }
        ),
        [["ext:crm:contact-1", "ext:crm:contact-2"]],
    ),
    (
        hubspot(
            {"subscriptionType": "object.merge", "objectTypeId": "0-1", "primaryObjectId": 1, "mergedObjectIds": ["2"]}
        ),
        [["ext:crm:contact-1", "ext:crm:contact-2"]],
    ),
    (
        hubspot({"subscriptionType": "company.merge", "primaryObjectId": 1, "mergedObjectIds": [2]}),
        [["ext:crm:company-1", "ext:crm:company-2"]],
    ),
    (
        hubspot({"subscriptionType": "contact.merge", "primaryObjectId": 1, "mergedObjectIds": "2;3"}),
        [["ext:crm:contact-1", f"ext:crm:contact-{other}"] for other in (2, 3)],
    ),
    (
        hubspot(
            {
                "subscriptionType": "contact.propertyChange",
                "objectId": 1,
                "propertyName": "hs_merged_object_ids",
                "propertyValue": "2;3",
            }
        ),
        [["ext:crm:contact-1", f"ext:crm:contact-{other}"] for other in (2, 3)],
    ),
    (pipedrive({"action": "delete"}, None, {"merged_to_id": 7}), [["ext:crm:person-7", "ext:crm:person-9"]]),
    (pipedrive({"action": "delete"}, {"merged_to_id": 7}), [["ext:crm:person-7", "ext:crm:person-9"]]),
    (
        pipedrive({"action": "delete", "merged_to_id": "7"}, None, {"name": "Ada", "emails": [{"value": "a@x.org"}]}),
        [["ext:crm:person-7", "ext:crm:person-9"]],
    ),
    (
        pipedrive({"action": "delete", "entity": "deal"}, None, {"merged_to_id": 7}),
        [["ext:crm:deal-7", "ext:crm:deal-9"]],
    ),
    (
        salesforce({"sobject": "Contact", "Id": "003A", "IsDeleted": True, "MasterRecordId": "003B"}),
        [["ext:crm:contact-003B", "ext:crm:contact-003A"]],
    ),
    (
        salesforce({"sobject": "Lead", "Id": "00QA", "IsConverted": True, "ConvertedContactId": "003B"}),
        [["ext:crm:contact-003B", "ext:crm:lead-00QA"]],
    ),
]


@pytest.mark.parametrize(("reading", "links"), MERGES)
def test_a_merge_links_the_records(reading: Any, links: list[list[str]]) -> None:
    found = touchpoints(reading)
    assert [touchpoint.keys for touchpoint in found] == links
    assert len({touchpoint.id for touchpoint in found}) == len(links)
    assert {touchpoint.direction for touchpoint in found} <= {"outbound", "inbound"}


@pytest.mark.parametrize(
    "reading",
    [
        pipedrive({"action": "delete"}, None, {"merged_to_id": None, "name": "Ada"}),
        pipedrive({"action": "delete"}, None, {"merged_to_id": 0}),
        hubspot({"subscriptionType": "contact.merge", "primaryObjectId": 9, "mergedObjectIds": []}),
        salesforce({"sobject": "Contact", "Id": "9", "MasterRecordId": None}),
    ],
)
def test_without_another_record_nothing_is_linked(reading: Any) -> None:
    ((key,),) = (touchpoint.keys for touchpoint in touchpoints(reading))
    assert key.endswith("-9")


def consent(reading: Any, channel: str) -> bool | None:
    profile = Profile()
    for touchpoint in touchpoints(reading):
        profile.take(touchpoint)
    return profile.consent(channel)


def optout(value: Any, name: str = "hs_email_optout") -> dict[str, Any]:
    return {"subscriptionType": "contact.propertyChange", "objectId": 5, "propertyName": name, "propertyValue": value}


@pytest.mark.parametrize(
    ("reading", "channel", "given"),
    [
        (hubspot(optout("true")), "email", False),
        (hubspot(optout("false")), "email", True),
        (hubspot(optout("")), "email", None),
        (hubspot(optout(True)), "email", False),
        (hubspot(optout(False)), "email", True),
        (hubspot(optout("TRUE")), "email", False),
        (hubspot(optout("False")), "email", True),
        (hubspot(optout(None)), "email", None),
        (hubspot(optout(False, "hs_email_optout_77")), "hubspot-subscription-77", True),
        (hubspot(optout("true", "hs_email_optout_77")), "hubspot-subscription-77", False),
        (hubspot(optout("false", "hs_email_optout_77")), "hubspot-subscription-77", True),
        (hubspot(optout("true", "hs_email_optout_77")), "email", None),
        (hubspot(optout("true", "hs_email_optout_77"), topics={77: "product-news"}), "product-news", False),
        (pipedrive({}, {"marketing_status": "subscribed"}, {"marketing_status": "unsubscribed"}), "email", True),
        (pipedrive({}, {"marketing_status": "unsubscribed"}, {"marketing_status": "subscribed"}), "email", False),
        (pipedrive({}, {"marketing_status": "subscribed"}, {"name": "A"}), "email", None),
        (pipedrive({}, {"marketing_status": "no_consent"}, {"marketing_status": "subscribed"}), "email", False),
        (pipedrive({}, {"marketing_status": "archived"}, {"marketing_status": "subscribed"}), "email", None),
        (pipedrive({"action": "create"}, {"marketing_status": "unsubscribed"}), "email", False),
        (pipedrive({"action": "create"}, {"marketing_status": "subscribed"}), "email", None),
        (pipedrive({"action": "create"}, {"marketing_status": "no_consent"}), "email", None),
        (salesforce({"sobject": "Contact", "Id": "1", "HasOptedOutOfEmail": "TRUE"}), "email", False),
        (salesforce({"sobject": "Contact", "Id": "1", "HasOptedOutOfEmail": True}), "email", False),
        (salesforce({"sobject": "Contact", "Id": "1", "HasOptedOutOfEmail": False}), "email", None),
    ],
)
def test_leaving_and_coming_back_in_a_crm(reading: Any, channel: str, given: bool | None) -> None:
    assert consent(reading, channel) is given


def test_a_topic_of_hubspot_is_not_taken_from_its_event() -> None:
    (touchpoint,) = touchpoints(hubspot(optout("true") | {"objectId": 5}))
    assert (touchpoint.type, touchpoint.channel, "channel" in touchpoint.properties) == ("unsubscribed", "email", False)


@pytest.mark.parametrize("nobody", [0, "0", "undefined", "null", None, ""])
def test_a_placeholder_is_no_record(nobody: Any) -> None:
    assert len(hubspot({"subscriptionType": "contact.creation", "objectId": nobody}).unreadable) == 1
    assert len(hubspot({"subscriptionType": "contact.merge", "primaryObjectId": nobody}).unreadable) == 1
    (deal,) = touchpoints(pipedrive({"entity": "deal"}, {"person_id": nobody}))
    assert deal.keys == ["ext:crm:deal-9"]
    (task,) = touchpoints(salesforce({"sobject": "Task", "Id": "00T1", "WhoId": nobody}))
    assert task.keys == ["ext:crm:task-00T1"]


@pytest.mark.parametrize("when", [1772366400000, "2026-03-01T12:00:00", "3/1/2026, 12:00 PM", "yesterday", True])
def test_a_time_that_is_stated_and_not_readable_is_not_replaced_by_the_time_of_receipt(when: Any) -> None:
    record = {"sobject": "Contact", "Id": "1", "LastModifiedDate": when}
    assert len(salesforce(record).unreadable) == 1
    (touchpoint,) = touchpoints(salesforce(record | {"SystemModstamp": "2026-02-01T12:00:00.000+0000"}))
    assert touchpoint.occurred_at == datetime(2026, 2, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("nothing", [{}, {"LastModifiedDate": None}, {"LastModifiedDate": ""}])
def test_a_record_without_a_time_has_the_time_of_receipt(nothing: dict[str, Any]) -> None:
    (touchpoint,) = touchpoints(salesforce({"sobject": "Contact", "Id": "1"} | nothing))
    assert touchpoint.occurred_at == NOW
