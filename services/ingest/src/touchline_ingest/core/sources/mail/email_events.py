"""What mail services report, normalised: one table of types and one way to make a draft, for all of them.

| what happened | type |
| --- | --- |
| the receiving server took it | email_delivered (outbound) |
| opened, clicked | email_opened, email_clicked |
| not deliverable | email_bounced (``properties.bounce``: hard, soft, blocked or unknown) |
| marked as spam | email_complained |
| unsubscribed, from all or from a topic (``properties.channel``) | unsubscribed |
| subscribed again, to all or to a topic | subscribed |
| the service sends nothing there any more, after a bounce or a complaint | email_suppressed (outbound) |
| still on its way, or never sent | email_sent, email_deferred, email_dropped (outbound) |

What the company attached to a mail (custom arguments, metadata, tags) lies under a name of its own in ``properties``,
so that no key in it can be taken for a word of ours.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from touchline_runtime.user_agents import is_machine
from touchline_schemas.mail_events import EMAIL_BOUNCED, EMAIL_SUPPRESSED, RECIPIENT, SUBSCRIBED, Bounce

from touchline_ingest.core.sources.interface import SourceConfig, TouchpointDraft
from touchline_ingest.core.sources.values import UnreadableError, as_email, as_identifier, without_none
from touchline_ingest.core.web.machines import is_judged

OUTBOUND = frozenset(
    {"email_delivered", "email_sent", "email_deferred", "email_dropped", "email_not_spam", EMAIL_SUPPRESSED}
)
_TOPIC = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_UNFIT = re.compile(r"[^a-z0-9_.-]+")


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
    bounce: Bounce = "unknown",
) -> TouchpointDraft:
    """The draft of one mail event for one recipient.

    Args:
        customer_id: what the company attached to the mail under that name, which links the address to the customer.
        machine: the service's own verdict; the user agent's is added.
        bounce: of an ``email_bounced``: what the service says; hard only where it says so.

    Raises:
        UnreadableError: no recipient.
    """
    email = as_email(recipient)
    customer = as_identifier(customer_id)
    if email is None and customer is None:
        raise UnreadableError("names no recipient: there is no e-mail address in it")
    stated = {name: value for name, value in properties.items() if value not in (None, "", {}, [])}
    if event_type == EMAIL_BOUNCED:
        stated["bounce"] = bounce
    elif event_type == SUBSCRIBED:
        stated[RECIPIENT] = True
    people = {"customer_id": customer, "email": email}
    return without_none(
        {
            "id": event_id,
            "type": event_type,
            "channel": "email",
            "direction": "outbound" if event_type in OUTBOUND else "inbound",
            **people,
            "occurred_at": occurred_at,
            "properties": stated,
            "machine": is_judged(event_type, people) and (machine or is_machine(user_agent)),
        }
    )


def topic_channel(config: SourceConfig, prefix: str, topic: str) -> str:
    """The consent channel of a vendor's topic, group or list: as the source's ``topics`` say, else ``prefix-topic``.

    The prefix keeps a topic that is called ``email`` or ``all`` from being taken for these.
    """
    topics = config.options.get("topics")
    if isinstance(topics, Mapping):
        found = next((to for name, to in topics.items() if str(name) == topic), None)
        if isinstance(found, str):
            return found
    return f"{prefix}-{_UNFIT.sub('-', topic.lower())}"[:63]


def check_topics(config: SourceConfig) -> list[str]:
    """What is wrong with a source's ``topics``."""
    topics = config.options.get("topics")
    if topics is None:
        return []
    if not isinstance(topics, Mapping):
        return ["topics: write a mapping from the vendor's groups to consent channels, such as {4711: product-news}"]
    return [
        f"topics.{name}: {to!r} is no consent channel; write small letters, digits and -, such as product-news"
        for name, to in topics.items()
        if not (isinstance(to, str) and _TOPIC.fullmatch(to))
    ]
