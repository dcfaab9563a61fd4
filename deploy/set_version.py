"""Set the version of all packages and of the chart: ``deploy/set_version.py 1.2.3``.

The root's pyproject.toml has the version; everything else has the same, and tests/contract/test_versions.py compares.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_VERSION = r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?"


def files(root: Path) -> dict[Path, str]:
    """Each file that has the version → a pattern whose first group stands before it, and whose third after it."""
    members = [path for base in ("libs", "services") for path in sorted((root / base).glob("*/pyproject.toml"))]
    found = dict.fromkeys([root / "pyproject.toml", *members], rf'(?m)^(version = ")({_VERSION})(")$')
    chart = root / "deploy/helm/touchline/Chart.yaml"
    return found | {chart: rf'(?m)^((?:version: |appVersion: "))({_VERSION})("?)$'}


def versions(root: Path) -> dict[Path, list[str]]:
    """The versions that each file has now."""
    return {
        path: [found[1] for found in re.findall(pattern, path.read_text())] for path, pattern in files(root).items()
    }


def set_version(root: Path, version: str) -> None:
    """Write a version into all of them.

    Raises:
        ValueError: it is no version, or a file has none to replace.
    """
    if not re.fullmatch(_VERSION, version):
        raise ValueError(f"{version!r} is no version: write it as 1.2.3 or 1.2.3rc1")
    for path, pattern in files(root).items():
        text, number = re.subn(pattern, rf"\g<1>{version}\g<3>", path.read_text())
        if not number:
            raise ValueError(f"{path} has no version")
        path.write_text(text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: deploy/set_version.py 1.2.3")
    set_version(ROOT, sys.argv[1])
    sys.stderr.write("now: make setup docs && deploy/helm/render.sh, and the changelog\n")
