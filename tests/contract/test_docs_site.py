"""The documentation site builds without a warning, every page is in the menu, and no page loads from another host."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIGURATION = tomllib.loads((ROOT / "zensical.toml").read_text())


def pages(menu: list[object]) -> Iterator[str]:
    for entry in menu:
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict):
            for value in entry.values():
                yield from pages(value if isinstance(value, list) else [value])


def test_every_page_is_in_the_menu() -> None:
    written = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    examples = {page for page in written if page.startswith("examples/")}
    assert set(pages(CONFIGURATION["project"]["nav"])) == written - examples


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with broken links as errors."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    command = [sys.executable, str(ROOT / "deploy/build_site.py"), str(folder)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / str(CONFIGURATION["project"]["site_dir"])


def test_the_site_builds_without_broken_links(site: Path) -> None:
    assert (site / "index.html").exists()
    assert (site / "search.js").exists(), "search without a server needs the index as a script"


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="(https?://[^"]+)"', page.read_text())
        assert loaded == [], page
