"""The company's events as its vendors write them, read by ingest's own readers of those vendors."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from touchline_demo.clients.vendor_formats import (
    HUBSPOT_MEANINGS,
    hubspot_events,
    hubspot_introduction,
    hubspot_keys,
    sendgrid_event,
)
from touchline_demo.company.company import Company
from touchline_demo.company.live_scenes import LiveDay
from touchline_demo.company.people import CRM, MAILER, Event, InvalidEvent
from touchline_ingest.core.sources.crm.hubspot import HubSpot
from touchline_ingest.core.sources.interface import ReadResult, Request, SourceConfig, Understood
from touchline_ingest.core.sources.mail.sendgrid import SendGrid
from touchline_schemas.identity import keys_of

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
COMPANY = Company(7, NOW, NOW, customers=400)
URL = "http://127.0.0.1:8080/v1/webhooks/crm"


def events_of(source: str) -> list[Event]:
    published = [one for one in COMPANY.deliveries() if isinstance(one, Event) and not one.repeated]
    day = LiveDay(COMPANY)
    live = [event for number in range(100) for event in day.scene(number, NOW)]
    return [event for event in published + live if event.source == source]


def read_mail(events: list[dict[str, Any]]) -> ReadResult:
    key = generate_private_key(SECP256R1())
    public = base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    body, timestamp = orjson.dumps(events), str(int(NOW.timestamp()))
    headers = {
        "x-twilio-email-event-webhook-signature": base64.b64encode(
            key.sign(timestamp.encode() + body, ECDSA(SHA256()))
        ).decode(),
        "x-twilio-email-event-webhook-timestamp": timestamp,
    }
    return SendGrid().read(Request("POST", URL, headers, body), SourceConfig(MAILER, "sendgrid", (public,)), NOW)


def read_crm(events: list[dict[str, Any]]) -> ReadResult:
    body, timestamp = orjson.dumps(events), str(int(NOW.timestamp() * 1000))
    signed = b"POST" + URL.encode() + body + timestamp.encode()
    headers = {
        "x-hubspot-request-timestamp": timestamp,
        "x-hubspot-signature-v3": base64.b64encode(hmac.new(b"secret", signed, hashlib.sha256).digest()).decode(),
    }
    options = {"link_deals": True, "events": HUBSPOT_MEANINGS}
    return HubSpot().read(Request("POST", URL, headers, body), SourceConfig(CRM, "hubspot", ("secret",), options), NOW)


def test_every_mail_event_is_read_as_the_deed_it_was() -> None:
    events = events_of(MAILER)
    assert any(event.machine for event in events)
    reading = read_mail([sendgrid_event(event) for event in events])
    assert isinstance(reading, Understood)
    assert not reading.unreadable
    for event, draft in zip(events, reading.touchpoints, strict=True):
        assert (draft["type"], draft["id"], draft["machine"]) == (event.type, event.id, event.machine)
        assert (draft["customer_id"], draft["email"]) == (event.person.customer_id, event.person.email)
        assert timedelta(0) <= event.at - draft["occurred_at"] < timedelta(seconds=1)


def test_the_mail_event_that_nobody_knows_is_unreadable() -> None:
    strange = [one for one in COMPANY.deliveries() if isinstance(one, InvalidEvent) and one.source == MAILER]
    assert strange
    for one in strange:
        reading = read_mail([one.body])
        assert isinstance(reading, Understood)
        assert len(reading.unreadable) == 1


def test_every_deed_of_the_sales_team_is_read_as_what_it_was_and_tied_to_its_contact() -> None:
    events = events_of(CRM)
    assert {event.type for event in events} >= {
        "call_held",
        "meeting_held",
        "meeting_missed",
        "demo_booked",
        "deal_won",
    }
    for event in events:
        reading = read_crm(hubspot_introduction(event) + hubspot_events(event))
        assert isinstance(reading, Understood)
        assert not reading.unreadable
        introduction, published, *tied = reading.touchpoints
        assert introduction["email"] == event.person.email
        assert published["type"] == event.type
        keys = {
            key
            for draft in reading.touchpoints
            for key in keys_of(
                customer_id=draft.get("customer_id"), anonymous_id=None, email=None,
                external_id=draft.get("external_id"), source=CRM,
            )
        }  # fmt: skip
        assert keys == hubspot_keys(event)
        if event.type != "demo_booked":
            assert tied[0]["customer_id"] in keys
