"""The threat model names tests and files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()


def test_every_named_test_exists() -> None:
    existing = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named
    assert named - existing == set()


def test_every_named_file_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))
    assert {path for path in named if not (ROOT / path).is_file()} == set()


def test_every_threat_has_an_answer_and_a_test_or_a_decision() -> None:
    rows = [row.strip("| ").split(" | ") for row in PAGE.splitlines() if re.match(r"\| [STRIDE] \| ", row)]
    assert {row[0] for row in rows} == set("STRIDE")
    assert [row for row in rows if len(row) != 4 or not ("`" in row[3] or row[3] == "decision")] == []
