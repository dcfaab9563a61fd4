"""What is published when an action's delivery is finished: the action's event, and a touchpoint on the customer's
timeline. The touchpoint comes from source ``notifier``, so it enters no customer and triggers no rule.
"""

from datetime import datetime

from touchline_schemas.events.actions import Action
from touchline_schemas.touchpoint import Touchpoint
from touchline_schemas.touchpoint_types import NOTIFIER_SOURCE

from touchline_notifier.core.decisions.outbox_records import Outgoing, action_event, touchpoint_event

_TYPES = {"sent": {"email": "email_delivered"}, "failed": {}}
_TYPE = {"sent": "contacted", "failed": "contact_failed"}
"""Outcome → touchpoint type; mails have a type of their own."""


def reports(action: Action, delivery_id: str, now: datetime) -> list[Outgoing]:
    """The events of a finished action.

    Args:
        action: with its outcome (sent, failed or cancelled), reason and sequence.
        now: when it was over.
    """
    events = [action_event(action, now)]
    if action.outcome in _TYPE:
        events.append(touchpoint_event(_touchpoint(action, delivery_id, now)))
    return events


def _touchpoint(action: Action, delivery_id: str, now: datetime) -> Touchpoint:
    properties = {
        "action_id": action.action_id,
        "delivery_id": delivery_id,
        "play": action.play,
        "lifecycle": action.lifecycle,
        "stage": action.stage,
        "endpoint": action.endpoint,
        "reason": action.reason,
    }
    return Touchpoint(
        # One per action and outcome: a replay of what had failed adds "sent", and a repeat adds nothing.
        id=f"{action.action_id}.{action.outcome}",
        type=_TYPES[action.outcome].get(action.channel, _TYPE[action.outcome]),
        channel=action.channel,
        direction="outbound",
        customer_id=action.customer_id,
        occurred_at=now,
        received_at=now,
        source=NOTIFIER_SOURCE,
        properties={name: value for name, value in properties.items() if value is not None},
    )
