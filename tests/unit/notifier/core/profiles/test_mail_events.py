"""Kinds: what a mail service reports of a recipient is no customer's address; what is unknown of a bounce is not hard;
whatever word a door writes for coming back is the word that the notifier lifts a suppression by.
"""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.profiles.profile import Profile, suppression_of
from touchline_schemas.mail_events import CONSENT_GIVEN, bounce_of, names_recipient

from tests.support.notifier.builders import NOON, a_touchpoint

MAIL_TYPES = [
    "email_sent",
    "email_delivered",
    "email_deferred",
    "email_dropped",
    "email_opened",
    "email_clicked",
    "email_bounced",
    "email_complained",
    "email_suppressed",
    "unsubscribed",
    "subscribed",
    "resubscribed",
    "subscription_changed",
]


@pytest.mark.parametrize("kind", MAIL_TYPES)
def test_a_recipient_is_not_the_customers_address(kind: str) -> None:
    profile = Profile()
    profile.take(a_touchpoint("identified", NOON, "t-1", email="old@example.org"))
    profile.take(a_touchpoint("identified", NOON + timedelta(days=1), "t-2", email="new@example.org"))
    reported = {"properties": {"recipient": True}} if kind.endswith("subscribed") else {}
    profile.take(
        a_touchpoint(kind, NOON + timedelta(days=2), "t-3", channel="email", email="old@example.org", **reported)
    )
    assert profile.email == "new@example.org"


@pytest.mark.parametrize("kind", MAIL_TYPES)
def test_a_recipient_gives_no_address_where_none_was_said(kind: str) -> None:
    profile = Profile()
    message: dict[str, Any] = {"channel": "email", "email": "old@example.org", "properties": {"recipient": True}}
    profile.take(a_touchpoint(kind, NOON, **message))
    profile.take(a_touchpoint(kind, NOON, "t-2", customer_id=None, **message))
    assert profile.email is None


@pytest.mark.parametrize(
    ("kind", "channel"),
    [
        ("identified", "email"),
        ("purchased", "commerce"),
        ("email_changed", "web"),
        ("email_verified", "email"),
        ("subscribed", "web"),
        ("subscribed", "email"),
        ("resubscribed", "email"),
        ("form_submitted", "email"),
    ],
)
def test_what_the_customer_or_the_companys_own_systems_say_sets_the_address(kind: str, channel: str) -> None:
    profile = Profile()
    profile.take(a_touchpoint(kind, channel=channel, email="ada@example.org"))
    assert profile.email == "ada@example.org"


def test_a_customer_who_is_known_by_an_address_alone_is_reached_there() -> None:
    profile = Profile.from_row({}, "email:ada@example.org")
    profile.take(a_touchpoint("email_opened", channel="email", customer_id=None, email="ada@example.org"))
    assert profile.email == "ada@example.org"
    assert profile.view()["email"] == "ada@example.org"
    merged = Profile.from_row({}, "c-1")
    merged.merge(profile)
    assert merged.email is None


@pytest.mark.parametrize("kind", sorted(CONSENT_GIVEN))
def test_every_word_of_the_vocabulary_means_the_same_to_consent_and_suppression(kind: str) -> None:
    touchpoint = a_touchpoint(kind, channel="email", customer_id=None, email="ada@example.org")
    profile = Profile()
    profile.take(touchpoint)
    assert profile.consent("email") is CONSENT_GIVEN[kind]
    suppression = suppression_of(touchpoint)
    assert suppression is not None
    assert suppression.lifted is CONSENT_GIVEN[kind]


def test_a_topic_is_refused_without_the_address() -> None:
    touchpoint = a_touchpoint("unsubscribed", channel="email", email="a@example.org", properties={"channel": "news"})
    profile = Profile()
    profile.take(touchpoint)
    assert suppression_of(touchpoint) is None
    assert profile.consent("news") is False
    assert profile.consent("email") is None


@pytest.mark.parametrize("channel", ["email", "web", "other"])
def test_a_channel_that_is_null_is_not_there(channel: str) -> None:
    touchpoint = a_touchpoint("unsubscribed", channel=channel, email="a@example.org", properties={"channel": None})
    assert suppression_of(touchpoint) is not None


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(stated=st.one_of(TEXTS, st.booleans(), st.integers(-(1 << 62), 1 << 62), st.lists(TEXTS, max_size=2)))
def test_only_a_bounce_that_is_said_to_be_hard_suppresses(stated: object) -> None:
    touchpoint = a_touchpoint("email_bounced", channel="email", email="a@example.org", properties={"bounce": stated})
    hard = isinstance(stated, str) and stated.strip().lower() in ("hard", "permanent")
    assert (suppression_of(touchpoint) is not None) is hard


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        ({}, "hard"),
        ({"bounce": None}, "hard"),
        ({"bounce": "Permanent"}, "hard"),
        ({"bounce": "Undetermined"}, "unknown"),
        ({"bounce": "Transient"}, "unknown"),
        ({"bounce": "soft"}, "soft"),
        ({"bounce": "blocked"}, "blocked"),
    ],
)
def test_kinds_of_bounce(properties: dict[str, object], kind: str) -> None:
    assert bounce_of(properties) == kind


def test_a_suppressed_address_is_suppressed_and_refuses_no_consent() -> None:
    touchpoint = a_touchpoint("email_suppressed", channel="email", direction="outbound", email="a@example.org")
    suppression = suppression_of(touchpoint)
    assert suppression is not None
    assert suppression.reason == "email_suppressed"
    assert not names_recipient("identified", "email", {})


@pytest.mark.parametrize(
    "kind", ["email.opened", "email.delivery_delayed", "Email.Sent", "email-bounced", "email:clicked"]
)
def test_a_mail_event_of_another_spelling_names_a_recipient_too(kind: str) -> None:
    assert names_recipient(kind, "other", {})


@pytest.mark.parametrize("kind", ["email.changed", "email.verified", "emailopened", "my.email.opened", "email."])
def test_what_merely_begins_like_a_mail_event_names_the_customers_address(kind: str) -> None:
    assert not names_recipient(kind, "other", {})
