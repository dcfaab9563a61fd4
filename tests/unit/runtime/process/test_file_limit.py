"""A connection is a file: of the files that a process may open, some are kept for its servers."""

import pytest
from touchline_runtime.process.run import connections_within


@pytest.mark.parametrize(
    ("files", "wanted", "most"),
    [(None, 100_000, 100_000), (65_536, 2_000, 2_000), (2_200, 2_000, 2_000), (1_024, 2_000, 824), (256, 2_000, 128)],
)
def test_connections_leave_files_for_kafka_and_the_database(files: int | None, wanted: int, most: int) -> None:
    assert connections_within(files, wanted) == most
