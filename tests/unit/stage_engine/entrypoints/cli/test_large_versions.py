"""Kind: a version that no database column holds (a timestamp) is refused by `check`, with what to write instead."""

from pathlib import Path

import pytest
from touchline_stage_engine.entrypoints.cli.main import app
from typer.testing import CliRunner

TEXT = "lifecycle: trial\nversion: {version}\nstages:\n  - name: reach\n  - name: buy\n"


@pytest.mark.parametrize("version", ["202611261200", "2147483648", "9223372036854775808", "1e30", "-1", "0"])
def test_a_version_beyond_what_is_stored_is_refused_with_file_line_and_path(tmp_path: Path, version: str) -> None:
    file = tmp_path / "trial.yaml"
    file.write_text(TEXT.format(version=version))
    done = CliRunner().invoke(app, ["check", str(file)])
    text = " ".join(done.output.split())
    assert done.exit_code == 2, text
    assert "trial.yaml" in text.replace(" ", "")
    assert ":2:" in text.replace(" ", "")
    assert "version" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("version", ["1", "20261126", "2147483647"])
def test_the_largest_version_is_taken(tmp_path: Path, version: str) -> None:
    file = tmp_path / "trial.yaml"
    file.write_text(
        TEXT.format(version=version).replace("- name: reach", "- {name: reach, rules: [{when: [purchased], to: next}]}")
    )
    done = CliRunner().invoke(app, ["check", str(file)])
    assert done.exit_code == 0, done.output
