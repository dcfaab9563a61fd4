"""The engine derives the ids of facts as the contract says, with a faster library."""

from hypothesis import given
from hypothesis import strategies as st
from touchline_schemas.ids import fact_id
from touchline_stage_engine.application.outbox_records import fact_id_text

NUMBERS = st.integers(0, 2**40)


@given(st.text(max_size=40), st.text(max_size=20), NUMBERS, NUMBERS, NUMBERS)
def test_a_facts_id_is_the_contracts(customer: str, lifecycle: str, incarnation: int, fact_no: int, era: int) -> None:
    expected = str(fact_id(customer, lifecycle, incarnation, fact_no, era))
    assert fact_id_text(customer, lifecycle, incarnation, fact_no, era) == expected
