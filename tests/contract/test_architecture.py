"""Which package and which layer may import which. Imports inside functions and under TYPE_CHECKING count too.

    entrypoints → application → core        adapters → application (ports and values), core        bootstrap wires

The tables below say what each library and service may import; services never import each other.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    path.name: path for base in ("libs", "services") for path in sorted((ROOT / base).glob("*/src/*")) if path.is_dir()
}
SERVICES = ("touchline_console", "touchline_ingest", "touchline_notifier", "touchline_stage_engine")
LIBRARIES = {
    "touchline_schemas": set[str](),
    "touchline_runtime": set[str](),
    "touchline_partitions": {"touchline_runtime", "touchline_schemas"},
    "touchline_devstack": set[str](),
    "touchline_demo": {"touchline_devstack", "touchline_schemas"},
    # It judges the others, so it shares nothing with them.
    "touchline_checker": set[str](),
}
"""Library → the other Touchline packages that it may import."""
MAY_USE = {"touchline_schemas", "touchline_runtime", "touchline_partitions"}
"""What a service may import of the libraries."""

PURE_RUNTIME = (
    "touchline_runtime.config.secrets",
    "touchline_runtime.console_tokens.names",
    "touchline_runtime.errors",
    "touchline_runtime.http.credentials",
    "touchline_runtime.publishing.differences",
    "touchline_runtime.user_agents",
    "touchline_runtime.yaml.positions",
    "touchline_runtime.yaml.text",
)
"""Modules without clock, network and framework: a core may use them as it uses a third-party library."""

DRIVERS = {
    "aiokafka", "aiosmtplib", "alembic", "asyncpg", "fastapi", "httpx", "httpcore", "kafka", "requests", "rich",
    "smtplib", "sqlalchemy", "starlette", "typer", "uvicorn",
}  # fmt: skip
IMPURE = DRIVERS | {
    "asyncio", "logging", "multiprocessing", "os", "prometheus_client", "socket", "structlog", "subprocess", "tempfile",
    "threading", "time",
}  # fmt: skip
LAYERS = {
    "core": {"core"},
    "application": {"core", "application", "metrics", "settings"},
    "adapters": {"core", "application", "adapters", "metrics", "settings", "migrations"},
    "entrypoints": {"core", "application", "entrypoints", "metrics", "settings", "bootstrap", "bootstrap_commands"},
    "settings": {"core", "settings"},
    "metrics": {"metrics"},
}
"""Room of a service → the layers it may import. `bootstrap` and `bootstrap_commands` may import all of them."""
DATA = {"builtin", "plays", "migrations", "static", "templates"}
"""Packages that hold files rather than code: adapters, entrypoints and bootstrap may import them."""


MOST_MODULES = 14
"""Modules in a folder."""
MOST_LINES = 400
"""Lines in a module."""


@dataclass(frozen=True)
class Import:
    """One imported module, and where."""

    path: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.module}"


@cache
def imports(path: Path) -> tuple[Import, ...]:
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative imports hide what they import"
            assert node.module
            for alias in node.names:
                yield Import(path, node.lineno, f"{node.module}.{alias.name}")


def found(package: str, layer: str = "") -> Iterator[Import]:
    base = PACKAGES[package]
    single = base / f"{layer}.py"
    for path in [single] if layer and single.is_file() else sorted((base / layer).rglob("*.py")):
        yield from imports(path)


def top(module: str) -> str:
    return module.split(".")[0]


def layer_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_every_package_is_known_to_this_test() -> None:
    assert PACKAGES.keys() == {*SERVICES, *(library for library in LIBRARIES if library in PACKAGES)}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_packages_import_only_those_they_may(package: str) -> None:
    allowed = LIBRARIES.get(package, MAY_USE) | {package}
    breaches = [
        imported
        for imported in found(package)
        if top(imported.module).startswith("touchline_") and top(imported.module) not in allowed
    ]
    assert [str(imported) for imported in breaches] == []


def test_the_contract_depends_on_pydantic_and_the_standard_library_alone() -> None:
    allowed = {"pydantic", "pydantic_core", "touchline_schemas"} | sys.stdlib_module_names
    assert [str(imported) for imported in found("touchline_schemas") if top(imported.module) not in allowed] == []


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("service", SERVICES)
def test_a_layer_imports_only_the_layers_it_may(service: str, layer: str) -> None:
    allowed = LAYERS[layer] | (DATA if layer in ("adapters", "entrypoints") else set[str]())
    breaches = [
        imported
        for imported in found(service, layer)
        if top(imported.module) == service and layer_of(imported.module) not in allowed
    ]
    assert [str(imported) for imported in breaches] == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_core_is_pure(service: str) -> None:
    breaches = [
        imported
        for imported in found(service, "core")
        if top(imported.module) in IMPURE
        or (top(imported.module) == "touchline_runtime" and not imported.module.startswith(PURE_RUNTIME))
        or top(imported.module) == "touchline_partitions"
    ]
    assert [str(imported) for imported in breaches] == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_application_knows_no_driver(service: str) -> None:
    breaches = [imported for imported in found(service, "application") if top(imported.module) in DRIVERS]
    assert [str(imported) for imported in breaches] == []


def test_what_cores_use_of_the_runtime_is_as_pure() -> None:
    breaches = [
        imported
        for name in PURE_RUNTIME
        for imported in imports(PACKAGES["touchline_runtime"] / f"{'/'.join(name.split('.')[1:])}.py")
        if top(imported.module) in IMPURE
        or (top(imported.module) == "touchline_runtime" and not imported.module.startswith(PURE_RUNTIME))
    ]
    assert [str(imported) for imported in breaches] == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_core_reads_no_clock(service: str) -> None:
    readers = {"now", "utcnow", "today", "time_ns", "monotonic"}
    breaches = [
        f"{path.relative_to(ROOT)}:{node.lineno} calls {node.func.attr}()"
        for path in sorted((PACKAGES[service] / "core").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in readers
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"datetime", "date", "time"}
    ]
    assert breaches == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_layers_of_the_layout(service: str) -> None:
    parts = (
        "core", "application", "application/ports.py", "adapters", "entrypoints", "bootstrap.py", "settings.py",
        "metrics.py",
    )  # fmt: skip
    assert {part for part in parts if not (PACKAGES[service] / part).exists()} == set()


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_folders_stay_small_enough_to_read(package: str) -> None:
    sizes = Counter(path.parent for path in PACKAGES[package].rglob("*.py") if path.name != "__init__.py")
    large = {str(folder.relative_to(ROOT)): size for folder, size in sizes.items() if size > MOST_MODULES}
    assert {folder: size for folder, size in large.items() if not folder.endswith("migrations/versions")} == {}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_source_files_stay_small_enough_to_read(package: str) -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in PACKAGES[package].rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > MOST_LINES and "versions" not in path.parts
    }
    assert long == {}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_unit_tests_lie_in_folders_that_mirror_the_source(package: str) -> None:
    tests = ROOT / "tests" / "unit" / package.removeprefix("touchline_")
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    assert {str(folder) for folder in folders if not (PACKAGES[package] / folder).is_dir()} == set()
    sizes = Counter(path.parent for path in tests.rglob("test_*.py"))
    assert {str(folder.relative_to(ROOT)): size for folder, size in sizes.items() if size > MOST_MODULES} == {}
