"""Kind: a rule that waits for a type which nobody will post, because it is misspelt, passes in silence."""

from importlib.resources import files
from pathlib import Path

import pytest
from touchline_stage_engine.core.definitions.near_misses import near_misses
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.entrypoints.cli.main import app
from typer.testing import CliRunner

TEXT = """lifecycle: trial
version: 1
passive: [refundedd]
rules:
  - {when: [signd_up, "*"], to: first}
stages:
  - name: reach
    rules:
      - {when: page_view, to: next}
      - all:
          - {when: [kaffee_getrunken, purchased]}
          - {when: [Purchased], count: 2}
        to: next
  - name: kept
off_path:
  - name: away
    rules: [{when: [demo-booked], to: reach}]
"""


def test_every_type_that_looks_misspelt_is_named_with_its_line() -> None:
    read_definition(TEXT, "trial.yaml")
    assert [
        (one.line, one.path, one.message.partition(" looks like ")[2]) for one in near_misses(TEXT, "trial.yaml")
    ] == [
        (3, "passive", "refunded"),
        (5, "rules[0].when", "signed_up"),
        (9, "stages[0].rules[0].when", "page_viewed"),
        (12, "stages[0].rules[1].all[1].when", "purchased"),
        (17, "off_path[0].rules[0].when", "demo_booked"),
    ]


def test_the_shipped_lifecycles_have_no_warning() -> None:
    shipped = [one for one in files("touchline_stage_engine.builtin").iterdir() if one.name.endswith(".yaml")]
    assert shipped
    assert [str(warning) for one in shipped for warning in near_misses(one.read_text("utf-8"), one.name)] == []


@pytest.mark.parametrize(("written", "warned"), [("purchase", True), ("purchased", False), ("lesson_taken", False)])
def test_the_check_warns_and_passes(tmp_path: Path, written: str, warned: bool) -> None:
    file = tmp_path / "trial.yaml"
    rules = f"rules: [{{when: [{written}], to: next}}]"
    file.write_text(f"lifecycle: trial\nversion: 1\nstages:\n  - name: a\n    {rules}\n  - name: b\n")
    result = CliRunner().invoke(app, ["check", str(file)])
    assert result.exit_code == 0
    assert ("looks like purchased" in result.stderr) is warned
    assert "trial version 1" in result.stderr
