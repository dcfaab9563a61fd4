"""Facts and latest stages that compiled code writes are, to the byte, those that the Python code writes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from touchline_stage_engine.application.outbox_records import RecordBuilder, fact_id_text
from touchline_stage_engine.core.folding.corrections import Numbered, Published
from touchline_stage_engine.core.folding.facts import Move, Recovery, Stall

from tests.support.compiled import compiled_hot_path

TEXTS = st.one_of(
    st.sampled_from(["reach", "c-17", "service-cycle", 'say "hi"', "back\\slash", "a\nb", "é", "\U0001f600", "\x7f"]),
    st.sampled_from(["x" * 300, "ü" * 300, "x" * 9000, "\u2028", "", "\x00", "/"]),
    st.text(max_size=12),
)
TIMES = st.one_of(
    st.integers(0, 4_102_444_800_000_000 - 1),
    st.integers(0, 4_102_444_800).map(lambda second: second * 1_000_000),
    st.sampled_from([-1, 0, 4_102_444_799_999_999, 4_102_444_800_000_000, 951_782_400_000_000, 951_868_799_000_001]),
    st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999),
)
NUMBERS = st.one_of(st.integers(0, 12), st.integers(0, 2**63 - 1), st.sampled_from([2**31, 2**53, 999, 1000]))
SECONDS = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 10**15).map(lambda us: us / 1e6))
FACTS = st.one_of(
    st.builds(
        Move, TEXTS, st.none() | TEXTS, TEXTS, TIMES, TEXTS, TEXTS, st.none() | TEXTS, NUMBERS, st.none() | SECONDS,
        st.booleans(),
    ),
    st.builds(Stall, TEXTS, NUMBERS, TIMES, TIMES, NUMBERS, st.booleans()),
    st.builds(Recovery, TEXTS, SECONDS, st.none() | TEXTS, TIMES, NUMBERS, st.booleans()),
)  # fmt: skip
PUBLISHED = st.builds(Published, NUMBERS, NUMBERS, NUMBERS, st.none() | TEXTS, TIMES, NUMBERS, TIMES, TIMES)
DECIDED_AT = "2026-03-01T12:00:00.123456Z"


def builders(era: int) -> list[RecordBuilder]:
    found = [compiled_hot_path().record_builder(3, era), RecordBuilder(3, era)]
    for builder in found:
        builder.decided_at = DECIDED_AT
    return found


def written(builder: RecordBuilder, method: str, *arguments: Any) -> Any:
    try:
        return getattr(builder, method)(*arguments)
    except (OverflowError, UnicodeEncodeError) as error:
        return type(error)


@settings(max_examples=1000, deadline=None)
@given(TEXTS, NUMBERS, TEXTS, FACTS, NUMBERS, NUMBERS, st.sampled_from([0, 0, 1, 12]))
def test_a_fact_is_written_as_the_python_code_writes_it(
    customer_id: str, incarnation: int, lifecycle: str, fact: Any, fact_no: int, sequence: int, era: int
) -> None:
    arguments = customer_id, incarnation, lifecycle, Numbered(fact, fact_no, sequence)
    compiled, python = builders(era)
    assert written(compiled, "fact", *arguments) == written(python, "fact", *arguments)


@settings(max_examples=1000, deadline=None)
@given(TEXTS, NUMBERS, TEXTS, PUBLISHED, st.sampled_from([0, 0, 1, 12]))
def test_a_latest_stage_is_written_as_the_python_code_writes_it(
    customer_id: str, incarnation: int, lifecycle: str, published: Published, era: int
) -> None:
    arguments = customer_id, incarnation, lifecycle, published
    compiled, python = builders(era)
    assert written(compiled, "latest_stage", *arguments) == written(python, "latest_stage", *arguments)


@pytest.mark.parametrize("length", range(140))
def test_the_id_of_a_fact_is_that_of_the_python_code_at_every_length(length: int) -> None:
    record = builders(0)[0].fact("c" * length, 0, "trial", Numbered(Stall("a", 1, 0, 0, 1, False), 7, 1))
    assert record.about.id == fact_id_text("c" * length, "trial", 0, 7)  # type: ignore[union-attr]


@settings(max_examples=1000, deadline=None)
@given(st.dates().map(lambda day: (day.toordinal() - 719_163) * 86_400_000_000), st.integers(0, 86_399_999_999))
def test_every_day_is_written_as_the_python_code_writes_it(day: int, rest: int) -> None:
    fact = Numbered(Recovery("a", 1.0, None, day + rest, 1, False), 1, 1)
    compiled, python = builders(0)
    assert compiled.fact("c", 0, "trial", fact) == python.fact("c", 0, "trial", fact)
