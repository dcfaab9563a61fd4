"""All packages and the chart have one version, and one command sets it."""

import runpy
import shutil
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "deploy/set_version.py"))
ITS_VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
MEMBERS = sorted(path.parent for base in ("libs", "services") for path in (ROOT / base).glob("*/pyproject.toml"))


def test_every_file_has_the_version_of_the_root() -> None:
    found = SCRIPT["versions"](ROOT)
    assert {member / "pyproject.toml" for member in MEMBERS} < found.keys()
    chart = ROOT / "deploy/helm/touchline/Chart.yaml"
    assert {str(path): versions for path, versions in found.items()} == {
        str(path): [ITS_VERSION] * (2 if path == chart else 1) for path in found
    }


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_an_installed_package_says_the_same(member: Path) -> None:
    assert metadata.version(f"touchline-{member.name}") == ITS_VERSION


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that have the version."""
    for path in SCRIPT["files"](ROOT):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


@pytest.mark.parametrize("version", ["1.2.3", "10.0.0rc1"])
def test_one_command_sets_it_everywhere_and_changes_nothing_else(copy: Path, version: str) -> None:
    SCRIPT["set_version"](copy, version)
    assert {one for versions in SCRIPT["versions"](copy).values() for one in versions} == {version}
    SCRIPT["set_version"](copy, ITS_VERSION)
    for path in SCRIPT["files"](ROOT):
        assert (copy / path.relative_to(ROOT)).read_text() == path.read_text()


@pytest.mark.parametrize("version", ["", "1", "1.2", "v1.2.3", "1.2.3-rc1", "1.2.3\n"])
def test_what_is_no_version_is_refused(copy: Path, version: str) -> None:
    with pytest.raises(ValueError, match="is no version"):
        SCRIPT["set_version"](copy, version)
