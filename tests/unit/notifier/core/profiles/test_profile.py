"""A profile is a function of the set of touchpoints, whatever their order."""

import json
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from touchline_notifier.core.profiles.kept_values import KEPT_CONSENTS, KEPT_OF_OWN_TYPES, KEPT_PER_TYPE, KEPT_TRAITS
from touchline_notifier.core.profiles.profile import Profile, suppression_of
from touchline_schemas.touchpoint import Touchpoint

from tests.support.notifier.builders import NOON, a_touchpoint


def folded(*touchpoints: Touchpoint) -> Profile:
    profile = Profile()
    for touchpoint in touchpoints:
        profile.take(touchpoint)
    return profile


properties = st.sampled_from(
    [
        {},
        {"timezone": "Europe/Berlin"},
        {"traits": {"plan": "pro", "time_zone": "Asia/Tokyo"}},
        {"locale": "de"},
        {"consent": {"email": True}},
        {"consent": {"all": False}},
        {"score": 3},
        {"traits": {"plan": None}},
    ]
)
kinds = st.sampled_from(["page_viewed", "identified", "unsubscribed", "subscribed", "purchased"])
touchpoints = st.lists(
    st.builds(
        lambda kind, minute, ident, values, email: a_touchpoint(
            kind, NOON + timedelta(minutes=minute), f"t-{ident}-{kind}-{minute}-{values}-{email}", properties=values,
            email=email,
        ),
        kinds, st.integers(0, 5), st.integers(0, 2), properties, st.sampled_from([None, "a@x.org", "b@x.org"]),
    ),
    max_size=12,
)  # fmt: skip


@given(theirs=touchpoints, data=st.data())
def test_every_order_and_repetition_gives_the_same_profile(theirs: list[Touchpoint], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(theirs))
    assert folded(*shuffled, *theirs) == folded(*theirs)


@given(theirs=touchpoints, data=st.data())
def test_split_over_two_keys_and_merged_it_is_the_same(theirs: list[Touchpoint], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(theirs)))
    one, other = folded(*theirs[:cut]), folded(*theirs[cut:])
    one.merge(other)
    whole = folded(*theirs)
    assert (one.values, one.last) == (whole.values, whole.last)
    assert one.seen == whole.seen


def test_it_survives_the_way_through_the_database() -> None:
    profile = folded(a_touchpoint(properties={"traits": {"plan": "pro"}}, email="ada@example.org"))
    assert Profile.from_row(profile.to_row()) == profile


def test_what_machines_and_we_ourselves_did_says_nothing_of_the_customer() -> None:
    assert folded(a_touchpoint(machine=True, email="a@x.org"), a_touchpoint(source="notifier")) == Profile()


def test_traits_give_address_zone_and_locale() -> None:
    profile = folded(
        a_touchpoint(
            "identified", properties={"email": " Ada@Example.org", "timezone": "Europe/Berlin", "locale": "de-DE"}
        )
    )
    assert profile.email == "ada@example.org"
    assert profile.get("time_zone") == "Europe/Berlin"
    assert profile.traits["locale"] == "de-DE"


def test_a_key_that_is_an_address_is_one() -> None:
    assert folded(a_touchpoint(customer_id="email:ada@example.org")).email == "ada@example.org"


def test_the_latest_word_on_consent_counts_for_a_channel_or_for_all() -> None:
    refused = a_touchpoint("unsubscribed", NOON, "t-1", channel="email")
    all_refused = a_touchpoint("unsubscribed", NOON + timedelta(hours=1), "t-2", properties={"channel": "all"})
    given_again = a_touchpoint("subscribed", NOON + timedelta(hours=2), "t-3", channel="email")
    assert folded().consent("email") is None
    assert folded(refused).consent("email") is False
    assert folded(refused).consent("slack") is None
    assert folded(all_refused).consent("slack") is False
    assert folded(given_again, all_refused, refused).consent("email") is True
    assert folded(given_again, all_refused, refused).consent("slack") is False


def test_history_keeps_the_newest_of_each_type() -> None:
    profile = folded(*(a_touchpoint(at=NOON + timedelta(minutes=n), ident=f"t-{n}") for n in range(KEPT_PER_TYPE + 10)))
    assert len(profile.times(("page_viewed",))) == KEPT_PER_TYPE
    assert min(profile.times(("page_viewed",))) == NOON + timedelta(minutes=10)
    assert len(profile.times(("*",), since=NOON + timedelta(minutes=KEPT_PER_TYPE + 7))) == 2


