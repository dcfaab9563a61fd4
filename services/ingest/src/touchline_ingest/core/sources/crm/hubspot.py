"""HubSpot's webhooks, signature version 3.

``X-HubSpot-Signature-v3`` is base64 HMAC-SHA256, under the app's client secret, of method + URI + body + timestamp
(milliseconds). The URI is the public one that HubSpot called, with a fixed list of escapes decoded: behind a proxy that
changes it, set the public base URL, or this source's ``public_url`` to the exact target URL.

HubSpot's events name records, not customers: they come under ``external_id`` as ``deal-123``, ``contact-7``. A
contact's ``email`` (and the property named by ``customer_id_property``) links the contact to it. With
``link_deals: true``, so does an association of a deal, call, meeting or ticket with a contact; leave it off where one
deal has several contacts, for it would make one customer of them. A merge links the merged records to the one that
stays.

``hs_email_optout`` refuses or gives consent for all mail, ``hs_email_optout_<number>`` for one subscription: its
consent channel is what the source's ``topics`` say of the number, else ``hubspot-subscription-<number>``.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from touchline_schemas.identity import EXTERNAL
from touchline_schemas.mail_events import SUBSCRIBED, UNSUBSCRIBED

from touchline_ingest.core.mapping.event_names import check_events
from touchline_ingest.core.mapping.vendor_events import meaning
from touchline_ingest.core.sources.interface import ReadResult, Request, RequestRejection, SourceConfig, TouchpointDraft
from touchline_ingest.core.sources.mail.email_events import check_topics, topic_channel
from touchline_ingest.core.sources.proofs import (
    any_matches,
    check_secret,
    check_tolerance,
    from_base64,
    hmac_sha256,
    not_genuine,
    tolerance_of,
    wrong_age,
)
from touchline_ingest.core.sources.values import (
    UnreadableError,
    as_email,
    as_identifier,
    as_text,
    content_id,
    derived_id,
    from_unix,
    required_time,
    understand_json,
    without_none,
)

_ESCAPES = re.compile("%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
_OBJECT_TYPES = {"0-1": "contact", "0-2": "company", "0-3": "deal", "0-5": "ticket", "0-47": "meeting", "0-48": "call"}
_TYPES = {
    "deal.propertyChange dealstage=closedwon": "deal_won",
    "deal.propertyChange dealstage=closedlost": "deal_lost",
    "deal.propertyChange dealstage=contractsent": "proposal_sent",
    "deal.propertyChange dealstage": "deal_stage_changed",
    "deal.creation": "deal_created",
    "call.creation": "call_held",
    "meeting.creation": "meeting_scheduled",
    "meeting.propertyChange hs_meeting_outcome=SCHEDULED": "meeting_scheduled",
    "meeting.propertyChange hs_meeting_outcome=RESCHEDULED": "meeting_scheduled",
    "meeting.propertyChange hs_meeting_outcome=COMPLETED": "meeting_held",
    "meeting.propertyChange hs_meeting_outcome=NO_SHOW": "meeting_missed",
    "meeting.propertyChange hs_meeting_outcome=CANCELED": "meeting_cancelled",
    "ticket.creation": "ticket_opened",
    # The closed stage of the pipeline every account starts with.
    "ticket.propertyChange hs_pipeline_stage=4": "ticket_resolved",
    "contact.creation": "contact_created",
    "contact.propertyChange email": "identified",
    "contact.propertyChange hs_email_optout=true": UNSUBSCRIBED,
    "contact.propertyChange hs_email_optout=false": SUBSCRIBED,
    "contact.propertyChange subscription=true": UNSUBSCRIBED,
    "contact.propertyChange subscription=false": SUBSCRIBED,
}
_SUBSCRIPTION = re.compile("hs_email_optout_([0-9]+)")
_MERGED_IDS = "hs_merged_object_ids"
_NOT_CONTENT = frozenset({"attemptNumber"})


class HubSpot:
    """Reads HubSpot's batches of record events."""

    kind = "hubspot"

    def check(self, config: SourceConfig) -> Sequence[str]:
        """A client secret is needed."""
        problems = check_secret(config, "the HubSpot app's client secret")
        url = config.options.get("public_url")
        if url is not None and not (isinstance(url, str) and url.startswith(("https://", "http://"))):
            problems.append("public_url: write the webhook's target URL exactly as in HubSpot, https://…")
        if not isinstance(config.options.get("link_deals", False), bool):
            problems.append("link_deals: write true or false")
        problems += check_topics(config)
        return [*problems, *check_tolerance(config), *check_events(config.options.get("events"))]

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """Check the signature and its age, then read the events."""
        refusal = _refusal(request, config, now)
        if refusal:
            return refusal
        return understand_json(request.body, lambda event: _drafts(event, config, request.body), lists=True)


def signed_uri(url: str) -> str:
    """The URI as HubSpot signs it: these escapes decoded, and no others."""
    return _ESCAPES.sub(lambda found: unquote(found[0]), url)


def _refusal(request: Request, config: SourceConfig, now: datetime) -> RequestRejection | None:
    timestamp = request.headers.get("x-hubspot-request-timestamp", "")
    signature = from_base64(request.headers.get("x-hubspot-signature-v3", ""))
    if not timestamp or not signature:
        return not_genuine("The headers X-HubSpot-Signature-v3 and X-HubSpot-Request-Timestamp are needed.")
    url = config.options.get("public_url")
    before = (request.method.upper() + signed_uri(url if isinstance(url, str) else request.url)).encode(
        errors="replace"
    )
    after = timestamp.encode(errors="replace")
    secrets = [secret for secret in config.secrets if secret]
    expected = (hmac_sha256(secret, before, body, after) for secret in secrets for body in request.signed_bodies)
    if not any_matches(expected, (signature,)):
        return not_genuine(
            "The signature doesn't match under this source's secret: check that it is the app's client secret, and "
            "that the public base URL set here is the one that HubSpot calls (the URL is signed too)."
        )
    return wrong_age(from_unix(timestamp, per_second=1000) if timestamp.isdigit() else None, now, tolerance_of(config))


