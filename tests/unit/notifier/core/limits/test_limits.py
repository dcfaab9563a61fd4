"""What holds an action back: every limit, and what is published of several."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.decisions.customer_history import Counted, CustomerHistory
from touchline_notifier.core.limits.limits import Circumstances, Hold, free_again, hindrances, settle
from touchline_notifier.core.plays.play import Cap, Play
from touchline_notifier.core.profiles.address_suppressions import AddressSuppressions

from tests.support.notifier.builders import NOON, a_history, a_play, a_stall, a_touchpoint

EMAIL = {"channel": "email", "subject": "s", "body": "b"}


def holds(
    play: Play,
    history: CustomerHistory | None = None,
    at: datetime = NOON,
    sending: bool = True,
    at_fact: datetime = NOON,
    **fact: Any,
) -> list[Hold]:
    stall = a_stall(at=at_fact.astimezone(UTC), **fact)
    return list(hindrances(play, stall, history or a_history(), Circumstances(at, sending)))


def codes(*arguments: Any, **more: Any) -> list[str]:
    return [hold.code for hold in holds(*arguments, **more)]


def test_nothing_holds_a_fresh_fact_back() -> None:
    assert holds(a_play()) == []


def test_a_fact_is_too_old_after_its_max_age_and_not_before() -> None:
    play = a_play(limits={"max_age": "24h"})
    assert codes(play, at=NOON + timedelta(hours=24)) == []
    assert codes(play, at=NOON + timedelta(hours=24, microseconds=1)) == ["too_old"]


def test_max_age_is_a_day_beyond_the_delay_unless_said() -> None:
    assert a_play().max_age == timedelta(hours=24)
    assert a_play(delay="3d").max_age == timedelta(days=4)


def test_what_tells_of_the_past_is_never_acted_on() -> None:
    assert codes(a_play(transactional=True), backfill=True) == ["backfill"]


def test_the_switch_holds_for_a_while() -> None:
    (hold,) = holds(a_play(), sending=False)
    assert hold.code == "sending_off"
    assert hold.until is not None


def test_mail_needs_an_address_and_no_refusal() -> None:
    play, history = a_play(action=EMAIL), a_history()
    assert codes(play, history) == ["no_address"]
    history.profile.take(a_touchpoint(email="ada@example.org"))
    assert codes(play, history) == []
    history.profile.take(a_touchpoint("unsubscribed", NOON, "t-2", channel="email"))
    assert codes(play, history) == ["no_consent"]
    history.profile.take(a_touchpoint("subscribed", NOON + timedelta(hours=1), "t-3", channel="email"))
    assert codes(play, history) == []
    history.suppressions = AddressSuppressions("email_bounced", NOON)
    assert codes(play, history) == ["suppressed"]


@pytest.mark.parametrize("consent", ["not_refused", "required"])
@pytest.mark.parametrize("own_list", ["product-news", "news", "offers_2"])
def test_who_refuses_all_mail_leaves_every_list_of_mails_until_they_join_one_again(own_list: str, consent: str) -> None:
    play = a_play(action=EMAIL, limits={"consent_channel": own_list, "consent": consent})
    elsewhere = a_play(limits={"consent_channel": own_list, "consent": consent})
    history = a_history()
    for minute, kind, channel, expected in (
        (0, "subscribed", own_list, []),
        (1, "unsubscribed", "email", ["no_consent"]),
        (2, "subscribed", own_list, []),
        (3, "unsubscribed", own_list, ["no_consent"]),
        (4, "subscribed", "email", ["no_consent"]),
    ):
        said = a_touchpoint(
            kind, NOON + timedelta(minutes=minute), f"t-{minute}", channel="email", properties={"channel": channel}
        )
        history.profile.take(said)
        history.profile.take(a_touchpoint("identified", NOON, "t-email", email="a@x.org"))
        assert codes(play, history) == expected, minute
        if channel == "email":
            assert (codes(elsewhere, history) == []) == (minute == 1), "another system's list is not this channel's"


def test_mail_to_the_company_itself_asks_for_no_consent() -> None:
    history = a_history()
    history.profile.take(a_touchpoint("unsubscribed", channel="email"))
    assert codes(a_play(action=EMAIL | {"to": "sales@example.org"}), history) == []


def test_consent_can_be_required_and_of_another_channel() -> None:
    play = a_play(limits={"consent": "required", "consent_channel": "email"})
    history = a_history()
    assert codes(play, history) == ["no_consent"]
    history.profile.take(a_touchpoint(properties={"consent": {"email": True}}))
    assert codes(play, history) == []


def test_quiet_hours_are_the_customers_own_else_the_plays_else_utc() -> None:
    quiet = {"quiet_hours": {"from": "21:00", "to": "08:00"}}
    night_in_tokyo = datetime(2026, 3, 3, 13, tzinfo=UTC)
    history = a_history()
    assert codes(a_play(limits=quiet), history, night_in_tokyo) == []
    assert codes(a_play(limits=quiet | {"time_zone": "Asia/Tokyo"}), history, night_in_tokyo) == ["quiet_hours"]
    history.profile.take(a_touchpoint(properties={"timezone": "Europe/Berlin"}))
    assert codes(a_play(limits=quiet | {"time_zone": "Asia/Tokyo"}), history, night_in_tokyo) == []


def test_quiet_hours_hold_for_a_customer_whose_zone_is_an_offset() -> None:
    history = a_history()
    history.profile.take(a_touchpoint(properties={"context": {"timezone": "GMT+0900"}}))
    play = a_play(limits={"quiet_hours": {"from": "21:00", "to": "08:00"}})
    now = datetime(2026, 3, 3, 13, tzinfo=UTC)
    assert codes(play, history, now) == ["quiet_hours"]


def test_a_zone_that_is_none_counts_as_unknown() -> None:
    history = a_history()
    history.profile.take(a_touchpoint(properties={"timezone": "Mars/Olympus"}))
    play = a_play(limits={"quiet_hours": {"from": "11:00", "to": "13:00"}})
    assert codes(play, history, NOON) == ["quiet_hours"]


def test_transactional_plays_are_exempt_from_clock_caps_and_consent() -> None:
    history = a_history()
    history.counted.append(Counted(NOON, "webhook", "other"))
    limits = {"quiet_hours": {"from": "11:00", "to": "13:00"}, "per_customer": {"count": 1, "within": "7d"}}
    assert codes(a_play(limits=limits), history) == ["quiet_hours", "capped_customer"]
    assert codes(a_play(limits=limits, transactional=True), history) == []


@pytest.mark.parametrize(
    ("scope", "other", "held"),
    [
        ("per_customer", Counted(NOON, "email", "other"), True),
        ("per_channel", Counted(NOON, "webhook", "other"), True),
        ("per_channel", Counted(NOON, "email", "win-back"), False),
        ("per_play", Counted(NOON, "email", "win-back"), True),
        ("per_play", Counted(NOON, "webhook", "other"), False),
    ],
)
def test_caps_count_by_customer_channel_or_play(scope: str, other: Counted, held: bool) -> None:
    history = a_history()
    history.counted.append(other)
    assert bool(codes(a_play(limits={scope: {"count": 1, "within": "7d"}}), history)) is held


def test_a_cool_down_is_a_cap_of_the_play() -> None:
    history = a_history()
    history.counted.append(Counted(NOON - timedelta(days=2), "webhook", "win-back"))
    assert codes(a_play(limits={"cool_down": "3d"}), history) == ["capped_play"]
    assert codes(a_play(limits={"cool_down": "2d"}), history) == []


times = st.lists(st.integers(0, 500), max_size=30).map(lambda ns: [NOON + timedelta(minutes=n) for n in ns])


@given(times=times, count=st.integers(1, 5), minutes=st.integers(1, 200))
def test_in_no_window_of_its_length_are_there_ever_more_than_a_cap_allows(
    times: list[datetime], count: int, minutes: int
) -> None:
    cap = Cap.model_validate({"count": count, "within": f"{minutes}m"})
    allowed: list[datetime] = []
    for at in sorted(times):
        if free_again(allowed, cap, at) is None:
            allowed.append(at)
    for end in allowed:
        assert len([at for at in allowed if end - cap.within < at <= end]) <= count


@given(times=times, count=st.integers(1, 5), minutes=st.integers(1, 200), now=st.integers(0, 700))
def test_a_cap_is_free_exactly_when_it_says_it_will_be(
    times: list[datetime], count: int, minutes: int, now: int
) -> None:
    cap = Cap.model_validate({"count": count, "within": f"{minutes}m"})
    moment = NOON + timedelta(minutes=now)
    past = [at for at in times if at <= moment]
    free = free_again(past, cap, moment)
    if free is not None:
        assert free > moment
        assert free_again(past, cap, free - timedelta(microseconds=1)) is not None
        assert free_again(past, cap, free) is None


def test_the_window_opens_to_the_microsecond() -> None:
    cap = Cap.model_validate({"count": 1, "within": "1h"})
    sent = NOON + timedelta(microseconds=7)
    assert free_again([sent], cap, sent + timedelta(hours=1)) is None
    assert free_again([sent], cap, sent + timedelta(hours=1) - timedelta(microseconds=1)) == sent + cap.within


@pytest.mark.parametrize(
    ("index", "sent", "free"),
    [
        # A day of 23 hours, and one of 25: the window is as long as ever.
        ("Europe/Berlin", "2026-03-28T12:00:00", "2026-03-29T13:00:00"),
        ("America/New_York", "2026-03-07T12:00:00", "2026-03-08T13:00:00"),
        ("Europe/Berlin", "2026-10-24T12:00:00", "2026-10-25T11:00:00"),
        ("America/New_York", "2026-10-31T12:00:00", "2026-11-01T11:00:00"),
    ],
)
def test_a_day_of_a_cap_has_24_hours_whatever_the_clock_did(index: str, sent: str, free: str) -> None:
    zone = ZoneInfo(index)
    before, after = (datetime.fromisoformat(text).replace(tzinfo=zone) for text in (sent, free))
    cap = Cap.model_validate({"count": 1, "within": "24h"})
    just_before = (after.astimezone(UTC) - timedelta(microseconds=1)).astimezone(zone)
    assert free_again([before], cap, just_before) == after
    assert free_again([before], cap, after) is None

    # And so it is for the customer who lives there.
    history = a_history()
    history.profile.take(a_touchpoint(properties={"timezone": index}))
    history.counted.append(Counted(before.astimezone(UTC), "webhook", "win-back"))
    play = a_play(limits={"per_play": {"count": 1, "within": "24h"}})
    assert codes(play, history, just_before.astimezone(UTC), at_fact=just_before) == ["capped_play"]
    assert codes(play, history, after.astimezone(UTC), at_fact=after) == []


def test_a_held_action_waits_until_all_limits_allow_it() -> None:
    play = a_play(
        limits={
            "per_play": {"count": 1, "within": "2h"},
            "quiet_hours": {"from": "13:00", "to": "15:00"},
        }
    )
    history = a_history()
    history.counted.append(Counted(NOON - timedelta(minutes=30), "webhook", "win-back"))
    # Free again at 13:30, which is quiet: so at 15:00.
    assert settle(play, a_stall(), history, holds(play, history)) == Hold(
        "capped_play",
        "1 in 2h already, free again at 2026-03-03T13:30:00Z, then quiet_hours until 2026-03-03T15:00:00Z",
        NOON + timedelta(hours=3),
    )


def test_a_delay_that_ends_in_the_night_says_how_long_it_really_takes() -> None:
    play = a_play(delay="10h", limits={"quiet_hours": {"from": "21:00", "to": "08:00"}})
    hold = settle(play, a_stall(), a_history(), holds(play))
    assert hold == Hold(
        "delay",
        "waits until 2026-03-03T22:00:00Z, then quiet_hours until 2026-03-04T08:00:00Z",
        datetime(2026, 3, 4, 8, tzinfo=UTC),
    )


def test_a_delay_that_ends_on_a_holiday_waits_for_the_next_business_day() -> None:
    days = {"days": ["mon", "tue", "wed", "thu", "fri"], "holidays": ["2026-03-04"]}
    play = a_play(delay="12h", limits={"business_days": days, "max_age": "3d"})
    hold = settle(play, a_stall(), a_history(), holds(play))
    assert hold == Hold(
        "delay",
        "waits until 2026-03-04T00:00:00Z, then not_a_business_day until 2026-03-05T00:00:00Z",
        datetime(2026, 3, 5, tzinfo=UTC),
    )


def test_of_two_limits_the_longer_is_named_behind_the_first() -> None:
    play = a_play(delay="1h", limits={"per_play": {"count": 1, "within": "3h"}})
    history = a_history()
    history.counted.append(Counted(NOON - timedelta(hours=1), "webhook", "win-back"))
    hold = settle(play, a_stall(), history, holds(play, history))
    assert hold == Hold(
        "delay",
        "waits until 2026-03-03T13:00:00Z, then capped_play until 2026-03-03T14:00:00Z",
        NOON + timedelta(hours=2),
    )


def test_what_would_be_too_old_by_then_is_held_for_good() -> None:
    play = a_play(limits={"per_play": {"count": 1, "within": "7d"}, "max_age": "24h"})
    history = a_history()
    history.counted.append(Counted(NOON, "webhook", "win-back"))
    hold = settle(play, a_stall(), history, holds(play, history))
    assert hold is not None
    assert (hold.code, hold.until) == ("capped_play", None)
    assert "too old by then" in hold.text


def test_what_is_dropped_when_capped_does_not_wait() -> None:
    play = a_play(limits={"per_play": {"count": 1, "within": "1h"}, "when_capped": "drop"})
    history = a_history()
    history.counted.append(Counted(NOON, "webhook", "win-back"))
    hold = settle(play, a_stall(), history, holds(play, history))
    assert hold is not None
    assert hold.until is None


def test_what_never_ends_is_the_published_reason() -> None:
    play = a_play(delay="1h", action=EMAIL)
    hold = settle(play, a_stall(), a_history(), holds(play))
    assert hold == Hold("no_address", "no e-mail address is known")


def test_a_delay_can_count_business_days() -> None:
    play = a_play(delay={"business_days": 2})
    friday = NOON + timedelta(days=3)
    (hold,) = hindrances(play, a_stall(at=friday), a_history(), Circumstances(friday))
    assert hold.until == friday + timedelta(days=4)
