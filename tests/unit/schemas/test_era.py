"""Ids of facts after a restored backup: no fact of one era has the id of another's, and era 0 changes nothing."""

from uuid import uuid5

from hypothesis import given
from hypothesis import strategies as st
from touchline_schemas.ids import FACT_NAMESPACE, fact_id

NUMBERS = st.integers(0, 12)
FACTS = st.tuples(st.sampled_from(["a", "1", "11"]), st.sampled_from(["", "trial", "1"]), NUMBERS, NUMBERS, NUMBERS)


@given(FACTS, FACTS)
def test_facts_that_differ_in_anything_differ_in_their_ids(one: tuple[str, str, int, int, int], other: object) -> None:
    assert (fact_id(*one) == fact_id(*other)) == (one == other)  # type: ignore[misc]


def test_era_zero_is_left_out() -> None:
    assert fact_id("c", "trial", 1, 5) == uuid5(FACT_NAMESPACE, "c\x1ftrial\x1f1\x1f5")
    assert fact_id("c", "trial", 1, 5, 2) == uuid5(FACT_NAMESPACE, "c\x1ftrial\x1f1\x1f2\x1f5")
