"""The company's events in its vendors' formats: one event in, one vendor payload out."""

from typing import Any
from zlib import crc32

from touchline_demo.company.people import CRM, Event, Person

JsonObject = dict[str, Any]

SEGMENT_EVENTS = {
    "signed_up": "Signed Up",
    "checkout_started": "Checkout Started",
    "purchased": "Order Completed",
    "ad_clicked": "Ad Clicked",
}
"""How the shop's code names what it tracks; Touchline knows these names."""

_SENDGRID_EVENTS = {
    "email_delivered": "delivered",
    "email_opened": "open",
    "email_clicked": "click",
    "unsubscribed": "unsubscribe",
    "email_bounced": "bounce",
}

HUBSPOT_MEANINGS = {"contact.propertyChange demo_booked": "demo_booked"}
"""How the company maps a property of its own (``events`` of the source)."""

_HUBSPOT_DEALS = {"deal_won": "closedwon", "deal_lost": "closedlost", "proposal_sent": "contractsent"}
_HUBSPOT_MEETINGS = {"meeting_held": "COMPLETED", "meeting_missed": "NO_SHOW"}


def sendgrid_event(event: Event) -> JsonObject:
    """One event of SendGrid's Event Webhook; the customer's number is a custom argument of the mail."""
    payload: JsonObject = {
        "event": _SENDGRID_EVENTS[event.type],
        "email": event.person.email,
        "timestamp": int(event.at.timestamp()),
        "sg_event_id": event.id,
        "customer_id": event.person.customer_id,
        "category": event.properties.get("campaign", ""),
    }
    if event.machine:
        payload["sg_machine_open"] = True
    return payload


def contact_of(person: Person) -> int:
    """The CRM's number for a person."""
    return 50_000 + person.number


def hubspot_introduction(event: Event) -> list[JsonObject]:
    """A contact's address: what links the CRM's contact to the customer who signed up with it."""
    return [
        _hubspot(
            event, "contact.propertyChange", contact_of(event.person),
            propertyName="email", propertyValue=event.person.email,
        )
    ]  # fmt: skip


def hubspot_events(event: Event) -> list[JsonObject]:
    """An event of the sales team: the record's event, and what ties the record to its contact."""
    contact = contact_of(event.person)
    if event.type == "demo_booked":
        return [_hubspot(event, "contact.propertyChange", contact, propertyName="demo_booked", propertyValue="true")]
    if event.type in _HUBSPOT_DEALS:
        # One deal a person: its stages follow one another.
        record, number = "deal", contact
        payload = _hubspot(
            event, "deal.propertyChange", number, propertyName="dealstage", propertyValue=_HUBSPOT_DEALS[event.type]
        )
    else:
        record, number = ("call" if event.type == "call_held" else "meeting"), crc32(event.id.encode())
        if event.type in _HUBSPOT_MEETINGS:
            payload = _hubspot(
                event, "meeting.propertyChange", number,
                propertyName="hs_meeting_outcome", propertyValue=_HUBSPOT_MEETINGS[event.type],
            )  # fmt: skip
        else:
            payload = _hubspot(event, f"{record}.creation", number)
    tie = _hubspot(
        event, f"{record}.associationChange", number,
        associationType=f"{record.upper()}_TO_CONTACT", fromObjectId=number, toObjectId=contact,
    )  # fmt: skip
    return [payload, tie]


def hubspot_keys(event: Event) -> set[str]:
    """The keys under which Touchline files these events, until they are linked."""
    contact = contact_of(event.person)
    keys = {f"ext:{CRM}:contact-{contact}"}
    for payload in hubspot_events(event):
        record = payload["subscriptionType"].split(".")[0]
        keys.add(f"ext:{CRM}:{record}-{payload['objectId']}")
    return keys


def _hubspot(event: Event, subscription: str, number: int, **more: Any) -> JsonObject:
    return {
        "eventId": crc32(f"{event.id} {subscription}".encode()),
        "subscriptionId": 17,
        "portalId": 4711,
        "appId": 42,
        "occurredAt": int(event.at.timestamp() * 1000),
        "subscriptionType": subscription,
        "attemptNumber": 0,
        "objectId": number,
        **more,
    }