@pytest.mark.parametrize(
    ("kind", "values", "reason"),
    [
        ("email_complained", {}, "email_complained"),
        ("email_bounced", {}, "email_bounced"),
        ("email_bounced", {"bounce": "hard"}, "email_bounced"),
        ("email_bounced", {"bounce": "soft"}, None),
        ("email_bounced", {"bounce": "blocked"}, None),
        ("unsubscribed", {}, "unsubscribed"),
        ("page_viewed", {}, None),
    ],
)
def test_complaints_hard_bounces_and_unsubscribes_suppress_an_address(
    kind: str, values: dict[str, Any], reason: str | None
) -> None:
    touchpoint = a_touchpoint(kind, channel="email", email="ada@example.org", properties=values)
    suppression = suppression_of(touchpoint)
    assert (suppression.reason if suppression else None) == reason


@given(data=st.data())
def test_a_bounce_without_an_address_is_about_the_one_of_then_in_every_order(data: st.DataObject) -> None:
    old = a_touchpoint("identified", NOON, "t-1", email="old@x.org")
    bounce = a_touchpoint("email_bounced", NOON + timedelta(hours=1), "t-2")
    again = a_touchpoint("page_viewed", NOON + timedelta(hours=2), "t-3", email="old@x.org")
    new = a_touchpoint("identified", NOON + timedelta(hours=3), "t-4", email="new@x.org")
    assert suppression_of(bounce) is None
    assert folded(*data.draw(st.permutations([old, bounce]))).trouble == "email_bounced"
    assert folded(*data.draw(st.permutations([old, bounce, again]))).trouble == "email_bounced"
    assert folded(*data.draw(st.permutations([old, bounce, again, new]))).trouble is None
    given_again = a_touchpoint("subscribed", NOON + timedelta(hours=2), "t-5", channel="email")
    assert folded(*data.draw(st.permutations([old, bounce, given_again]))).trouble is None


def flood(size: int, **more: Any) -> list[Touchpoint]:
    """Touchpoints with names without end."""
    return [
        a_touchpoint(
            f"custom_{n}", NOON + timedelta(minutes=n), f"f-{n}",
            properties={"traits": {f"trait_{n}": "x" * 900}, "consent": {f"list-{n}": True}, "note": "y" * 900, **more},
        )
        for n in range(size)
    ]  # fmt: skip


@pytest.mark.parametrize("when", [-1, 300, 10_000])
def test_consent_and_address_are_never_what_a_flood_of_names_drops(when: int) -> None:
    at = NOON + timedelta(minutes=when)
    refused = a_touchpoint("unsubscribed", at, "t-1", channel="email")
    named = a_touchpoint("identified", at, "t-2", email="ada@x.org", properties={"time_zone": "Asia/Tokyo"})
    for order in ([refused, named, *flood(700)], [*flood(700), refused, named]):
        profile = folded(*order)
        assert profile.consent("email") is False
        assert (profile.email, profile.get("time_zone")) == ("ada@x.org", "Asia/Tokyo")
        assert len(profile.times(("unsubscribed",))) == 1, "a standard type is not pushed out either"
        assert len(profile.traits) == KEPT_TRAITS
        assert len([name for name in profile.values if name.startswith("consent.")]) <= KEPT_CONSENTS + 1
        assert sum(map(len, profile.seen.values())) <= KEPT_OF_OWN_TYPES + 2


def test_a_profile_stays_small_whatever_is_posted() -> None:
    wide = {f"p_{n}": "z" * 999 for n in range(100)}
    profile = folded(*flood(600, **wide))
    before = len(json.dumps(profile.to_row()))
    assert before < 500_000
    for touchpoint in flood(1200, **wide)[600:]:
        profile.take(touchpoint)
    assert len(json.dumps(profile.to_row())) < before * 1.05


@settings(max_examples=15, deadline=None)
@given(seed=st.randoms(use_true_random=False), cut=st.integers(0, 700))
def test_beyond_the_bounds_every_order_and_split_gives_the_same_profile(seed: Random, cut: int) -> None:
    theirs = flood(650) + [
        a_touchpoint("custom_7", NOON + timedelta(minutes=n * 3), f"g-{n}", email=f"a{n % 15}@x.org") for n in range(60)
    ]
    shuffled = list(theirs)
    seed.shuffle(shuffled)
    whole, other = folded(*theirs), folded(*shuffled, *theirs[:cut])
    assert other == whole
    one, two = folded(*shuffled[:cut]), folded(*shuffled[cut:], *theirs[:50])
    one.merge(two)
    assert one == whole


