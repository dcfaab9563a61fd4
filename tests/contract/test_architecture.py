"""Who may import whom. The layout is the architecture; this test is what keeps it so."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    "touchline_schemas": ROOT / "libs/schemas/src/touchline_schemas",
    "touchline_runtime": ROOT / "libs/runtime/src/touchline_runtime",
    "touchline_devstack": ROOT / "libs/devstack/src/touchline_devstack",
    "touchline_ingest": ROOT / "services/ingest/src/touchline_ingest",
    "touchline_stage_engine": ROOT / "services/stage-engine/src/touchline_stage_engine",
    "touchline_notifier": ROOT / "services/notifier/src/touchline_notifier",
}
SERVICES = ("touchline_ingest", "touchline_stage_engine", "touchline_notifier")
MAY_IMPORT = {
    "touchline_schemas": set(),
    "touchline_runtime": set(),
    "touchline_devstack": {"touchline_schemas"},
    **{service: {"touchline_schemas", "touchline_runtime"} for service in SERVICES},
}
IMPURE = {
    "asyncio", "threading", "multiprocessing", "socket", "subprocess", "requests", "httpx", "aiokafka", "asyncpg",
    "sqlalchemy", "fastapi", "starlette", "uvicorn", "aiosmtplib", "structlog", "prometheus_client", "time", "logging",
}  # fmt: skip


PURE_RUNTIME = ("touchline_runtime.places", "touchline_runtime.yaml_text")
"""Texts to values, without a clock or a network: the core may use them as it uses a library."""


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module a file imports, with the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def files(package: str, room: str = "") -> list[Path]:
    return sorted((SOURCES[package] / room).rglob("*.py"))


@pytest.mark.parametrize("package", SOURCES)
def test_packages_import_only_those_they_may(package: str) -> None:
    breaches = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files(package)
        for module, line in imports(path)
        if (top := module.split(".")[0]).startswith("touchline_") and top != package and top not in MAY_IMPORT[package]
    ]
    assert breaches == []


def test_the_contract_depends_on_pydantic_and_the_standard_library_alone() -> None:
    allowed = {"pydantic", "touchline_schemas"} | sys.stdlib_module_names
    breaches = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files("touchline_schemas")
        for module, line in imports(path)
        if module.split(".")[0] not in allowed
    ]
    assert breaches == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_core_knows_no_clock_no_network_and_no_framework(service: str) -> None:
    breaches = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files(service, "core")
        for module, line in imports(path)
        if module.split(".")[0] in IMPURE
        or module.startswith((f"{service}.adapters", f"{service}.entrypoints", f"{service}.bootstrap"))
        or (module.startswith("touchline_runtime") and not module.startswith(PURE_RUNTIME))
    ]
    assert breaches == []


def test_what_the_core_uses_of_the_runtime_is_as_pure() -> None:
    breaches = [
        f"{name} imports {module}"
        for name in PURE_RUNTIME
        for module, _ in imports(SOURCES["touchline_runtime"] / f"{name.split('.')[1]}.py")
        if module.split(".")[0] in IMPURE
        or (module.startswith("touchline_runtime") and not module.startswith(PURE_RUNTIME))
    ]
    assert breaches == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_core_reads_no_clock(service: str) -> None:
    readers = {"now", "utcnow", "today", "time_ns", "monotonic"}
    breaches = [
        f"{path.relative_to(ROOT)}:{node.lineno} calls {node.func.attr}()"
        for path in files(service, "core")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in readers
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"datetime", "date", "time"}
    ]
    assert breaches == []


@pytest.mark.parametrize("service", SERVICES)
def test_adapters_do_not_import_entrypoints(service: str) -> None:
    breaches = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files(service, "adapters")
        for module, line in imports(path)
        if module.startswith((f"{service}.entrypoints", f"{service}.bootstrap"))
    ]
    assert breaches == []


def test_every_service_has_the_rooms_of_the_layout() -> None:
    missing = [
        f"{service}/{room}"
        for service in SERVICES
        for room in ("core", "adapters", "entrypoints", "bootstrap.py")
        if not (SOURCES[service] / room).exists()
    ]
    assert missing == []
