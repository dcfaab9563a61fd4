"""Salesforce: outbound messages (SOAP, from a flow's or a workflow rule's action) and a flow's HTTP callout (JSON).

Salesforce signs neither. The secret comes as the flow's named credential sends it (``Authorization: Bearer <secret>``,
or Basic with secret ``user:password``), or, for outbound messages, whose settings know a URL alone, as ``?token=`` in
it; ``organization_id`` is checked as well where it is set.

A callout's body is one record or an array: its fields, with ``sobject`` for the object's name and ``id`` for the
event's. A body with ``type`` is a touchpoint's own fields. A record names its person by the field in
``customer_id_field``, the one in ``email_field`` (else ``Email``), and ContactId, WhoId, PersonContactId, else itself.
A record that was merged (``MasterRecordId``) or a lead that was converted (``ConvertedContactId``) is linked with the
one that stays. ``HasOptedOutOfEmail`` refuses consent where it is true; false is no consent, for every record has it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from touchline_runtime.http.credentials import basic_text
from touchline_schemas.identity import EXTERNAL

from touchline_ingest.core.mapping.event_names import check_events, snake_case
from touchline_ingest.core.mapping.vendor_events import meaning
from touchline_ingest.core.sources.crm.soap import ACKNOWLEDGED, Notification, read_outbound_message
from touchline_ingest.core.sources.interface import (
    ReadResult,
    Reply,
    Request,
    RequestRejection,
    SourceConfig,
    TouchpointDraft,
    Understood,
    Unreadable,
)
from touchline_ingest.core.sources.proofs import check_secret, same_secret
from touchline_ingest.core.sources.values import (
    UnreadableError,
    as_email,
    as_identifier,
    as_text,
    content_id,
    fitting_id,
    from_rfc3339,
    understand_json,
    unreadable_whole,
    without_none,
)

_TYPES = {
    "Opportunity.won": "deal_won",
    "Opportunity.lost": "deal_lost",
    "Opportunity.Proposal/Price Quote": "proposal_sent",
    "Task.call": "call_held",
    "Event.planned": "meeting_scheduled",
    "Event.past": "meeting_held",
    "Case.New": "ticket_opened",
    "Case.closed": "ticket_resolved",
    "Lead": "lead_changed",
    "Contact": "identified",
}
_ACK = Reply(200, ACKNOWLEDGED, "text/xml; charset=utf-8")
_WHEN = ("LastModifiedDate", "SystemModstamp", "CreatedDate")


class Salesforce:
    """Reads Salesforce's outbound messages and callouts."""

    kind = "salesforce"

    def check(self, config: SourceConfig) -> Sequence[str]:
        """A secret is needed."""
        problems = check_secret(config, "a secret of your own, 32 characters or more")
        for name in ("organization_id", "customer_id_field", "email_field"):
            if not isinstance(config.options.get(name, ""), str):
                problems.append(f"{name}: write a text")
        return [*problems, *check_events(config.options.get("events"))]

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """Check the secret, then read the message or the callout."""
        if not _knows_secret(request, config):
            return RequestRejection(
                401,
                "credentials not valid",
                "Send this source's secret: as Authorization Bearer or Basic from a named credential, or as ?token= in "
                "an outbound message's endpoint URL.",
                {"WWW-Authenticate": 'Bearer realm="touchline"'},
            )
        if request.body.lstrip()[:1] == b"<" or "xml" in request.headers.get("content-type", ""):
            return _read_message(request.body, config, now)
        return understand_json(
            request.body, lambda record: _callout_draft(record, config, now, request.body), lists=True
        )


def _knows_secret(request: Request, config: SourceConfig) -> bool:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = (
        token.strip() if scheme.lower() == "bearer" else None,
        basic_text(request.headers.get("authorization", "")),
        request.query.get("token"),
    )
    return any(same_secret(one, config.secrets) for one in given if one)


def _read_message(body: bytes, config: SourceConfig, now: datetime) -> ReadResult:
    try:
        message = read_outbound_message(body)
    except UnreadableError as reason:
        return unreadable_whole(body, f"body {reason}", reply=_ACK)
    expected = config.options.get("organization_id")
    # Salesforce ids come in 15 characters or, with a checksum, 18.
    if isinstance(expected, str) and message.organization_id[:15] != expected[:15]:
        return RequestRejection(403, "organization not allowed", "OrganizationId is not this source's organization_id.")
    drafts: list[TouchpointDraft] = []
    unreadable = [Unreadable(body, "a Notification has no Id or sObject")] if message.unreadable else []
    for index, notification in enumerate(message.notifications):
        try:
            drafts.append(_message_draft(notification, config, now))
        except UnreadableError as reason:
            unreadable.append(Unreadable(body, f"notification {notification.id} {reason}", index))
    return Understood(drafts, unreadable, _ACK)


def _message_draft(notification: Notification, config: SourceConfig, now: datetime) -> TouchpointDraft:
    event_id = fitting_id(notification.id)
    return _draft(notification.sobject, notification.fields, event_id, config, now)


