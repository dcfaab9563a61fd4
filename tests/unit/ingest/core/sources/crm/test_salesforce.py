import base64
import json
from datetime import UTC, datetime
from xml.sax.saxutils import escape

import pytest
from touchline_ingest.core.sources.crm.salesforce import Salesforce
from touchline_ingest.core.sources.crm.soap import ACKNOWLEDGED, read_xml
from touchline_ingest.core.sources.interface import Request, RequestRejection, Understood

SOURCE = Salesforce()
ORGANIZATION = "00D000000000001EAA"
SECRET = "a-long-secret"
URL = f"https://in.example.org/v1/webhooks/sf?token={SECRET}"


def outbound_message(*records, organization=ORGANIZATION):
    notifications = "".join(
        f'<Notification><Id>04l00000000000{number}</Id><sObject xsi:type="sf:{sobject}" '
        'xmlns:sf="urn:sobject.enterprise.soap.sforce.com">'
        + "".join(f"<sf:{name}>{escape(value)}</sf:{name}>" for name, value in fields.items())
        + "</sObject></Notification>"
        for number, (sobject, fields) in enumerate(records)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        '<soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
        f"<OrganizationId>{organization}</OrganizationId><ActionId>04k000000000001AAA</ActionId>"
        '<SessionId xsi:nil="true"/><EnterpriseUrl>https://x</EnterpriseUrl><PartnerUrl>https://x</PartnerUrl>'
        f"{notifications}</notifications></soapenv:Body></soapenv:Envelope>"
    ).encode()


@pytest.fixture
def read(configured, now):
    def run(body, token=SECRET, content_type="text/xml; charset=utf-8", headers=None, **options):
        query = {"token": token} if token else {}
        request = Request("POST", URL, {"content-type": content_type, **(headers or {})}, body, query)
        return SOURCE.read(request, configured("salesforce", SECRET, **options), now)

    return run


WON = (
    "Opportunity",
    {"Id": "006000000000001AAA", "StageName": "Closed Won", "LastModifiedDate": "2026-03-01T11:00:00.000Z"},
)


def test_an_outbound_message_is_read_and_acknowledged(read, accepted):
    reading = read(outbound_message(WON, ("Contact", {"Id": "003A", "Email": "Ada@example.org"})))
    deal, contact = accepted(reading)
    assert (deal.id, deal.type, deal.key) == (
        "04l000000000000",
        "deal_won",
        "ext:vendor:opportunity-006000000000001AAA",
    )
    assert deal.occurred_at == datetime(2026, 3, 1, 11, 0, tzinfo=UTC)
    assert deal.properties["StageName"] == "Closed Won"
    assert contact.keys == ["email:ada@example.org", "ext:vendor:contact-003A"]
    assert reading.reply.body == ACKNOWLEDGED
    assert reading.reply.content_type.startswith("text/xml")
    acknowledgement = read_xml(ACKNOWLEDGED).child("Body", "notificationsResponse", "Ack")
    assert acknowledgement is not None
    assert acknowledgement.text == "true"


@pytest.mark.parametrize(
    ("sobject", "fields", "expected"),
    [
        ("Opportunity", {"StageName": "Gewonnen", "IsWon": "true", "IsClosed": "true"}, "deal_won"),
        ("Opportunity", {"StageName": "Verloren", "IsWon": "false", "IsClosed": "true"}, "deal_lost"),
        ("Opportunity", {"StageName": "Prospecting"}, "opportunity_changed"),
        ("Opportunity", {"StageName": "Proposal/Price Quote"}, "proposal_sent"),
        ("Task", {"TaskSubtype": "Call", "Status": "Completed"}, "call_held"),
        ("Task", {"TaskSubtype": "Call", "Status": "Not Started"}, "task_changed"),
        ("Event", {"StartDateTime": "2026-03-02T11:00:00Z"}, "meeting_scheduled"),
        ("Event", {"StartDateTime": "2026-02-28T11:00:00Z"}, "meeting_held"),
        ("Case", {"Status": "New"}, "ticket_opened"),
        ("Case", {"Status": "Closed"}, "ticket_resolved"),
        ("Visit__c", {}, "visit_changed"),
    ],
)
def test_records_become_touchpoints(read, accepted, sobject, fields, expected):
    (touchpoint,) = accepted(read(outbound_message((sobject, {"Id": "1", **fields}))))
    assert touchpoint.type == expected


