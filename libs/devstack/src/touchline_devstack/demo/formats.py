"""The company's deeds as its vendors write them. Pure: a deed in, a vendor's event out."""

from typing import Any
from zlib import crc32

from touchline_devstack.demo.people import CRM, Deed, Person

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
"""What the company says of a property of its own (``events`` of the source)."""

_HUBSPOT_DEALS = {"deal_won": "closedwon", "deal_lost": "closedlost", "proposal_sent": "contractsent"}
_HUBSPOT_MEETINGS = {"meeting_held": "COMPLETED", "meeting_missed": "NO_SHOW"}


def sendgrid_event(deed: Deed) -> JsonObject:
    """One event of SendGrid's Event Webhook; the customer's number is a custom argument of the mail."""
    event: JsonObject = {
        "event": _SENDGRID_EVENTS[deed.type],
        "email": deed.person.email,
        "timestamp": int(deed.at.timestamp()),
        "sg_event_id": deed.id,
        "customer_id": deed.person.customer_id,
        "category": deed.properties.get("campaign", ""),
    }
    if deed.machine:
        event["sg_machine_open"] = True
    return event


def contact_of(person: Person) -> int:
    """The CRM's number for a person."""
    return 50_000 + person.number


def hubspot_introduction(deed: Deed) -> list[JsonObject]:
    """A contact's address: what links the CRM's contact to the customer who signed up with it."""
    return [
        _hubspot(
            deed, "contact.propertyChange", contact_of(deed.person),
            propertyName="email", propertyValue=deed.person.email,
        )
    ]  # fmt: skip


def hubspot_events(deed: Deed) -> list[JsonObject]:
    """A deed of the sales team: the record's event, and what ties the record to its contact."""
    contact = contact_of(deed.person)
    if deed.type == "demo_booked":
        return [_hubspot(deed, "contact.propertyChange", contact, propertyName="demo_booked", propertyValue="true")]
    if deed.type in _HUBSPOT_DEALS:
        # One deal a person: its stages follow one another.
        record, number = "deal", contact
        event = _hubspot(
            deed, "deal.propertyChange", number, propertyName="dealstage", propertyValue=_HUBSPOT_DEALS[deed.type]
        )
    else:
        record, number = ("call" if deed.type == "call_held" else "meeting"), crc32(deed.id.encode())
        if deed.type in _HUBSPOT_MEETINGS:
            event = _hubspot(
                deed, "meeting.propertyChange", number,
                propertyName="hs_meeting_outcome", propertyValue=_HUBSPOT_MEETINGS[deed.type],
            )  # fmt: skip
        else:
            event = _hubspot(deed, f"{record}.creation", number)
    tie = _hubspot(
        deed, f"{record}.associationChange", number,
        associationType=f"{record.upper()}_TO_CONTACT", fromObjectId=number, toObjectId=contact,
    )  # fmt: skip
    return [event, tie]


def hubspot_keys(deed: Deed) -> set[str]:
    """The keys under which Touchline files these events, until they are linked."""
    contact = contact_of(deed.person)
    keys = {f"ext:{CRM}:contact-{contact}"}
    for event in hubspot_events(deed):
        record = event["subscriptionType"].split(".")[0]
        keys.add(f"ext:{CRM}:{record}-{event['objectId']}")
    return keys


def _hubspot(deed: Deed, subscription: str, number: int, **more: Any) -> JsonObject:
    return {
        "eventId": crc32(f"{deed.id} {subscription}".encode()),
        "subscriptionId": 17,
        "portalId": 4711,
        "appId": 42,
        "occurredAt": int(deed.at.timestamp() * 1000),
        "subscriptionType": subscription,
        "attemptNumber": 0,
        "objectId": number,
        **more,
    }
