"""Many events at once, and every customer's own order stays."""

from itertools import combinations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from making import NOON, a_stall
from touchline_notifier.core.facts import Told
from touchline_notifier.core.waves import Wave, waves
from touchline_schemas.facts import CustomerErased, CustomerMerged


def a_fact(customer: str, number: int = 1, **more: Any) -> Told:
    return Told("touchline.customer-stalled", a_stall(number, customer_id=customer, **more), str(number), {})


def a_merge(old: str, into: str) -> Told:
    merged = CustomerMerged(customer_id=old, into=into, fact_no=1, occurred_at=NOON, decided_at=NOON)
    return Told("touchline.customer-merged", merged, "m", {})


def an_erasure(customer: str) -> Told:
    erased = CustomerErased(customer_id=customer, incarnation=0, occurred_at=NOON, decided_at=NOON)
    return Told("touchline.customer-erased", erased, "e", {})


def concerned(told: Told) -> set[str]:
    into = {told.event.into} if isinstance(told.event, CustomerMerged) else set()
    return {told.event.customer_id} | into


def both_into_one(one: Told, other: Told) -> bool:
    return (
        isinstance(one.event, CustomerMerged)
        and isinstance(other.event, CustomerMerged)
        and concerned(one) & concerned(other) == {one.event.into} == {other.event.into}
    )


who = st.sampled_from("abcde")
events = st.one_of(
    who.map(a_fact),
    st.tuples(who, who).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: a_merge(*pair)),
    who.map(an_erasure),
)


@given(st.lists(events, max_size=30))
def test_every_customers_events_stay_in_order_and_none_is_lost(told: list[Told]) -> None:
    found = waves(told)
    taken = [one for wave in found for one in [*wave.facts, *wave.news]]
    assert sorted(map(id, taken)) == sorted(map(id, told))
    place = {id(one): number for number, one in enumerate(taken)}
    for earlier, later in combinations(told, 2):
        if concerned(earlier) & concerned(later) and not both_into_one(earlier, later):
            assert place[id(earlier)] < place[id(later)]


@given(st.lists(events, max_size=30))
def test_no_two_news_of_a_wave_have_a_customer_in_common_but_merges_into_the_same(told: list[Told]) -> None:
    for wave in waves(told):
        for one, other in combinations(wave.news, 2):
            assert not concerned(one) & concerned(other) or both_into_one(one, other)


def test_merges_between_the_facts_of_others_cut_nothing_in_two() -> None:
    told = [one for n in range(100) for one in (a_fact(f"anon:{n}"), a_merge(f"anon:{n}", "c-1"), a_fact(f"c-{n + 2}"))]
    (wave,) = waves(told)
    assert (len(wave.facts), len(wave.news)) == (200, 100)


def test_a_customers_facts_after_a_merge_come_in_the_next_wave() -> None:
    before, merge, after = a_fact("c-1"), a_merge("anon:a", "c-1"), a_fact("c-1", 2)
    assert waves([before, merge, after]) == [Wave([before], [merge]), Wave([after])]


def test_what_tells_of_the_past_does_not_hurry() -> None:
    assert a_fact("c-1").hurries
    assert not a_fact("c-1", backfill=True).hurries
    assert not a_merge("anon:a", "c-1").hurries
    assert an_erasure("c-1").hurries
