"""How values read, for any value."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from touchline_console.core import formats
from touchline_console.core.hours import by_hour
from touchline_console.core.period import read_period
from touchline_console.core.sparkline import sparkline
from touchline_console.entrypoints.http.rendering import amount_tag

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "—"), (0, "€ 0"), (393.73, "€ 393.73"), (18420.4, "€ 18,420"), (-12.5, "€ -12.50"), (1e11, "€ 100B"),
    ],
)  # fmt: skip
def test_amounts_have_cents_where_they_matter(value: float | None, shown: str) -> None:
    assert formats.money(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"), [(0.614, "61 %"), (0.0273, "2.7 %"), (0, "0 %"), (1, "100 %"), (0.0996, "10 %"), (None, "—")]
)
def test_shares_have_a_decimal_below_ten_percent(share: float | None, shown: str) -> None:
    assert formats.percent(share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "—"), (0, "0 s"), (12, "12 s"), (2700, "45 min"), (12_600, "3.5 h"), (535_680, "6.2 d"), (950_400, "11 d")],
)
def test_durations_take_the_largest_unit_that_fits(seconds: float | None, shown: str) -> None:
    assert formats.duration(seconds) == shown


@given(st.timedeltas(timedelta(days=-4000), timedelta(days=4000)))
def test_any_moment_is_some_time_ago_or_ahead(distance: timedelta) -> None:
    text = formats.ago(NOW - distance, NOW)
    if abs(distance) > timedelta(minutes=2):
        assert text.startswith("in ") == (distance < timedelta(0))
        assert text.endswith(" ago") == (distance > timedelta(0))
    assert "0 " not in text.split(" ago")[0][:2]


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_a_change_has_the_sign_of_the_difference(current: float, before: float) -> None:
    change = formats.change(current, before)
    assert change is not None
    assert change.direction == ("up" if current > before else "down" if current < before else "same")
    assert change.text[0] == {"up": "+", "down": "−", "same": "±"}[change.direction]


@given(st.lists(st.floats(-1e6, 1e6), max_size=40))
def test_a_sparkline_stays_in_its_box(values: list[float]) -> None:
    drawn = sparkline(values)
    assert (drawn is None) == (len(values) < 2)
    if drawn:
        points = [point.split() for point in drawn.line.removeprefix("M").split("L")]
        assert len(points) == len(values)
        assert all(0 <= float(x) <= drawn.width and 0 <= float(y) <= drawn.height for x, y in points)


def test_a_sparkline_of_nothing_runs_at_the_bottom_and_of_a_constant_in_the_middle() -> None:
    nothing, constant = sparkline([0, 0, 0]), sparkline([7, 7])
    assert nothing
    assert constant
    assert nothing.line == "M0.0 34.0L60.0 34.0L120.0 34.0"
    assert constant.line == "M0.0 18.0L120.0 18.0"


dates = st.dates().map(str) | st.text(max_size=12) | st.none()


@given(st.none() | st.text(max_size=5) | st.sampled_from(["7", "30", "all"]), dates, dates)
def test_whatever_a_filter_bar_says_a_period_has_a_length(
    days: str | None, first: str | None, last: str | None
) -> None:
    period = read_period(days, first, last, NOW)
    assert period.until <= NOW
    if period.since is not None:
        assert period.since < period.until or period.since > NOW
        before = period.before
        if before is not None and period.since < period.until:
            assert before.until == period.since
            longer = before.until - (before.since or before.until) - (period.until - period.since)
            assert abs(longer) <= timedelta(hours=1)


@given(st.none() | st.text(max_size=5) | st.sampled_from(["7", "30", "all"]), dates, dates)
@example(None, "2026-11-26", None)
@example(None, "2026-11-01", "2026-11-26")
@example(None, "2026-11-01", "2026-11-20")
@example("30", None, None)
def test_a_filter_bar_asks_the_same_all_hour(days: str | None, first: str | None, last: str | None) -> None:
    # The services keep answers that take them long: a question with the present second in it is never answered.
    asked = []
    for now in (NOW, NOW + timedelta(minutes=59, seconds=59)):
        period = read_period(days, first, last, now)
        before = period.before
        asked.append((period.parameters(), None if before is None else before.explicit()))
    assert asked[0] == asked[1]


def test_hours_without_an_event_count_zero() -> None:
    hours = [{"begins": "2026-11-26T12:00:00Z", "accepted": 3}, {"begins": "2026-11-25T13:00:00Z", "accepted": 2}]
    counted = by_hour(hours, "accepted", NOW)
    assert (len(counted), counted[-1], counted[0], sum(counted)) == (24, 3, 2, 5)


@pytest.mark.parametrize(
    ("value", "shown", "exact"),
    [
        (None, "—", None),
        (0, "€ 0", None),
        (12.5, "€ 12.50", None),
        (5000, "€ 5,000", None),
        (123456.78, "€ 123,457", "€ 123,456.78"),
        (-123456.78, "€ -123,457", "€ -123,456.78"),
        (12_345_678.9, "€ 12.3M", "€ 12,345,678.90"),
        (20_000_000, "€ 20.0M", "€ 20,000,000.00"),
    ],
)
def test_a_shortened_amount_has_the_exact_one_for_every_reader(
    value: float | None, shown: str, exact: str | None
) -> None:
    text = str(amount_tag(value, "EUR"))
    if exact is None:
        assert text == shown
    else:
        assert f'title="{exact}">{shown}<span class="visually-hidden"> (exactly {exact})</span>' in text
