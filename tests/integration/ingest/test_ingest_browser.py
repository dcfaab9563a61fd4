"""touchline.js in a real Chromium, on a page of another origin than the service's."""

import asyncio
import hashlib
import hmac
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from touchline_ingest import metrics as declared
from touchline_ingest.adapters.memory.publisher import MemoryPublisher
from touchline_ingest.bootstrap import application
from touchline_ingest.settings import IngestSettings
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.run import listen

from tests.support.waiting import wait_until

# One browser for all: starting it takes longer than a test.
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

# On a busy machine a page may take long; a test that passes does not wait for it.
MILLISECONDS = 120_000
expect.set_options(timeout=MILLISECONDS)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
KEY = "key-of-the-page"
API_KEY = "key-of-the-shop"
IDENTITY_SECRET = "identity-secret"
PAGE = """<!doctype html><title>Shop</title>
<script>window.errors = []; addEventListener("error", e => errors.push(e.message));</script>
<script src="{ingest}/v1/touchline.js" data-key="{key}"></script>
<a id="demo" data-touchline="demo_booked" data-touchline-plan-name="pro" href="#booked"><b>Book a demo</b></a>
<form id="contact" onsubmit="event.preventDefault()">
  <input name="secret" value="typed-1234"><button id="send">Send</button>
</form>
<a id="away" href="/elsewhere">away</a>
"""


@dataclass
class Web:
    """A page of a shop, and the service it reports to."""

    shop: str
    ingest: str
    publisher: MemoryPublisher

    def touchpoints(self) -> list[dict[str, Any]]:
        """What arrived, each id once: sending again is allowed to happen."""
        found: dict[str, dict[str, Any]] = {}
        for record in self.publisher.published["touchpoints"]:
            touchpoint = orjson.loads(record.value)
            found.setdefault(touchpoint["id"], touchpoint)
        return list(found.values())

    def types(self) -> list[str]:
        return [touchpoint["type"] for touchpoint in self.touchpoints()]


async def serve(app: FastAPI, stopping: list[uvicorn.Server]) -> str:
    sock = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    stopping.append(server)
    task = asyncio.create_task(server._serve([sock]))
    stopping[-1].task = task  # type: ignore[attr-defined]
    return f"http://127.0.0.1:{sock.getsockname()[1]}"


@pytest_asyncio.fixture(loop_scope="module")
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    servers: list[uvicorn.Server] = []
    shop = FastAPI()
    shop_url = await serve(shop, servers)
    sources = tmp_path / "sources.yaml"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    sources.write_text(
        f'sources:\n  - {{name: page, kind: web, key_sha256: "{digest}", origins: ["{shop_url}"], '
        f"identity_secret: {{value: {IDENTITY_SECRET}}}}}\n"
        f"  - {{name: shop, kind: api, key_sha256: {hashlib.sha256(API_KEY.encode()).hexdigest()}}}\n"
    )
    publisher = MemoryPublisher()
    app, _ = application(IngestSettings(sources_file=sources), publisher, Metrics(declared.ALL))
    ingest_url = await serve(app, servers)

    @shop.get("/{path:path}")
    async def page(path: str) -> HTMLResponse:
        return HTMLResponse(PAGE.format(ingest=ingest_url, key=KEY))

    yield Web(shop_url, ingest_url, publisher)
    for server in servers:
        server.should_exit = True
        await server.task  # type: ignore[attr-defined]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def chromium() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium, or put one on the PATH")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """A visitor of their own: cookies and storage are empty."""
    context = await chromium.new_context()
    context.set_default_timeout(MILLISECONDS)
    yield context
    await context.close()


async def opened(browser: BrowserContext, web: Web, path: str = "/?utm_source=mail&token=private") -> Page:
    page = await browser.new_page()
    await page.goto(web.shop + path)
    return page


async def test_a_page_view_arrives_under_an_anonymous_id_that_stays(browser: BrowserContext, web: Web) -> None:
    page = await opened(browser, web)
    await wait_until(lambda: web.types() == ["page_viewed"], "the page view")
    await page.reload()
    await wait_until(lambda: len(web.types()) == 2, "the second page view")
    first, second = web.touchpoints()
    assert first["anonymous_id"] == second["anonymous_id"]
    assert first["properties"]["utm_source"] == "mail"
    assert first["properties"]["title"] == "Shop"
    assert "private" not in str(first)
    assert await page.evaluate("errors") == []


async def test_marked_clicks_and_forms_arrive_without_what_was_typed(browser: BrowserContext, web: Web) -> None:
    page = await opened(browser, web)
    await page.click("#demo b")
    await page.click("#send")
    await wait_until(lambda: len(web.types()) == 3, "view, click and form")
    demo = next(t for t in web.touchpoints() if t["type"] == "demo_booked")
    assert demo["properties"]["plan_name"] == "pro"
    form = next(t for t in web.touchpoints() if t["type"] == "form_submitted")
    assert form["properties"] == {"form": "contact"}
    assert "typed-1234" not in str(web.touchpoints())


