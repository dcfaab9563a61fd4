"""The rule for migrations (CONTRIBUTING.md, Migrations), read from the files of every service."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SERVICES = Path(__file__).parents[4] / "services"
FOLDERS = sorted(SERVICES.glob("*/src/*/migrations/versions"))


def _modules(folder: Path) -> list[ModuleType]:
    modules = []
    for path in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"migration_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        modules.append(module)
    return modules


def test_both_services_with_tables_are_looked_at() -> None:
    assert {folder.parents[3].name for folder in FOLDERS} >= {"stage-engine", "notifier"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parents[3].name)
def test_every_migration_after_the_first_names_its_predecessor_among_those_whose_code_still_runs(folder: Path) -> None:
    modules = _modules(folder)
    assert [module.down_revision for module in modules].count(None) == 1, "one first migration"
    revisions = [module.revision for module in modules]
    for module in modules:
        if module.down_revision is None:
            continue
        assert module.down_revision in module.runs_with, f"{folder}: {module.revision} ends its predecessor's work"
        assert set(module.runs_with) <= set(revisions), "only revisions that exist"
