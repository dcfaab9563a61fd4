"""What every test may ask for: a real Kafka, a real PostgreSQL, and names of its own in them.

`stack` is brought up once a session, in a folder of its own that is removed afterwards. When the environment names
servers (TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS, TOUCHLINE_DATABASE_URL), those are used and only looked at. Tests never
share a database or a topic, so they may run in any order and in several pytest processes at once.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from touchline_devstack.settings import DevstackSettings
from touchline_devstack.stack import Stack
from xdist.scheduler import LoadScopeScheduling

FORBID_SKIPS_VARIABLE = "TOUCHLINE_TESTS_FORBID_SKIPS"

# Generated inputs are judged by what the code does with them, not by how long this machine takes to make or try them.
settings.register_profile("touchline", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("touchline")


@pytest.fixture(scope="session")
def stack_folder() -> Iterator[Path]:
    """Where stacks live. Not below pytest's own folder: every run of pytest closes that to other users again, and
    root's PostgreSQL runs as another user. Removed at the end, since pytest would keep three of them.
    """
    with tempfile.TemporaryDirectory(prefix="touchline-tests-") as folder:
        yield Path(folder).resolve()


@pytest.fixture(scope="session")
def stack(stack_folder: Path) -> Iterator[Stack]:
    """Kafka and PostgreSQL, up. Fault tests that stop or kill a server must start it again."""
    folder = stack_folder / "session"
    stack = Stack(replace(DevstackSettings.from_environment(), folder=folder))
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        stack.remove()


@pytest.fixture
def kafka_bootstrap(stack: Stack) -> str:
    """host:port of the broker."""
    return stack.kafka_bootstrap


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics, groups and transactional ids that no other test has."""
    return f"t{secrets.token_hex(5)}"


@pytest.fixture
def database_url(stack: Stack, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL (postgresql://…) of an empty database that no other test has; dropped afterwards, also while clients are
    connected."""
    readable = re.sub(r"[^a-z0-9]+", "_", request.node.name.lower())[:40].strip("_")
    name = f"test_{readable}_{secrets.token_hex(4)}"
    url = stack.create_database(name)
    yield url
    stack.drop_database(name)


_CONSOLE = "tests/integration/console/"
_LONG = ("end_to_end", "faults", "console", "integration")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the long files first, in random order among themselves: begun last, one of them would be waited for."""

    def index(item: pytest.Item) -> int:
        parts = item.path.parts
        if "unit" in parts:
            return len(_LONG)
        return next((index for index, name in enumerate(_LONG) if name in parts), len(_LONG))

    items.sort(key=index)


class _Files(LoadScopeScheduling):  # type: ignore[misc]  # ships no types
    """A file is one unit of work, and so are the browser tests of the console together.

    They share one running system and one browser, which is closed before another file begins.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _CONSOLE if nodeid.startswith(_CONSOLE) else nodeid.split("::", 1)[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Distribute by :class:`_Files` where ``--dist loadfile`` is asked for."""
    return _Files(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """With TOUCHLINE_TESTS_FORBID_SKIPS=1 a skipped test is a failed one: what is not run proves nothing."""
    return _without_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """The same for a module that skips itself while it is collected."""
    return _without_skip((yield))


def _without_skip(report: Any) -> Any:
    if os.environ.get(FORBID_SKIPS_VARIABLE) == "1" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and {FORBID_SKIPS_VARIABLE}=1 forbids that: {report.longrepr}"
    return report
