"""The kind: whose address. What the engine shows of a customer is what the notifier writes to and knows."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.profiles.profile import Profile
from touchline_schemas.touchpoint import Touchpoint
from touchline_stage_engine.core.identity.traits import read_all

from tests.support.notifier.builders import NOON, a_touchpoint

TYPES = (
    "identified", "page_viewed", "purchased", "email_opened", "email.clicked", "email_bounced", "email_delivered",
    "unsubscribed", "subscribed", "resubscribed", "form_submitted", "demo_booked",
)  # fmt: skip
values = st.sampled_from(["pro", "free", 3, True, 1.5, "Ada"])
traits = st.dictionaries(st.sampled_from(["plan", "city", "name", "seats"]), values, max_size=3)
properties = st.one_of(
    st.just({}),
    traits,
    traits.map(lambda found: {"traits": found}),
    st.tuples(traits, traits).map(lambda found: {**found[0], "traits": found[1]}),
    st.just({"recipient": True}),
    st.sampled_from(["in@traits.example", "AT@traits.example"]).map(lambda email: {"email": email}),
    st.just({"traits": {"email": "nested@traits.example"}}),
)


def points(draw: Any) -> list[Touchpoint]:
    said = draw(
        st.lists(
            st.tuples(
                st.sampled_from(TYPES),
                st.sampled_from(["web", "email", "sales"]),
                properties,
                st.sampled_from([None, "old@a.example", "new@a.example"]),
            ),
            min_size=1,
            max_size=8,
        )
    )
    return [
        a_touchpoint(
            kind, NOON + timedelta(minutes=index), f"t-{index}", channel=channel, properties=given, email=email
        )
        for index, (kind, channel, given, email) in enumerate(said)
    ]


def shown_by_the_engine(found: list[Touchpoint]) -> tuple[str | None, dict[str, Any]]:
    rows = [("c", one.type, one.channel, one.properties, {"email": one.email} if one.email else {}) for one in found]
    person = read_all(rows)["c"]
    return person.email, person.traits


def known_to_the_notifier(found: list[Touchpoint]) -> tuple[str | None, dict[str, Any]]:
    profile = Profile()
    for touchpoint in found:
        profile.take(touchpoint)
    return profile.email, profile.traits


@given(data=st.data())
def test_both_services_know_the_same_address_and_the_same_traits(data: st.DataObject) -> None:
    found = points(data.draw)
    assert shown_by_the_engine(found) == known_to_the_notifier(found)


@pytest.mark.parametrize("kind", ["email_opened", "email_bounced", "unsubscribed", "email.clicked"])
def test_an_old_mail_opened_at_an_old_address_is_no_new_address(kind: str) -> None:
    at = [NOON + timedelta(minutes=minute) for minute in range(3)]
    found = [
        a_touchpoint("identified", at[0], "1", channel="web", email="old@a.example"),
        a_touchpoint("identified", at[1], "2", channel="web", email="new@a.example"),
        a_touchpoint(kind, at[2], "3", channel="email", email="old@a.example"),
    ]
    assert shown_by_the_engine(found)[0] == known_to_the_notifier(found)[0] == "new@a.example"