def _drafts(event: dict[str, Any], config: SourceConfig, whole: bytes) -> list[TouchpointDraft]:
    subscription = event.get("subscriptionType") or event.get("eventType")
    if not isinstance(subscription, str) or "." not in subscription:
        raise UnreadableError("has no subscriptionType")
    record, _, what = subscription.partition(".")
    if record == "object":
        # The newer generic subscriptions say which object by a number.
        object_type = event.get("objectTypeId")
        record = _OBJECT_TYPES.get(object_type, object_type) if isinstance(object_type, str) else "object"
    name = f"{record}.{what}"
    names = [name]
    changed, value = as_text(event.get("propertyName")), event.get("propertyValue")
    topic = None
    if changed:
        text = _as_value(value)
        names = [f"{name} {changed}={text}", f"{name} {changed}", name]
        listed = _SUBSCRIPTION.fullmatch(changed)
        if listed and record == "contact" and text in ("true", "false"):
            topic = topic_channel(config, "hubspot-subscription", listed[1])
            names.insert(1, f"{name} subscription={text}")
    meant = meaning(tuple(names), _TYPES, config.options.get("events"), "sales", fallback=_fallback(record, what))
    content = {key: item for key, item in event.items() if key not in _NOT_CONTENT}
    event_id = content_id("hubspot", content, whole)
    draft = {
        "type": meant.type,
        "channel": meant.channel,
        "direction": meant.direction,
        "occurred_at": required_time(from_unix(event.get("occurredAt"), per_second=1000), "occurredAt"),
        # Only the consent channel is a word of ours here: HubSpot's own fields can't take its place.
        "properties": {"hubspot_event": name, **content} | ({"channel": topic} if topic else {}),
    }
    if what == "merge" or changed == _MERGED_IDS:
        links = _merged(record, event if what == "merge" else {**event, "mergedObjectIds": value}, config)
        ids = [event_id if not number else derived_id(event_id, number) for number in range(len(links))]
        return [without_none({"id": one, **draft, **people}) for one, people in zip(ids, links, strict=True)]
    return [without_none({"id": event_id, **draft, **_people(record, what, event, config)})]


def _as_value(value: Any) -> str | None:
    """A property's value as HubSpot writes it: booleans are the texts true and false."""
    text = ("true" if value else "false") if isinstance(value, bool) else as_text(value)
    return text.lower() if text is not None and text.lower() in ("true", "false") else text


def _fallback(record: str, what: str) -> str:
    endings = {"creation": "created", "deletion": "deleted", "merge": "merged", "restore": "restored"}
    endings |= {"propertyChange": "changed", "associationChange": "linked", "privacyDeletion": "privacy_deleted"}
    return f"{record}_{endings.get(what, what)}".replace("-", "_").lower()


def _people(record: str, what: str, event: dict[str, Any], config: SourceConfig) -> dict[str, str | None]:
    if what == "associationChange":
        return _associated(event, config)
    number = as_identifier(event.get("objectId"))
    if number is None:
        raise UnreadableError("has no objectId, so it names no customer")
    people: dict[str, str | None] = {"external_id": f"{record}-{number}"}
    if record == "contact" and what == "propertyChange":
        value = event.get("propertyValue")
        if event.get("propertyName") == "email":
            people["email"] = as_email(value)
        elif event.get("propertyName") == config.options.get("customer_id_property"):
            people["customer_id"] = as_identifier(value)
    return people


def _merged(record: str, event: dict[str, Any], config: SourceConfig) -> list[dict[str, str | None]]:
    """Who a merge concerns: the record that stays, linked with each that went into it (and with a new one, if any)."""
    stays = as_identifier(event.get("primaryObjectId")) or as_identifier(event.get("objectId"))
    merged = event.get("mergedObjectIds")
    if isinstance(merged, str):
        # As the property hs_merged_object_ids has them.
        merged = merged.split(";")
    listed = [*(merged if isinstance(merged, list) else [merged]), event.get("newObjectId")]
    others = list(dict.fromkeys(one for one in map(as_identifier, listed) if one and one != stays))
    if stays is None:
        raise UnreadableError("has no primaryObjectId, so it names no customer")
    if not others:
        return [{"external_id": f"{record}-{stays}"}]
    return [
        {"customer_id": f"{EXTERNAL}{config.name}:{record}-{stays}", "external_id": f"{record}-{other}"}
        for other in others
    ]


def _associated(event: dict[str, Any], config: SourceConfig) -> dict[str, str | None]:
    """Who an association concerns: ``DEAL_TO_CONTACT`` joins the deal to the contact, where that is wanted."""
    ends = str(event.get("associationType", "")).lower().split("_to_")
    ids = [as_identifier(event.get("fromObjectId")), as_identifier(event.get("toObjectId"))]
    if len(ends) != 2 or not all(ids):
        raise UnreadableError("has no associationType with fromObjectId and toObjectId, so it names no customer")
    by_record = {f"{end}-{number}": end for end, number in zip(ends, ids, strict=True)}
    contact = next((key for key, end in by_record.items() if end == "contact"), None)
    other = next((key for key, end in by_record.items() if end in ("deal", "call", "meeting", "ticket")), None)
    removed = event.get("associationRemoved") is True
    if contact and other and not removed and config.options.get("link_deals") is True:
        return {"customer_id": f"{EXTERNAL}{config.name}:{contact}", "external_id": other}
    return {"external_id": contact or other or next(iter(by_record))}
