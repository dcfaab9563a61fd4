"""People by day and cohorts, against counting every customer on every day."""

from hypothesis import given
from hypothesis import strategies as st
from touchline_stage_engine.core.analysis.cohorts import Reached, cohorts, month_name, month_number
from touchline_stage_engine.core.analysis.population import Shift, by_day

STAGES = ("a", "b", "c")
lives = st.lists(st.lists(st.tuples(st.integers(0, 20), st.sampled_from(STAGES)), min_size=1, max_size=6), max_size=12)


@given(lives, st.integers(0, 10), st.integers(0, 15))
def test_people_by_day_are_those_whose_last_move_led_there(
    drawn: list[list[tuple[int, str]]], first: int, length: int
) -> None:
    last = first + length
    shifts, expected = [], {stage: [0] * (length + 1) for stage in STAGES}
    for life in drawn:
        moves = sorted(life, key=lambda move: move[0])
        before = None
        for day, stage in moves:
            if stage != before:
                shifts.append(Shift(day, before, stage, 1))
                before = stage
        for index in range(length + 1):
            where = None
            for day, stage in moves:
                if day <= first + index:
                    where = stage
            if where:
                expected[where][index] += 1
    assert by_day(shifts, STAGES, first, last) == expected


customers = st.lists(st.tuples(st.integers(2026 * 12, 2026 * 12 + 5), st.none() | st.integers(0, 6)), max_size=40)


@given(customers)
def test_a_cohorts_share_counts_who_reached_the_stage_by_then(drawn: list[tuple[int, int | None]]) -> None:
    now = 2026 * 12 + 6
    found = cohorts((Reached(month_name(month), months, 1) for month, months in drawn), month_name(now))
    assert [cohort.month for cohort in found] == sorted({month_name(month) for month, _ in drawn})
    for cohort in found:
        of_month = [months for month, months in drawn if month_name(month) == cohort.month]
        assert cohort.size == len(of_month)
        assert len(cohort.shares) == now - month_number(cohort.month) + 1
        for index, share in enumerate(cohort.shares):
            assert share == sum(months is not None and months <= index for months in of_month) / len(of_month)