def test_a_record_comes_under_its_contact_and_its_configured_fields(read, accepted):
    fields = {**WON[1], "ContactId": "003A", "Shop_Id__c": "u1", "Contact_Email__c": "ada@example.org"}
    message = outbound_message(("Opportunity", fields))
    (touchpoint,) = accepted(read(message, customer_id_field="Shop_Id__c", email_field="Contact_Email__c"))
    assert touchpoint.keys == ["u1", "email:ada@example.org", "ext:vendor:contact-003A"]


def test_a_flows_callout_is_read(read, accepted):
    bearer = {"authorization": f"Bearer {SECRET}"}
    changed = "2026-03-01T11:00:00.000+0000"
    fields = {"sobject": "Opportunity", "Id": "006A", "StageName": "Closed Lost", "LastModifiedDate": changed}
    record = json.dumps([fields]).encode()
    (deal,) = accepted(read(record, None, "application/json", bearer))
    (again,) = accepted(read(record, None, "application/json", bearer))
    assert (deal.type, deal.key) == ("deal_lost", "ext:vendor:opportunity-006A")
    assert deal.id == again.id
    own = b'{"type":"demo_booked","customer_id":"u1"}'
    (touchpoint,) = accepted(read(own, None, "application/json", bearer))
    assert (touchpoint.type, touchpoint.key) == ("demo_booked", "u1")


def test_every_way_to_send_the_secret_works_and_no_other(read):
    message = outbound_message(WON)
    basic = "Basic " + base64.b64encode(SECRET.encode()).decode()
    assert isinstance(read(message, None, headers={"authorization": f"Bearer {SECRET}"}), Understood)
    assert isinstance(read(message, None, headers={"authorization": basic}), Understood)
    for token, headers in (("wrong", {}), (None, {}), (None, {"authorization": "Bearer wrong"})):
        refused = read(message, token, headers=headers)
        assert isinstance(refused, RequestRejection)
        assert refused.status == 401


def test_another_organization_is_refused(read):
    assert isinstance(read(outbound_message(WON), organization_id=ORGANIZATION[:15]), Understood)
    refused = read(outbound_message(WON, organization="00D000000000002EAA"), organization_id=ORGANIZATION)
    assert isinstance(refused, RequestRejection)
    assert refused.status == 403


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b"<!DOCTYPE a><a/>",
        b"<a>" * 100 + b"</a>" * 100,
        b"<a>" + b"<b/>" * 60_000 + b"</a>",
        b"<a>&undefined;</a>",
        b"<a>",
        b"<a/>",
        b"<\xff\xfe",
        b"<?xml version='1.0' encoding='nonsense'?><a/>",
        b"<a>" + b"x" * 1_000_001 + b"</a>",
    ],
)
def test_dangerous_or_broken_xml_is_kept_unread(read, body):
    reading = read(body)
    assert isinstance(reading, Understood)
    assert reading.unreadable[0].body == body
    assert not reading.touchpoints


def test_a_record_that_names_nobody_is_kept(read):
    reading = read(outbound_message(WON, ("Opportunity", {"StageName": "Closed Won"})))
    assert len(reading.touchpoints) == 1
    assert "names no customer" in reading.unreadable[0].reason


@pytest.mark.parametrize(
    ("index", "inserted"),
    [
        (b"<soapenv:Envelope", b"<!DOCTYPE soapenv:Envelope>"),
        (b"<soapenv:Envelope", b'<!DOCTYPE x [<!ENTITY y "z">]>'),
        (b"<ActionId>", b"<x>" * 40 + b"</x>" * 40),
    ],
)
def test_a_message_with_something_dangerous_in_it_is_not_read_at_all(read, index, inserted):
    body = outbound_message(WON).replace(index, inserted + index, 1)
    reading = read(body)
    assert not reading.touchpoints
    assert reading.unreadable[0].body == body
