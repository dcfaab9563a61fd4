"""The simulated company: the same seed and time give the same months, and they are the months they should be."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError
from touchline_demo.company.company import Company
from touchline_demo.company.habits import HABITS, RETENTION_STALL_AFTER
from touchline_demo.company.live_scenes import LiveDay
from touchline_demo.company.people import SOURCES, Event, InvalidEvent
from touchline_schemas.touchpoint import PostedTouchpoint
from touchline_schemas.touchpoint_types import STANDARD_TYPES

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LIVE = NOW + timedelta(seconds=40)


def company(seed: int = 7, customers: int = 300) -> Company:
    return Company(seed, NOW, LIVE, customers=customers)


def test_the_same_seed_and_time_give_the_same_months() -> None:
    assert list(company().deliveries()) == list(company().deliveries())


def test_another_seed_gives_other_months() -> None:
    assert list(company(seed=7).deliveries()) != list(company(seed=8).deliveries())


def test_everything_is_told_in_order_of_arrival_and_nothing_before_it_happened_or_after_the_present() -> None:
    published = list(company().deliveries())
    assert [one.arrives for one in published] == sorted(one.arrives for one in published)
    events = [one for one in published if isinstance(one, Event)]
    assert all(NOW - timedelta(days=400) < event.at <= event.arrives <= NOW for event in events)


def test_every_deed_is_an_acceptable_touchpoint_of_a_standard_type() -> None:
    for event in company().deliveries():
        if isinstance(event, Event):
            posted = PostedTouchpoint.model_validate(event.as_posted())
            assert posted.type in STANDARD_TYPES
            assert event.source in SOURCES


def test_no_mistake_is_acceptable() -> None:
    mistakes = [one for one in company(customers=2000).deliveries() if isinstance(one, InvalidEvent)]
    assert {mistake.why for mistake in mistakes} == {"no zone", "year 9999", "nobody", "misspelt", "NUL", "unread"}
    for mistake in mistakes:
        # The year 9999 is only refused by a clock, which the model has not.
        if mistake.why != "year 9999":
            with pytest.raises(ValidationError):
                PostedTouchpoint.model_validate(mistake.body)


def test_some_things_are_told_twice_with_the_same_content_and_some_late() -> None:
    events = [one for one in company().deliveries() if isinstance(one, Event)]
    repeated = [event for event in events if event.repeated]
    first = {(event.source, event.id): event for event in events if not event.repeated}
    assert repeated
    assert all(first[event.source, event.id].as_posted() == event.as_posted() for event in repeated)
    assert any(event.arrives - event.at > timedelta(hours=5) for event in first.values())


def test_but_for_repetitions_every_touchpoint_has_an_id_of_its_own() -> None:
    names = [
        (event.source, event.id) for event in company().deliveries() if isinstance(event, Event) and not event.repeated
    ]
    assert len(names) == len(set(names))


def test_every_habit_is_somebodys() -> None:
    assert {person.habit for person in company().people} == {*HABITS, "quiet"}


def test_anonymous_visitors_become_known_on_the_touchpoint_that_names_both() -> None:
    everybody = company()
    person = next(person for person in everybody.people if person.habit == "eager")
    life = everybody.life_of(person)
    signed_up = next(index for index, event in enumerate(life) if event.type == "signed_up")
    assert all(event.names == ("anonymous_id",) for event in life[:signed_up])
    assert life[signed_up].names == ("customer_id", "anonymous_id", "email")
    assert all("customer_id" in event.names for event in life[signed_up:])


def test_the_patience_with_quiet_customers_ends_while_somebody_watches() -> None:
    everybody = company(customers=2000)
    quiet = [person for person in everybody.people if person.habit == "quiet"]
    assert quiet
    for person in quiet:
        life = everybody.life_of(person)
        last = max(event.at for event in life if event.type not in ("email_delivered", "email_opened"))
        assert LIVE <= last + RETENTION_STALL_AFTER <= LIVE + everybody.live_for
        assert all(event.machine for event in life if event.type == "email_opened" and event.at > last)


def test_the_sizes_are_those_of_a_company_with_a_few_thousand_customers() -> None:
    everybody = company(customers=1000)
    events = [one for one in everybody.deliveries() if isinstance(one, Event)]
    assert 15_000 < len(events) < 40_000
    assert {event.person.number for event in events} == set(range(1000))


def test_live_scenes_are_the_same_for_the_same_number_and_start() -> None:
    day = LiveDay(company())
    start = NOW + timedelta(minutes=1)
    assert day.scene(5, start) == LiveDay(company()).scene(5, start)
    assert day.scene(5, start) != day.scene(6, start)


def test_live_scenes_begin_at_their_start_go_forward_and_have_ids_of_their_own() -> None:
    day = LiveDay(company())
    start = NOW + timedelta(minutes=1)
    names = set()
    for number in range(200):
        scene = day.scene(number, start)
        times = [event.at for event in scene]
        assert times[0] == start
        assert times == sorted(times)
        assert times[-1] < start + timedelta(minutes=1)
        names |= {(event.source, event.id) for event in scene}
        for event in scene:
            PostedTouchpoint.model_validate(event.as_posted())
    assert len(names) == sum(len(day.scene(number, start)) for number in range(200))


def test_newcomers_are_nobody_who_is_known() -> None:
    everybody = company()
    known = {person.customer_id for person in everybody.people}
    assert everybody.newcomer(0).customer_id not in known
    assert everybody.newcomer(1).customer_id != everybody.newcomer(0).customer_id
