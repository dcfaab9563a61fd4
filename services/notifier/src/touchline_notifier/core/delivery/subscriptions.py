"""Facts for endpoints that subscribe to them, such as a CRM that receives every stage change."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from touchline_notifier.core.delivery.channel import Message
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.delivery.message_ids import delivery_id

_PREFIX = "touchline."


@dataclass(frozen=True, slots=True)
class Planned:
    """A delivery to be created: a row of ``deliveries`` without attempts.

    Attributes:
        id: derived of the cause and the endpoint, so that a fact read twice is delivered once.
        action_id: None for a subscription.
        first_before: not attempted after this; None: no limit.
    """

    id: str
    fact_id: str
    customer_id: str
    channel: str
    endpoint: str
    message: Message
    action_id: str | None = None
    first_before: datetime | None = None


def for_subscribers(
    ce_type: str, ce_id: str, data: Mapping[str, Any], endpoints: Iterable[Endpoint], *, trace: str = ""
) -> list[Planned]:
    """What a fact sends to subscribers.

    Args:
        ce_type: ``touchline.stage-changed``, ``touchline.audience-entered`` and their like.
        data: the fact's JSON as it was on the topic; it becomes the webhook's ``data``, and ``ce_type`` its ``type``.
        trace: the fact's ``traceparent``.
    """
    name = ce_type.removeprefix(_PREFIX)
    customer_id = str(data["customer_id"])
    planned = []
    for endpoint in endpoints:
        if not endpoint.wants(
            name,
            lifecycle=data.get("lifecycle"),
            stage=data.get("to_stage", data.get("stage")),
            move=data.get("move"),
            backfill=bool(data.get("backfill")),
            audience=data.get("audience"),
        ):
            continue
        identifier = str(delivery_id(ce_id, endpoint.name))
        message = Message(
            delivery_id=identifier,
            type=ce_type,
            timestamp=str(data["decided_at"]),
            customer_id=customer_id,
            data={**data, "fact_id": ce_id},
            trace=trace or None,
        )
        planned.append(Planned(identifier, ce_id, customer_id, endpoint.type, endpoint.name, message))
    return planned
