"""What is remembered of a source: counts for a day, reasons, the last events; and what is masked of them."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from touchline_ingest.core.access.source_activity import MOST_BYTES, MOST_EVENTS, SourceActivity, reason_of
from touchline_ingest.core.touchpoints.masking import MASK, masked

NOW = datetime(2026, 11, 26, 12, 30, tzinfo=UTC)


@given(st.lists(st.tuples(st.integers(0, 72 * 60), st.integers(0, 9), st.integers(0, 9)), max_size=60))
def test_counts_are_those_of_the_last_day(requests: list[tuple[int, int, int]]) -> None:
    known = SourceActivity()
    ordered = sorted(requests, reverse=True)
    for minutes, accepted, rejected in ordered:
        known.count(NOW - timedelta(minutes=minutes), accepted, rejected, 0)
    hours = known.hours(NOW)
    least = (NOW - timedelta(hours=24)).replace(minute=0)
    recent = [one for one in requests if NOW - timedelta(minutes=one[0]) >= least]
    assert sum(hour.accepted for hour in hours) == sum(accepted for _, accepted, _ in recent)
    assert sum(hour.rejected for hour in hours) == sum(rejected for *_, rejected in recent)


def test_events_are_the_last_ones_cut_and_none_is_older_than_a_day() -> None:
    known = SourceActivity()
    known.accepted(NOW - timedelta(hours=30), "touchpoints", [("old", b"{}")])
    for number in range(MOST_EVENTS + 10):
        known.rejected(NOW, "touchpoints", f"r{number}", "occurred_at: wrong", b"x" * (MOST_BYTES + 1))
    known.accepted(NOW, "touchpoints", [(f"a{number}", b"{}") for number in range(100)])
    events = known.events(NOW)
    assert len([event for event in events if event.status == "rejected"]) == MOST_EVENTS
    assert {event.id for event in events if event.status == "accepted"} == {f"a{number}" for number in range(95, 100)}
    assert all(len(event.posted) <= MOST_BYTES for event in events)
    assert [event.truncated for event in known.events(NOW, "rejected")] == [True] * MOST_EVENTS


@given(st.text(alphabet="abc'", max_size=20), st.integers(0, 10**9))
def test_reasons_leave_out_what_differs_from_item_to_item(value: str, number: int) -> None:
    quoted = value.replace("'", "")
    assert reason_of(f"type: '{quoted}' at item {number} is no type") == reason_of("type: 'x' at item 7 is no type")


def test_many_different_errors_stay_bounded_and_none_is_lost() -> None:
    known = SourceActivity()
    for number in range(200):
        known.count_errors(NOW, Counter({f"field{number}: wrong": 2}))
    reasons = known.reasons(NOW)
    assert len(reasons) <= 41
    assert sum(count for _, count in reasons) == 400


secrets = st.sampled_from(["password", "api_key", "Authorization", "writeKey", "card_number", "token", "client_secret"])
addresses = st.sampled_from(["email", "phone", "ip", "street", "postal_code", "Email"])
words = st.text(alphabet="abcdefgh", min_size=3, max_size=8)


@given(secrets | addresses, words, st.integers(0, 3))
def test_secrets_and_addresses_are_masked_however_deep(name: str, value: str, depth: int) -> None:
    posted: Any = {name: f"hidden-{value}", "kept": "seen", "note": f"write to {value}@example.org from 10.1.2.3"}
    for _ in range(depth):
        posted = {"properties": [posted]}
    shown = str(masked(posted))
    assert f"hidden-{value}" not in shown
    assert "@example.org" not in shown
    assert "10.1.2.3" not in shown
    assert "seen" in shown
    assert MASK in shown


def test_what_is_no_secret_stays() -> None:
    posted = {"type": "purchased", "properties": {"value": 12.5, "paid": True, "items": [1, None]}}
    assert masked(posted) == posted
