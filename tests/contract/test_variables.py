"""The variables that services know by name are those that code and documents speak of."""

import re
import subprocess
from pathlib import Path

import pytest
from touchline_runtime.config.env_vars import known_variables

ROOT = Path(__file__).parents[2]
ABOUT_MISSPELT_ONES = {"tests/unit/runtime/config/test_variables.py", "tests/contract/test_variables.py"}


def spoken_of(*folders: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git work tree")
    files = [ROOT / name for name in listed.stdout.splitlines() if name not in ABOUT_MISSPELT_ONES]
    texts = (file.read_text("utf-8", errors="replace") for file in files if file.is_file())
    return {name for text in texts for name in re.findall(r"\bTOUCHLINE_[A-Z0-9_]*[A-Z0-9]\b", text)}


@pytest.mark.parametrize("folder", ["libs", "services", "bench", "deploy", "docs", "tests", ".ci", "README.md"])
def test_every_variable_that_is_spoken_of_is_a_known_one(folder: str) -> None:
    assert spoken_of(folder) - known_variables() == set()


def test_every_known_variable_is_read_somewhere_or_a_test_s() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    settings = {name for name in known_variables() if f"`{name}`" in page}
    assert known_variables() - settings <= spoken_of("tests")
