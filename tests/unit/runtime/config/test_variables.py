"""Misspelt variables are told of, and others' are not."""

import json
import os
import subprocess
import sys

import pytest
from touchline_runtime.config.env_vars import Unknown, known_variables, unknown_variables

WITHOUT_OURS = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("TOUCHLINE_LIFECYCLE_DIR", "TOUCHLINE_LIFECYCLES_DIR"),
        ("TOUCHLINE_SOURCE_FILE", "TOUCHLINE_SOURCES_FILE"),
        ("TOUCHLINE_BOOTSTRAP_SERVERS", "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS"),
        ("touchline_plays_dirs", "TOUCHLINE_PLAYS_DIR"),
        ("TOUCHLINE_XYZZY", None),
    ],
)
def test_a_misspelt_variable_is_told_with_the_one_that_was_meant(written: str, meant: str | None) -> None:
    assert list(unknown_variables([written], known_variables())) == [Unknown(written, meant)]


def test_variables_of_all_services_and_tools_and_of_others_are_passed_over() -> None:
    given = [*known_variables(), "touchline_http_port", "PATH", "TOUCHLINES"]
    assert list(unknown_variables(given, known_variables())) == []


def test_a_service_says_so_once_before_anything_else() -> None:
    program = (
        "from touchline_runtime.process import logs\nimport structlog\n"
        "logs.configure('ingest', format='json')\nlogs.configure('ingest', format='json')\n"
        "structlog.get_logger('a').info('later')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=WITHOUT_OURS | {"TOUCHLINE_LIFECYCLE_DIR": "x", "TOUCHLINE_DEVSTACK_DIR": "y"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    first, second = map(json.loads, ended.stderr.splitlines())
    assert (first["event"], first["level"], first["service"]) == ("unknown_variable", "warning", "ingest")
    assert (first["variable"], first["did_you_mean"]) == ("TOUCHLINE_LIFECYCLE_DIR", "TOUCHLINE_LIFECYCLES_DIR")
    assert second["event"] == "later"
