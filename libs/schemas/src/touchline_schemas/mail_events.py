"""What mail services and consent forms report: the words that ingest writes and the notifier reads.

===================== ================================================= =======================================
type                  properties                                        means
===================== ================================================= =======================================
``unsubscribed``      ``channel``: what for, else the touchpoint's       consent refused
``subscribed``        ``channel``                                       consent given (again); lifts suppressions
``email_bounced``     ``bounce``: hard, soft, blocked or unknown         only ``hard`` suppresses the address
``email_complained``                                                    the address is suppressed
``email_suppressed``  ``reason``                                        the mail service sends nothing there any more
===================== ================================================= =======================================

``resubscribed`` means the same as ``subscribed``. An event of a mail service names a *recipient*: it says where a mail
went, not where the customer is reached.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

UNSUBSCRIBED = "unsubscribed"
SUBSCRIBED = "subscribed"
EMAIL_BOUNCED = "email_bounced"
EMAIL_COMPLAINED = "email_complained"
EMAIL_SUPPRESSED = "email_suppressed"

CONSENT_GIVEN: Mapping[str, bool] = {UNSUBSCRIBED: False, SUBSCRIBED: True, "resubscribed": True}
"""Type → whether it gives consent (True) or refuses it (False)."""

Bounce = Literal["hard", "soft", "blocked", "unknown"]
"""``hard``: the address accepts no mail, permanently. ``unknown``: the sender did not say; it is not hard."""

_BOUNCES: Mapping[str, Bounce] = {"hard": "hard", "permanent": "hard", "soft": "soft", "blocked": "blocked"}

# What a mail service does with a mail, and what its recipient does with it.
_MAIL_WORDS = (
    "accepted blocked bounced clicked complained converted deferred delayed delivered delivery_delayed dropped failed "
    "forwarded link_clicked marked_as_spam not_spam opened printed processed queued read received rejected replied "
    "resubscribed scheduled sent "
    "subscribed subscription_changed suppressed unsubscribed viewed"
)
_MAIL_TYPES = frozenset(f"email_{word}" for word in _MAIL_WORDS.split())
_SEPARATORS = re.compile("[.:/-]")
_LEAVING = frozenset({UNSUBSCRIBED, "subscription_changed"})

RECIPIENT = "recipient"
"""Property of a ``subscribed`` that a mail service reports: true, its address is a recipient's."""


def names_recipient(touchpoint_type: str, channel: str, properties: Mapping[str, Any]) -> bool:
    """Whether a touchpoint's address says where a mail went, so that it doesn't become the customer's address.

    A customer who subscribes in a company's own form gives an address to be reached at; a mail service that removes an
    address from its suppression list does not.
    """
    if touchpoint_type in CONSENT_GIVEN and touchpoint_type not in _LEAVING:
        return properties.get(RECIPIENT) is True
    return _is_mail_type(touchpoint_type) or (touchpoint_type in _LEAVING and channel == "email")


@lru_cache(maxsize=4096)
def _is_mail_type(touchpoint_type: str) -> bool:
    # Mail services of general formats write email.opened, and keep that as the type.
    return _SEPARATORS.sub("_", touchpoint_type.lower()) in _MAIL_TYPES


def bounce_of(properties: Mapping[str, Any]) -> Bounce:
    """What kind of bounce an ``email_bounced`` is.

    Without ``bounce`` it is hard: the poster says no more than that the address bounced. Any word that is none of ours
    is ``unknown``.
    """
    stated = properties.get("bounce")
    if stated is None:
        return "hard"
    return _BOUNCES.get(stated.strip().lower(), "unknown") if isinstance(stated, str) else "unknown"