def _callout_draft(record: dict[str, Any], config: SourceConfig, now: datetime, whole: bytes) -> TouchpointDraft:
    if isinstance(record.get("type"), str):
        # The flow's author wrote a touchpoint.
        written = without_none(record)
        return {"occurred_at": now, **written, "id": record.get("id") or content_id("salesforce", record, whole)}
    attributes = record.get("attributes")
    sobject = as_text(record.get("sobject") or (attributes.get("type") if isinstance(attributes, dict) else None))
    fields = {name: value for name, value in record.items() if name not in ("sobject", "attributes", "id")}
    event_id = fitting_id(record.get("id")) or content_id("salesforce", record, whole)
    return _draft(sobject or "", fields, event_id, config, now)


def _draft(
    sobject: str, fields: Mapping[str, Any], event_id: str | None, config: SourceConfig, now: datetime
) -> TouchpointDraft:
    if not sobject:
        raise UnreadableError("doesn't say which object it is: give sobject (Opportunity, Task, Event, Case, Contact)")
    moment = _when(fields, now)
    names = _names(sobject, fields, moment)
    fallback = f"{snake_case(sobject.removesuffix('__c'))}_changed"
    meant = meaning(names, _TYPES, config.options.get("events"), "sales", fallback=fallback)
    held = from_rfc3339(fields.get("StartDateTime")) if names[0] == "Event.past" else None
    return without_none(
        {
            "id": event_id,
            "type": meant.type,
            "channel": meant.channel,
            "direction": meant.direction,
            **_people(sobject, fields, config),
            "occurred_at": held or moment,
            "properties": {"sobject": sobject, **fields, **_consent(fields)},
        }
    )


def _when(fields: Mapping[str, Any], now: datetime) -> datetime:
    """When the record was changed; now, where none of its fields says so.

    Raises:
        UnreadableError: fields say so, and none can be read: now would be a time that nobody stated.
    """
    stated = [name for name in _WHEN if fields.get(name) not in (None, "")]
    found = next((moment for moment in (from_rfc3339(fields[name]) for name in stated) if moment), None)
    if stated and found is None:
        raise UnreadableError(f"{stated[0]} {fields[stated[0]]!r} is no time with a zone")
    return found or now


def _names(sobject: str, fields: Mapping[str, Any], moment: datetime) -> tuple[str, ...]:
    """The record's names, the most telling first. In SOAP, booleans are the texts true and false."""
    if sobject == "Opportunity":
        stage = as_text(fields.get("StageName")) or ""
        if _true(fields.get("IsWon")) or stage == "Closed Won":
            return ("Opportunity.won", f"Opportunity.{stage}", sobject)
        if _true(fields.get("IsClosed")) or stage == "Closed Lost":
            return ("Opportunity.lost", f"Opportunity.{stage}", sobject)
        return (f"Opportunity.{stage}", sobject)
    if sobject == "Task" and "Call" in (fields.get("TaskSubtype"), fields.get("Type")):
        done = _true(fields.get("IsClosed")) or fields.get("Status") == "Completed"
        return ("Task.call" if done else "Task.call_planned", sobject)
    if sobject == "Event":
        start = from_rfc3339(fields.get("StartDateTime"))
        return ("Event.past" if start is not None and start <= moment else "Event.planned", sobject)
    if sobject == "Case":
        status = as_text(fields.get("Status")) or ""
        closed = _true(fields.get("IsClosed")) or status == "Closed"
        return ("Case.closed" if closed else f"Case.{status}", sobject)
    return (sobject,)


def _true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def _consent(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"consent": {"email": False}} if _true(fields.get("HasOptedOutOfEmail")) else {}


def _stays(sobject: str, fields: Mapping[str, Any]) -> str | None:
    """The external id of the record that this one was merged or converted into."""
    converted = as_identifier(fields.get("ConvertedContactId"))
    if sobject == "Lead" and converted:
        return f"contact-{converted}"
    master = as_identifier(fields.get("MasterRecordId"))
    return f"{snake_case(sobject.removesuffix('__c'))}-{master}" if master else None


def _people(sobject: str, fields: Mapping[str, Any], config: SourceConfig) -> dict[str, str | None]:
    customer_field, email_field = config.options.get("customer_id_field"), config.options.get("email_field", "Email")
    customer = as_identifier(fields.get(customer_field)) if isinstance(customer_field, str) else None
    email = as_email(fields.get(email_field)) if isinstance(email_field, str) else None
    own_id = as_identifier(fields.get("Id"))
    stays = _stays(sobject, fields)
    if stays and own_id:
        own = f"{snake_case(sobject.removesuffix('__c'))}-{own_id}"
        return {"customer_id": f"{EXTERNAL}{config.name}:{stays}", "email": None, "external_id": own}
    contact = next(
        (
            found
            for found in map(as_identifier, (fields.get(n) for n in ("ContactId", "WhoId", "PersonContactId")))
            if found
        ),
        None,
    )
    if contact:
        external: str | None = f"contact-{contact}"
    else:
        external = f"{snake_case(sobject.removesuffix('__c'))}-{own_id}" if own_id else None
    if not (customer or email or external):
        raise UnreadableError("names no customer: add Id, ContactId or Email to the fields that are sent")
    return {"customer_id": customer, "email": email, "external_id": external}
