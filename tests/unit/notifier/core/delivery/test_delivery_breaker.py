"""The circuit breaker's transitions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.delivery.breaker import POLICY, Breaker

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def tripped(now: datetime = NOW) -> Breaker:
    breaker = Breaker()
    for _ in range(POLICY.threshold):
        breaker = breaker.failed(now, "500")
    return breaker


def test_failures_below_the_threshold_leave_it_closed_and_a_success_forgets_them() -> None:
    breaker = Breaker()
    for _ in range(POLICY.threshold - 1):
        breaker = breaker.failed(NOW, "500")
    assert breaker.state == "closed"
    assert breaker.allows(NOW)
    assert breaker.succeeded() == Breaker()


def test_at_the_threshold_it_opens_for_the_first_pause() -> None:
    breaker = tripped()
    assert (breaker.state, breaker.open_until) == ("open", NOW + POLICY.first_pause)
    assert not breaker.allows(NOW + POLICY.first_pause - SECOND)
    assert breaker.allows(NOW + POLICY.first_pause)


def test_after_the_pause_one_probe_goes_alone() -> None:
    later = NOW + POLICY.first_pause
    probing = tripped().claimed(later, later + 60 * SECOND)
    assert probing.state == "half_open"
    assert not probing.allows(later)
    with pytest.raises(ValueError, match="half_open"):
        probing.claimed(later, later + 60 * SECOND)


def test_a_probe_whose_worker_died_is_followed_by_another() -> None:
    later = NOW + POLICY.first_pause
    probing = tripped().claimed(later, later + 60 * SECOND)
    assert probing.allows(later + 60 * SECOND)


def test_a_probe_that_arrives_closes_it_and_one_that_fails_doubles_the_pause() -> None:
    later = NOW + POLICY.first_pause
    probing = tripped().claimed(later, later + 60 * SECOND)
    assert probing.succeeded() == Breaker()
    again = probing.failed(later, "503")
    assert (again.state, again.open_until) == ("open", later + 2 * POLICY.first_pause)


def test_pauses_grow_up_to_the_longest() -> None:
    breaker, now = tripped(), NOW
    for _ in range(12):
        assert breaker.open_until is not None
        now = breaker.open_until
        breaker = breaker.claimed(now, now + 60 * SECOND).failed(now, "503")
    assert breaker.open_until == now + POLICY.longest_pause


def test_a_throttling_endpoint_is_left_alone_at_once_and_for_as_long_as_it_asks() -> None:
    assert Breaker().throttled(NOW, "429").open_until == NOW + POLICY.throttle_pause
    assert Breaker().throttled(NOW, "429", 90 * SECOND).open_until == NOW + 90 * SECOND
    assert Breaker().throttled(NOW, "429", timedelta(days=3)).open_until == NOW + POLICY.longest_pause


def test_a_throttle_never_shortens_a_pause() -> None:
    breaker = tripped()
    assert breaker.throttled(NOW, "429", SECOND).open_until == breaker.open_until


def test_410_disables_for_good_until_an_operator_says_so() -> None:
    gone = Breaker().gone("410 Gone")
    assert gone.state == "disabled"
    assert not gone.allows(NOW + timedelta(days=900))
    assert gone.succeeded() == gone
    assert gone.failed(NOW, "500") == gone
    assert gone.throttled(NOW, "429") == gone
    assert gone.enabled() == Breaker()


def test_a_throttling_endpoint_that_names_no_time_gets_twice_as_long_each_time() -> None:
    once = Breaker().throttled(NOW, "429")
    later = NOW + POLICY.throttle_pause
    twice = once.claimed(later, later + 60 * SECOND).throttled(later, "429")
    assert twice.open_until is not None
    assert twice.open_until >= later + 2 * POLICY.throttle_pause


def test_days_of_nothing_but_failures_disable_it() -> None:
    breaker = replace(tripped(NOW - POLICY.disable_after), failures=POLICY.disable_at_least - 2)
    breaker = breaker.claimed(NOW, NOW + 60 * SECOND).failed(NOW, "500")
    assert breaker.state == "open"
    later = NOW + POLICY.longest_pause
    breaker = breaker.claimed(later, later + 60 * SECOND).failed(later, "500")
    assert breaker.state == "disabled"
    assert breaker.reason is not None
    assert "120 hours" in breaker.reason


def test_what_was_in_flight_when_it_opened_counts_and_may_close_it() -> None:
    breaker = tripped()
    assert breaker.failed(NOW + SECOND, "late").open_until == breaker.open_until
    assert breaker.succeeded() == Breaker()


@given(st.lists(st.sampled_from(["succeeded", "failed", "throttled", "claimed", "wait"]), max_size=60))
def test_whatever_happens_it_lets_something_through_within_the_longest_pause(events: list[str]) -> None:
    breaker, now = Breaker(), NOW
    for event in events:
        match event:
            case "succeeded":
                breaker = breaker.succeeded()
            case "failed":
                breaker = breaker.failed(now, "500")
            case "throttled":
                breaker = breaker.throttled(now, "429", timedelta(days=1))
            case "claimed" if breaker.allows(now):
                breaker = breaker.claimed(now, now + 60 * SECOND)
            case "wait":
                now += 20 * SECOND
        assert breaker.allows(now + POLICY.longest_pause)
