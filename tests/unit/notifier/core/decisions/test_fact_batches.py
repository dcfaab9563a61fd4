"""Many events at once, and every customer's own order stays."""

from itertools import combinations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.decisions.fact_batches import FactBatch, fact_batches
from touchline_notifier.core.decisions.stage_events import StageEvent
from touchline_schemas.events.facts import CustomerErased, CustomerMerged

from tests.support.notifier.builders import NOON, a_stall


def a_fact(customer: str, number: int = 1, **more: Any) -> StageEvent:
    return StageEvent("touchline.customer-stalled", a_stall(number, customer_id=customer, **more), str(number), {})


def a_merge(old: str, into: str) -> StageEvent:
    merged = CustomerMerged(customer_id=old, into=into, fact_no=1, occurred_at=NOON, decided_at=NOON)
    return StageEvent("touchline.customer-merged", merged, "m", {})


def an_erasure(customer: str) -> StageEvent:
    erased = CustomerErased(customer_id=customer, incarnation=0, occurred_at=NOON, decided_at=NOON)
    return StageEvent("touchline.customer-erased", erased, "e", {})


def concerned(published: StageEvent) -> set[str]:
    into = {published.event.into} if isinstance(published.event, CustomerMerged) else set()
    return {published.event.customer_id} | into


def both_into_one(one: StageEvent, other: StageEvent) -> bool:
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
def test_every_customers_events_stay_in_order_and_none_is_lost(published: list[StageEvent]) -> None:
    found = fact_batches(published)
    taken = [one for batch in found for one in [*batch.facts, *batch.news]]
    assert sorted(map(id, taken)) == sorted(map(id, published))
    index = {id(one): number for number, one in enumerate(taken)}
    for earlier, later in combinations(published, 2):
        if concerned(earlier) & concerned(later) and not both_into_one(earlier, later):
            assert index[id(earlier)] < index[id(later)]


@given(st.lists(events, max_size=30))
def test_no_two_news_of_a_wave_have_a_customer_in_common_but_merges_into_the_same(published: list[StageEvent]) -> None:
    for batch in fact_batches(published):
        for one, other in combinations(batch.news, 2):
            assert not concerned(one) & concerned(other) or both_into_one(one, other)


def test_merges_between_the_facts_of_others_cut_nothing_in_two() -> None:
    published = [
        one for n in range(100) for one in (a_fact(f"anon:{n}"), a_merge(f"anon:{n}", "c-1"), a_fact(f"c-{n + 2}"))
    ]
    (batch,) = fact_batches(published)
    assert (len(batch.facts), len(batch.news)) == (200, 100)


def test_a_customers_facts_after_a_merge_come_in_the_next_wave() -> None:
    before, merge, after = a_fact("c-1"), a_merge("anon:a", "c-1"), a_fact("c-1", 2)
    assert fact_batches([before, merge, after]) == [FactBatch([before], [merge]), FactBatch([after])]


def test_what_tells_of_the_past_does_not_hurry() -> None:
    assert a_fact("c-1").urgent
    assert not a_fact("c-1", backfill=True).urgent
    assert not a_merge("anon:a", "c-1").urgent
    assert an_erasure("c-1").urgent