async def test_who_identifies_is_known_from_then_on_until_a_reset(browser: BrowserContext, web: Web) -> None:
    page = await opened(browser, web)
    # As the site's server signs it.
    user_hash = hmac.new(IDENTITY_SECRET.encode(), b"c-17", "sha256").hexdigest()
    await page.evaluate(f"touchline.identify('c-17', {{email: 'ada@example.org', plan: 'pro'}}, '{user_hash}')")
    await page.evaluate("touchline.track('feature_used', {name: 'x'})")
    await page.evaluate("touchline.reset(); touchline.track('feature_used')")
    await wait_until(lambda: len(web.types()) == 4, "all four")
    view, identified, used, after = web.touchpoints()
    assert "customer_id" not in view
    assert (identified["customer_id"], identified["email"]) == ("c-17", "ada@example.org")
    assert identified["anonymous_id"] == view["anonymous_id"]
    assert used["customer_id"] == "c-17"
    assert "customer_id" not in after
    assert after["anonymous_id"] != view["anonymous_id"]


async def test_cut_off_in_the_middle_it_loses_nothing_and_doubles_nothing(browser: BrowserContext, web: Web) -> None:
    page = await opened(browser, web)
    await wait_until(lambda: web.types() == ["page_viewed"], "the page view")
    await browser.set_offline(True)
    ids = [await page.evaluate(f"touchline.track('feature_used', {{number: {n}}})") for n in range(120)]
    assert web.types() == ["page_viewed"]
    await browser.set_offline(False)
    await wait_until(lambda: len(web.types()) == 121, "what was queued")
    assert [t["id"] for t in web.touchpoints()[1:]] == ids
    assert [t["properties"]["number"] for t in web.touchpoints()[1:]] == list(range(120))
    await until_queue_is_empty(page)


async def test_a_page_closed_while_offline_sends_its_queue_when_it_is_opened_again(
    browser: BrowserContext, web: Web
) -> None:
    page = await opened(browser, web)
    await wait_until(lambda: len(web.types()) == 1, "the page view")
    await browser.set_offline(True)
    queued = await page.evaluate("touchline.track('trial_started')")
    await page.close()
    await browser.set_offline(False)
    await opened(browser, web)
    await wait_until(lambda: queued in [t["id"] for t in web.touchpoints()], "what an earlier page had queued")


async def test_what_happens_as_the_page_goes_away_still_arrives(browser: BrowserContext, web: Web) -> None:
    page = await opened(browser, web)
    await wait_until(lambda: len(web.types()) == 1, "the page view")
    await page.evaluate("touchline.track('cart_left'); location.href = 'about:blank'")
    await wait_until(lambda: "cart_left" in web.types(), "the last touchpoint")


async def test_while_the_service_does_not_accept_it_keeps_and_tries_again(browser: BrowserContext, web: Web) -> None:
    web.publisher._ack_timeout = 0.05
    web.publisher.go_away()
    page = await opened(browser, web)
    async with page.expect_response(lambda response: response.status == 503):
        await page.evaluate("touchline.track('trial_started')")
    web.publisher.come_back()
    await wait_until(lambda: sorted(web.types()) == ["page_viewed", "trial_started"], "the second attempt")
    await until_queue_is_empty(page)


async def test_moves_within_a_page_are_page_views(browser: BrowserContext, web: Web) -> None:
    page = await opened(browser, web)
    await page.evaluate("history.pushState({}, '', '/pricing')")
    await page.evaluate("location.hash = 'x'")
    await wait_until(lambda: len(web.types()) == 2, "the second view")
    assert web.touchpoints()[1]["properties"]["url"] == web.shop + "/pricing"


@pytest.mark.parametrize("signal", ["navigator.doNotTrack = '1'", "navigator.globalPrivacyControl = true"])
async def test_who_does_not_want_to_be_tracked_is_not(browser: BrowserContext, web: Web, signal: str) -> None:
    name, value = signal.removeprefix("navigator.").split(" = ")
    await browser.add_init_script(f"Object.defineProperty(Navigator.prototype, '{name}', {{get: () => {value}}})")
    page = await opened(browser, web)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    assert await page.evaluate("touchline.track('feature_used')") is None
    await page.click("#demo")
    assert await page.evaluate("touchline.anonymousId()") is None
    assert await page.evaluate("localStorage.length") == 0
    await page.reload()
    assert not [url for url in asked if "beacon" in url]
    assert web.types() == []


async def until_queue_is_empty(page: Page) -> None:
    await page.wait_for_function("JSON.parse(localStorage.getItem('touchline.queue') || '[]').length === 0")


async def test_the_api_page_sends_a_request_with_credentials_and_loads_nothing_from_elsewhere(
    browser: BrowserContext, web: Web
) -> None:
    page = await browser.new_page()
    requested: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(f"{web.ingest}/docs")
    operation = page.locator(".opblock", has=page.locator("[data-path='/v1/touchpoints']"))
    await operation.locator(".opblock-summary-control").click()
    await operation.locator("button.execute").click()
    status = operation.locator(".live-responses-table .response .response-col_status")
    await expect(status).to_contain_text("401")
    assert web.types() == []

    await page.locator("button.authorize").first.click()
    dialog = page.locator(".auth-container", has_text="bearer")
    await dialog.locator("input").fill(API_KEY)
    await dialog.locator("button.authorize").click()
    await page.locator("button.btn-done").first.click()
    await operation.locator("button.execute").click()
    await expect(status).to_contain_text("202")
    assert web.types() == ["purchased"]
    assert [url for url in requested if not url.startswith((f"{web.ingest}/", "data:"))] == []
    assert [text for text in complaints if "401" not in text] == []
