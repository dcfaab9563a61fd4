"""Pipedrive's webhooks, version 2. Pipedrive signs nothing: it sends the Basic credentials of the webhook's settings.

The secret is ``user:password``. A deal or an activity comes under its person (``person-7``) where it names one, else
under itself (``deal-9``); a person's primary address links the person to it. A record that was deleted because it was
merged into another (``merged_to_id``) is linked with that one. A person's ``marketing_status`` gives or refuses
consent.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from touchline_schemas.identity import EXTERNAL

from touchline_ingest.core.mapping.event_names import check_events, snake_case
from touchline_ingest.core.mapping.vendor_events import meaning
from touchline_ingest.core.sources.interface import ReadResult, Reply, Request, SourceConfig, TouchpointDraft
from touchline_ingest.core.sources.mail.postmark import check_credentials
from touchline_ingest.core.sources.proofs import wrong_credentials
from touchline_ingest.core.sources.values import (
    UnreadableError,
    as_email,
    as_identifier,
    as_object,
    as_text,
    child,
    derived_id,
    fitting_id,
    from_rfc3339,
    from_unix,
    required_time,
    understand_json,
    without_none,
)

_TYPES = {
    "deal.won": "deal_won",
    "deal.lost": "deal_lost",
    "activity.call.done": "call_held",
    "activity.meeting.done": "meeting_held",
    "activity.lunch.done": "meeting_held",
    "activity.meeting.added": "meeting_scheduled",
    "activity.lunch.added": "meeting_scheduled",
    "activity.demo.added": "demo_booked",
    "activity.demo.done": "meeting_held",
    "person.create": "person_created",
    "person.change": "identified",
}
_PAST = {"create": "created", "change": "changed", "delete": "deleted"}
_REPLY = Reply(200)


class Pipedrive:
    """Reads Pipedrive's webhooks, one change a request."""

    kind = "pipedrive"

    def check(self, config: SourceConfig) -> Sequence[str]:
        """The secrets must be ``user:password``."""
        return [*check_credentials(config), *check_events(config.options.get("events"))]

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """Check the credentials, then read the change."""
        refusal = wrong_credentials(
            request.headers, config, "set HTTP auth username and password in the webhook's settings in Pipedrive"
        )
        if refusal:
            return refusal
        return understand_json(request.body, lambda change: _draft(change, config), reply=_REPLY)


def _draft(change: dict[str, Any], config: SourceConfig) -> TouchpointDraft:
    meta = as_object(change.get("meta"), "meta")
    entity, action = as_text(meta.get("entity")), as_text(meta.get("action"))
    number = as_identifier(meta.get("entity_id"))
    if not entity or not action or not number:
        raise UnreadableError("meta lacks entity, action or entity_id: it is no webhook of version 2")
    before = change.get("previous")
    before = before if isinstance(before, dict) else {}
    # A deleted record is in "previous" alone.
    data = change.get("data")
    record: dict[str, Any] = data if isinstance(data, dict) else before
    names = _names(entity, action, record, before)
    fallback = f"{entity}_{_PAST[action]}" if names[0].endswith(f".{action}") and action in _PAST else names[0]
    meant = meaning(names, _TYPES, config.options.get("events"), "sales", fallback=snake_case(fallback))
    into = _merged_into(change) if action == "delete" else None
    moment = from_rfc3339(meta.get("timestamp")) or from_unix(meta.get("timestamp"))
    event_id = fitting_id(meta.get("id")) or derived_id("pipedrive", entity, number, action, meta.get("timestamp"))
    return without_none(
        {
            "id": event_id,
            "type": meant.type,
            "channel": meant.channel,
            "direction": meant.direction,
            **(_people(entity, number, record, config) if into is None else _merged(entity, number, into, config)),
            "occurred_at": required_time(moment, "meta.timestamp"),
            "properties": {
                "pipedrive_event": names[0],
                f"{entity}_id": number,
                **record,
                "previous": before,
                **_consent(entity, action, record, before),
            },
        }
    )


_CONSENT = {"subscribed": True, "unsubscribed": False, "no_consent": False}


def _consent(entity: str, action: str, record: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What a changed marketing status says; Pipedrive's field says nothing while it stays as it was.

    A new person who is unsubscribed already has refused; one who is subscribed lifts no earlier refusal.
    """
    status = as_text(record.get("marketing_status")) or ""
    given = _CONSENT.get(status)
    told = "marketing_status" in before or (action == "create" and status == "unsubscribed")
    return {"consent": {"email": given}} if entity == "person" and told and given is not None else {}


def _merged_into(change: dict[str, Any]) -> str | None:
    """The id of the record that a deleted one was merged into."""
    objects = (change.get("meta"), change.get("data"), change.get("previous"))
    return next((found for found in (as_identifier(child(one, "merged_to_id")) for one in objects) if found), None)


def _names(entity: str, action: str, record: dict[str, Any], before: dict[str, Any]) -> tuple[str, ...]:
    """The event's names, the most telling first. ``before`` holds the old values of what changed, and only those."""
    plain = f"{entity}.{action}"
    if entity == "deal" and action in ("create", "change"):
        became = record.get("status") if action == "create" or "status" in before else None
        if became in ("won", "lost"):
            return (f"deal.{became}", plain)
        if "stage_id" in before:
            return ("deal.stage_changed", plain)
    if entity == "activity" and action in ("create", "change"):
        kind = snake_case(as_text(record.get("type")) or "activity")
        if record.get("done") is True and (action == "create" or "done" in before):
            return (f"activity.{kind}.done", "activity.done", plain)
        if action == "create":
            return (f"activity.{kind}.added", "activity.added", plain)
    return (plain,)


def _merged(entity: str, number: str, into: str, config: SourceConfig) -> dict[str, str | None]:
    return {"customer_id": f"{EXTERNAL}{config.name}:{entity}-{into}", "external_id": f"{entity}-{number}"}


def _people(entity: str, number: str, record: dict[str, Any], config: SourceConfig) -> dict[str, str | None]:
    person = number if entity == "person" else as_identifier(record.get("person_id"))
    people: dict[str, str | None] = {"external_id": f"person-{person}" if person else f"{entity}-{number}"}
    if entity == "person":
        emails = record.get("emails") if isinstance(record.get("emails"), list) else []
        ranked = sorted(emails or [], key=lambda email: child(email, "primary") is not True)
        people["email"] = next(
            (address for address in (as_email(child(one, "value")) for one in ranked) if address), None
        )
        field = config.options.get("customer_id_field")
        if isinstance(field, str):
            own = child(record, "custom_fields", field)
            people["customer_id"] = as_identifier(child(own, "value") if isinstance(own, dict) else own)
    return people
