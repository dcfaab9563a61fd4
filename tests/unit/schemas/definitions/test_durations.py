import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_schemas.definitions.durations import DAY, HOUR, MINUTE, SECOND, describe_duration, parse_duration
from touchline_schemas.times import parse_instant


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30m", 30 * MINUTE),
        ("12h", 12 * HOUR),
        ("14d", 14 * DAY),
        ("8w", 56 * DAY),
        ("45s", 45_000_000),
        ("P14D", 14 * DAY),
        ("P2W", 14 * DAY),
        ("PT36H", 36 * HOUR),
        ("P1DT12H30M", 36 * HOUR + 30 * MINUTE),
        ("PT0.5S", 500_000),
        ("P0,5D", 12 * HOUR),
    ],
)
def test_durations_are_read_in_short_and_in_iso_form(text: str, length: int) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("14", "14d"),
        ("P1M", "fixed length"),
        ("P1Y", "fixed length"),
        ("1.5h", "30m, 12h"),
        ("-3d", "30m, 12h"),
        ("14 d", "30m, 12h"),
        ("P", "30m, 12h"),
        ("PT", "30m, 12h"),
        ("P3DT", "30m, 12h"),
        ("14D", "30m, 12h"),
        ("900000d", "century"),
        ("٣d", "30m, 12h"),
    ],
)
def test_what_is_no_duration_is_refused_with_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        parse_duration(text)


@pytest.mark.parametrize("units", ["wdhms", "dhms"])
@given(seconds=st.integers(1, 10**6))
def test_a_duration_described_reads_back(units: str, seconds: int) -> None:
    assert parse_duration(describe_duration(seconds * SECOND, units=units)) == seconds * SECOND


@pytest.mark.parametrize(
    ("length", "text"),
    [(56 * DAY, "8w"), (36 * HOUR, "36h"), (90 * SECOND, "90s"), (0, "0s"), (1_234_567_500_000, "1234567.5s")],
)
def test_a_duration_is_described_in_the_largest_unit_that_divides_it(length: int, text: str) -> None:
    assert describe_duration(length) == text


def test_an_instant_needs_a_zone() -> None:
    assert parse_instant("1970-01-02T01:00:00.000001+01:00") == DAY + 1
    for text in ("1970-01-02T00:00:00", "yesterday"):
        with pytest.raises(ValueError, match="with a zone"):
            parse_instant(text)
