"""The standard touchpoint types: what each means when a caller leaves out channel and direction.

The set of types is open. A type that is not listed has channel ``other`` and direction ``inbound``.
"""

from typing import Literal, NamedTuple

Direction = Literal["inbound", "outbound"]


class Meaning(NamedTuple):
    """What a type means unless a touchpoint says otherwise."""

    channel: str
    direction: Direction


_BY_CHANNEL: dict[str, str] = {
    "web": "page_viewed content_downloaded form_submitted signed_up trial_started checkout_started",
    "ads": "ad_clicked",
    "social": "social_engaged",
    "email": "email_delivered email_opened email_clicked email_bounced email_complained unsubscribed subscribed",
    "sales": "call_held meeting_scheduled meeting_held meeting_missed demo_booked proposal_sent deal_won deal_lost",
    "commerce": "purchased renewed upgraded downgraded cancelled refunded",
    "product": "activated feature_used",
    "support": "ticket_opened ticket_resolved complaint_made",
    "voice": "survey_answered review_posted referral_made testimonial_given",
    "company": "contacted feedback_asked",
}
OUTBOUND = frozenset({"email_delivered", "meeting_scheduled", "proposal_sent", "contacted", "feedback_asked"})

STANDARD_TYPES: dict[str, Meaning] = {
    name: Meaning(channel, "outbound" if name in OUTBOUND else "inbound")
    for channel, names in _BY_CHANNEL.items()
    for name in names.split()
}
_OTHER = Meaning("other", "inbound")

# Inbound, but no activity: they don't restart a customer's timers.
PASSIVE_TYPES = frozenset(
    ("email_bounced", "email_complained", "unsubscribed", "meeting_missed", "cancelled", "refunded", "deal_lost")
)

STAGE_SET = "stage_set"
"""The type of a manual move: properties ``lifecycle``, ``stage``, ``reason``; from sources allowed to set stages."""

NOTIFIER_SOURCE = "notifier"
"""The source under which the notifier reports what it delivered; such touchpoints enter no customer into a lifecycle
and trigger no rule."""


def meaning_of(touchpoint_type: str) -> Meaning:
    """Channel and direction a type has by default."""
    return STANDARD_TYPES.get(touchpoint_type, _OTHER)
