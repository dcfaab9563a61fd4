"""A console over the three services, looked at in a real Chromium."""

import secrets
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from touchline_devstack.stack import Stack

from tests.support.console.look import Look
from tests.support.console.oidc_world import OidcWorld
from tests.support.console.world import ConsoleWorld

# On a busy machine a page may take long; a test that passes does not wait for it.
expect.set_options(timeout=120_000)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


# The fixtures below have the scope of the package, not of the session: while Playwright's synchronous browser is open,
# no other test on this worker can start an event loop.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    if CHROMIUM is None:
        pytest.skip("Chromium is missing; on Debian and Ubuntu: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="package")
def world(stack: Stack, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    """Everything, filled. What the pages looked like before is in ``world.when_empty``."""
    name = f"test_console_{secrets.token_hex(4)}"
    url = stack.create_database(name)
    try:
        folder = tmp_path_factory.mktemp("console")
        with ConsoleWorld.open(stack.kafka_bootstrap, url, f"t{secrets.token_hex(5)}", folder) as opened:
            opened.when_empty = {}  # type: ignore[attr-defined]
            for path in ("/", "/customers", "/lifecycles/service-cycle", "/lifecycles/many?view=cohorts", "/plays",
                         "/actions", "/deliveries", "/sources", "/dead-letters", "/operations"):  # fmt: skip
                with Look(browser, opened.console).page(path) as look:
                    opened.when_empty[path] = (look.status, look.complaints(), look.accessibility())  # type: ignore[attr-defined]
            opened.fill()
            yield opened
    finally:
        stack.drop_database(name)


@pytest.fixture
def look(browser: Browser, world: ConsoleWorld) -> Look:
    """Opens pages of the console."""
    return Look(browser, world.console)


@pytest.fixture(scope="package")
def oidc(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcWorld]:
    """An identity provider, a notifier and a console."""
    name = f"test_oidc_{secrets.token_hex(4)}"
    url = stack.create_database(name)
    try:
        with OidcWorld.open(stack, url, f"t{secrets.token_hex(5)}", tmp_path_factory.mktemp("oidc")) as opened:
            yield opened
    finally:
        stack.drop_database(name)
