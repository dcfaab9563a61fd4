"""The hook of tests/conftest.py, in a pytest of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[2] / "conftest.py"
SAMPLE = """
import pytest

def test_passes():
    pass

@pytest.mark.skip(reason="no browser here")
def test_skipped_by_mark():
    pass

def test_skipped_in_the_middle():
    pytest.skip("no engine here")

@pytest.mark.xfail(reason="known")
def test_expected_to_fail():
    assert False
"""


def outcomes(folder: Path, forbid: str) -> tuple[int, str]:
    """Exit code and output of a pytest with our conftest.py over the sample and a module that skips itself."""
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "test_sample.py").write_text(SAMPLE)
    (folder / "test_module.py").write_text("import pytest\npytest.skip('no module here', allow_module_level=True)\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TOUCHLINE_", "PYTEST_"))}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "--continue-on-collection-errors", "."],
        env=environment | {"TOUCHLINE_TESTS_FORBID_SKIPS": forbid},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return result.returncode, result.stdout


def test_a_skip_is_a_skip_where_it_is_allowed(tmp_path: Path) -> None:
    code, text = outcomes(tmp_path, forbid="")
    assert "1 passed, 3 skipped, 1 xfailed" in text
    assert code == 0


def test_every_way_to_skip_fails_where_skips_are_forbidden(tmp_path: Path) -> None:
    code, text = outcomes(tmp_path, forbid="1")
    assert "skipped" not in text.splitlines()[-1]
    for reason in ("no browser here", "no engine here", "no module here"):
        assert reason in text
    assert "1 failed, 1 passed, 1 xfailed, 2 errors" in text
    assert code == 1
