"""A page of the console as a browser has it: what it shows, what it complains of, what axe finds."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page

AXE = Path(__file__).parent / "vendor/axe.min.js"
_STILL_LOADING = """() => {
    const parts = [...document.querySelectorAll("[hx-trigger^=load]")];
    const waits = parts.some((one) => /Loading…|Checking the services/.test(one.textContent));
    return waits || document.querySelector(".state.computing") !== null;
}"""
_ALL_THE_WAY = """async () => {
    for (let y = 0; y < document.body.scrollHeight; y += 400) {
        scrollTo(0, y);
        await new Promise(r => setTimeout(r, 40));
    }
    scrollTo(0, 0);
}"""


@cache
def axe() -> str:
    return AXE.read_text()


class Look:
    """Opens pages; one at a time."""

    def __init__(self, browser: Browser, base: str) -> None:
        self._browser = browser
        self.base = base
        self.status = 0
        self._said: list[str] = []
        self._foreign: list[str] = []
        self._current: Page | None = None

    @contextmanager
    def page(
        self, path: str, *, width: int = 1400, dark: bool = False, cookies: list[Any] | None = None
    ) -> Iterator["Look"]:
        """Open a page and let everything on it load."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        if cookies:
            context.add_cookies(cookies)
        try:
            self._said, self._foreign = [], []
            context.set_default_timeout(120_000)
            page = context.new_page()
            page.on("console", self._heard)
            page.on("pageerror", lambda error: self._said.append(str(error)))
            page.on("dialog", self._dialog)
            page.on("request", self._asked)
            answer = page.goto(self.base + path)
            self.status = answer.status if answer else 0
            self._current = page
            self._await_parts(page)
            page.evaluate(_ALL_THE_WAY)
            page.wait_for_timeout(150)
            yield self
        finally:
            context.close()

    def _await_parts(self, page: Page) -> None:
        """Wait until everything that loads by itself is there; a page's policy forbids Playwright's own waiting."""
        for _ in range(1800):
            if not page.evaluate(_STILL_LOADING):
                return
            page.wait_for_timeout(100)
        raise AssertionError("parts of the page did not load within three minutes")

    @property
    def now(self) -> Page:
        """The open page."""
        assert self._current is not None
        return self._current

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._said.append(message.text)

    def _dialog(self, dialog: Dialog) -> None:
        self._said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:")):
            self._foreign.append(request.url)

    def complaints(self) -> list[str]:
        """What the browser said, and whom else it asked."""
        return [*self._said, *self._foreign]

    def text(self) -> str:
        """The text that is shown."""
        return str(self.now.inner_text("body"))

    def accessibility(self) -> list[str]:
        """Findings of axe that are moderate or worse."""
        run = "v => [v.id, v.impact, v.nodes.length, v.nodes[0].html.slice(0, 200)]"
        found = self.now.evaluate(f"{axe()};axe.run().then(r => r.violations.map({run}))")
        return [f"{name} ({impact}, {count}): {html}" for name, impact, count, html in found if impact != "minor"]

    def too_wide(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.now.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
