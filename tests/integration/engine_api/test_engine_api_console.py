"""The console in a real Chromium, asking a real engine."""

import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from api_world import ApiWorld, touchpoint
from playwright.sync_api import ConsoleMessage, Page, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.stack, pytest.mark.browser]


@pytest.fixture(scope="module")
def console(api: ApiWorld) -> Iterator[Page]:
    """The console, open; whatever it complains of fails the test that ends."""
    if CHROMIUM is None:
        pytest.skip("Chromium is missing; on Debian and Ubuntu: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        complaints: list[str] = []

        def heard(message: ConsoleMessage) -> None:
            if message.type == "error":
                complaints.append(message.text)

        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        foreign: list[str] = []
        ours = ("data:", api.engine.url)
        page.on("request", lambda asked: None if asked.url.startswith(ours) else foreign.append(asked.url))
        page.goto(api.engine.url)
        yield page
        browser.close()
        assert (complaints, foreign) == ([], [])


def test_funnel_and_analyses_say_what_the_api_says(api: ApiWorld, console: Page) -> None:
    console.get_by_role("button", name="Customer service cycle").click()
    expect(console.get_by_role("button", name="Customer service cycle")).to_have_attribute("aria-pressed", "true")
    funnel = api.get("/v1/lifecycles/service-cycle/funnel")
    rows = console.locator("#funnel tbody tr")
    expect(rows.first).to_contain_text(funnel["stages"][0]["title"])
    expect(rows).to_have_count(len(funnel["stages"]) + len(funnel["off_path"]))
    expect(rows.nth(1)).to_contain_text(str(funnel["stages"][1]["reached"]))
    worst = api.get("/v1/lifecycles/service-cycle/slipping", limit=10)["items"]
    expect(console.locator("#slipping tbody tr")).to_have_count(len(worst))
    expect(console.locator("#slipping tbody tr").first).to_contain_text(worst[0]["customer_id"])
    top = api.get("/v1/top-customers", limit=10)["items"]
    expect(console.locator("#top tbody tr").first).to_contain_text(top[0]["customer_id"])
    expect(console.locator("#effort tbody tr")).to_have_count(len(funnel["stages"]) + len(funnel["off_path"]))


def test_a_move_appears_while_one_looks(api: ApiWorld, console: Page) -> None:
    live = console.locator("#live li")

    def appeared() -> bool:
        # The stream may not follow yet when the first of them moves.
        name = f"seen-{time.monotonic_ns()}"
        api.post([touchpoint(name, datetime.now(UTC), customer_id=name)])
        console.wait_for_timeout(200)
        return "seen-" in " ".join(live.all_inner_texts())

    api.wait("a move is shown", appeared)
    expect(live.first).to_contain_text(re.compile("enter: reach"))


def test_a_customer_is_found_by_id_and_by_link(api: ApiWorld, console: Page) -> None:
    console.get_by_label("Customer id").fill("c-3")
    console.get_by_role("button", name="Show").click()
    standing = api.get("/v1/customers/c-3")
    shown = console.locator("#customer")
    expect(shown).to_contain_text(f"c-3: {standing['touchpoints']} touchpoints")
    expect(shown).to_contain_text(f"Reading: {api.get('/v1/customers/c-3/reading')['reading']}")
    moves = api.get("/v1/customers/c-3/history", limit=200)["items"]
    expect(shown.locator("table").nth(1).locator("tbody tr")).to_have_count(len(moves))
    first = console.locator("#slipping tbody a").first
    name = first.inner_text()
    first.click()
    expect(shown).to_contain_text(f"{name}: ")