@given(data=st.data())
def test_two_contents_under_one_id_give_the_same_profile_in_every_order(data: st.DataObject) -> None:
    contents = [
        a_touchpoint("form_submitted", NOON, "t-1", email=email, properties=values)
        for email, values in [
            ("a@x.org", {"consent": {"email": True}, "traits": {"plan": "pro"}}),
            ("b@x.org", {"consent": {"email": False}, "traits": {"plan": "team"}, "time_zone": "Asia/Tokyo"}),
            (None, {"consent": {"email": True}, "time_zone": "Europe/Berlin"}),
        ]
    ]
    first = folded(*data.draw(st.permutations(contents)))
    assert folded(*data.draw(st.permutations(contents))) == first
    assert first.consent("email") is False, "of two words at one time the refusal stays"


@pytest.mark.parametrize(
    "named",
    [
        {"customer_id": None, "email": "ada@example.org"},
        {"customer_id": "email:ada@example.org"},
    ],
)
@pytest.mark.parametrize(
    ("kind", "values", "lifted"),
    [
        ("unsubscribed", {}, False),
        ("subscribed", {}, True),
        ("form_submitted", {"consent": {"email": False}}, False),
        ("form_submitted", {"consent": {"all": True}}, True),
        ("form_submitted", {"consent": {"sms": False}}, None),
    ],
)
def test_what_is_said_under_an_address_alone_counts_for_the_address(
    named: dict[str, Any], kind: str, values: dict[str, Any], lifted: bool | None
) -> None:
    suppression = suppression_of(a_touchpoint(kind, channel="email", properties=values, **named))
    assert (suppression.lifted if suppression else None) == lifted
    assert suppression is None or suppression.address == "ada@example.org"


def test_consent_of_a_customer_who_is_known_is_theirs_and_not_the_addresss() -> None:
    refusal = a_touchpoint("form_submitted", email="ada@example.org", properties={"consent": {"email": False}})
    assert suppression_of(refusal) is None
    assert folded(refusal).consent("email") is False


def test_numbers_that_can_not_be_kept_are_passed_over() -> None:
    profile = folded(a_touchpoint("identified", properties={"visits": 1 << 62, "stars": 1 << 63, "vip": True}))
    assert profile.traits == {"visits": 1 << 62, "vip": True}


@pytest.mark.parametrize(
    "garbage", ["undefined", "Mars/Olympus", "", " ", "x" * 60, "[object Object]", "GMT+99", 7, None]
)
def test_what_is_no_time_zone_or_locale_replaces_none(garbage: Any) -> None:
    profile = Profile()
    known = {"timezone": "Asia/Kolkata", "locale": "hi-IN"}
    profile.take(a_touchpoint("page_viewed", NOON, "t-1", properties={"context": known}))
    later = {"timezone": garbage, "locale": garbage}
    profile.take(a_touchpoint("page_viewed", NOON + timedelta(days=1), "t-2", properties={"context": later}))
    assert (profile.get("time_zone"), profile.get("locale")) == ("Asia/Kolkata", "hi-IN")
    profile.take(a_touchpoint("page_viewed", NOON + timedelta(days=2), "t-3", properties={"timezone": "GMT+0100"}))
    assert profile.get("time_zone") == "GMT+0100"


PLACEHOLDER_ADDRESSES = [
    "null@null.com",
    "undefined@undefined",
    "{{ user.email }}@x.org",
    "undefined",
    "",
    "a b@x.org",
    7,
]


@pytest.mark.parametrize("stated", PLACEHOLDER_ADDRESSES)
@pytest.mark.parametrize("where", ["properties", "traits"])
def test_a_placeholder_replaces_no_address(stated: Any, where: str) -> None:
    """Kind: an address that is nobody's must not take the place of the customer's."""
    properties = {"email": stated} if where == "properties" else {"traits": {"email": stated}}
    profile = folded(
        a_touchpoint("identified", NOON, "t-1", email="ada@example.org"),
        a_touchpoint("identified", NOON + timedelta(days=1), "t-2", properties=properties),
    )
    assert profile.email == "ada@example.org"


def test_a_placeholder_beside_a_customer_id_replaces_no_address_and_complains_of_the_known_one() -> None:
    known = a_touchpoint("identified", NOON, "t-1", email="ada@example.org")
    later = a_touchpoint("page_viewed", NOON + timedelta(days=1), "t-2", email="null@null.com")
    complaint = a_touchpoint("email_complained", NOON + timedelta(days=2), "t-3", email="null@null.com")
    assert folded(known, later).email == "ada@example.org"
    assert suppression_of(complaint) is None
    assert folded(known, later, complaint).trouble == "email_complained"


def test_the_address_is_read_out_of_a_name_and_an_address() -> None:
    said = a_touchpoint("identified", NOON, "t-1", properties={"email": "Ada Lovelace <Ada@Example.ORG>"})
    assert folded(said).email == "ada@example.org"
