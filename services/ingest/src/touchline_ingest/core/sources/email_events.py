"""What mail services report, normalised: one table of types and one way to make a draft, for all of them.

| what happened | type |
| --- | --- |
| the receiving server took it | email_delivered (outbound) |
| opened, clicked | email_opened, email_clicked |
| not deliverable, for good or for now | email_bounced (``properties.bounce``: hard, soft or blocked) |
| marked as spam | email_complained |
| unsubscribed, from all or from a group | unsubscribed |
| still on its way, or never sent | email_sent, email_deferred, email_dropped (outbound) |
| subscribed again | resubscribed |
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from touchline_ingest.core.sources.interface import TouchpointDraft
from touchline_ingest.core.sources.machines import is_machine
from touchline_ingest.core.sources.values import UnreadableError, as_email, as_text, without_none

OUTBOUND = frozenset({"email_delivered", "email_sent", "email_deferred", "email_dropped"})
# Only these are acts that a machine can do in a human's place.
_ACTS = frozenset({"email_opened", "email_clicked", "unsubscribed"})


def email_draft(
    *,
    event_type: str,
    event_id: str,
    recipient: Any,
    occurred_at: datetime,
    properties: Mapping[str, Any],
    customer_id: Any = None,
    user_agent: Any = None,
    machine: bool = False,
) -> TouchpointDraft:
    """The draft of one mail event for one recipient.

    Args:
        customer_id: what the company attached to the mail under that name, which links the address to the customer.
        machine: the service's own verdict; the user agent's is added.

    Raises:
        UnreadableError: no recipient.
    """
    email = as_email(recipient)
    customer = as_text(customer_id)
    if email is None and customer is None:
        raise UnreadableError("names no recipient: there is no e-mail address in it")
    return without_none(
        {
            "id": event_id,
            "type": event_type,
            "channel": "email",
            "direction": "outbound" if event_type in OUTBOUND else "inbound",
            "customer_id": customer,
            "email": email,
            "occurred_at": occurred_at,
            "properties": {name: value for name, value in properties.items() if value not in (None, "", {}, [])},
            "machine": event_type in _ACTS and (machine or is_machine(user_agent)),
        }
    )
