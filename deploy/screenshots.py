"""Takes the README's screenshots: ``make screenshots``.

Starts the demo in a folder of its own, waits until its eight months of history are there, and takes the pages that the
README and docs/console.md show, in light and in dark, with Debian's Chromium.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import httpx
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs/images"
LOADED = "Live touchpoints arrive now"
MOST_SECONDS = 600
SECONDS_OF_LIFE = 45
"""Live touchpoints before the first picture, so that something has just happened."""
_LOADING = "() => /Loading…|Checking the services|Being computed/.test(document.body.textContent)"


def main() -> int:
    """Run the demo, take the pictures, end the demo."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.stderr.write("Chromium is missing; on Debian and Ubuntu: apt-get install chromium\n")
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="touchline-screenshots-") as folder:
        output = Path(folder) / "demo.log"
        with output.open("wb") as log:
            demo = subprocess.Popen(  # noqa: S603  (our own command line)
                [str(Path(sys.executable).with_name("touchline-demo")), *sys.argv[1:]],
                env=os.environ | {"TOUCHLINE_DEVSTACK_DIR": folder},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                console, engine = _addresses(demo, output)
                time.sleep(SECONDS_OF_LIFE)
                _take(chromium, console, _most_valuable_at_risk(engine))
            finally:
                for _ in range(2):  # the second one ends it at once
                    demo.send_signal(signal.SIGINT)
                    time.sleep(1)
                demo.wait(120)
    return 0


def _addresses(demo: subprocess.Popen[bytes], output: Path) -> tuple[str, str]:
    deadline = time.monotonic() + MOST_SECONDS
    while LOADED not in (text := output.read_text()):
        if demo.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the demo did not get so far:\n{text[-2000:]}")
        time.sleep(1)
    found = dict(re.findall(r"^ *(the console|query API)\b.*?(http://\S+)", text, re.MULTILINE))
    return found["the console"].rstrip("/"), found["query API"].removesuffix("/docs")


def _most_valuable_at_risk(engine: str) -> str:
    parameters = {"at_risk": "true", "lifecycle": "service-cycle", "limit": "1"}
    found = httpx.get(f"{engine}/v1/customers", params=parameters, timeout=30, trust_env=False).json()["items"]
    return str(found[0]["customer_id"])


def _take(chromium: str, console: str, customer: str) -> None:
    pages = {
        "overview": "/",
        "lifecycle": "/lifecycles/service-cycle?days=180&compare=1",
        "drop-out": "/lifecycles/service-cycle?view=drop-out",
        "customer": f"/customers/{quote(customer, safe='')}",
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": 1400, "height": 1000}, color_scheme=scheme)  # type: ignore[arg-type]
            for name, path in pages.items():
                page = context.new_page()
                page.goto(console + path)
                for _ in range(120):
                    page.wait_for_timeout(250)
                    if not page.evaluate(_LOADING):
                        break
                page.wait_for_timeout(1000)
                page.screenshot(path=IMAGES / f"{name}-{scheme}.png", full_page=name != "lifecycle")
                page.close()
            context.close()
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
