"""Events on their way to Kafka: what is written into the outbox in the transaction that makes it true."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from touchline_schemas.cloudevents import Headers, to_headers
from touchline_schemas.events.actions import Action
from touchline_schemas.ids import ACTION_NAMESPACE
from touchline_schemas.topics import ACTION_TYPE, RETENTION_ACTIONS, TOUCHPOINTS
from touchline_schemas.touchpoint import Touchpoint

SOURCE = "/touchline/notifier"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record: ``topic`` is its name in the topic registry, without prefix and version."""

    topic: str
    key: str
    headers: Headers
    value: bytes


def action_event(action: Action, at: datetime | None = None) -> Outgoing:
    """An event of an action. Its ``ce_id`` is derived of the action and its ``sequence``: say it twice, it is one.

    Args:
        at: when it happened (``ce_time``); when it was decided unless said.
    """
    identifier = uuid5(ACTION_NAMESPACE, f"{UUID(action.action_id)}\x1f{action.sequence}")
    headers = to_headers(
        id=str(identifier),
        type=ACTION_TYPE[action.outcome],
        source=SOURCE,
        time=at or action.decided_at,
        subject=action.customer_id,
    )
    return Outgoing(RETENTION_ACTIONS.name, action.customer_id, headers, action.model_dump_json().encode())


def touchpoint_event(touchpoint: Touchpoint) -> Outgoing:
    """What the notifier did towards a customer, for their timeline."""
    headers = to_headers(
        id=touchpoint.id,
        type="touchline.touchpoint",
        source=SOURCE,
        time=touchpoint.occurred_at,
        subject=touchpoint.key,
    )
    return Outgoing(TOUCHPOINTS.name, touchpoint.key, headers, touchpoint.to_json())
