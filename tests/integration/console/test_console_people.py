"""A customer's page for an operator: set a stage, suppress, export, erase; each with a reason."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.console.look import Look
from tests.support.console.world import IDS, ConsoleWorld

pytestmark = [pytest.mark.stack, pytest.mark.browser]


def test_a_stage_is_set_and_an_address_suppressed_and_lifted(look: Look, world: ConsoleWorld) -> None:
    with look.page("/customers/c-12?lifecycle=service-cycle"):
        page = look.now
        form = page.locator("section section", has=page.get_by_role("heading", name="Set the stage"))
        form.get_by_label("Stage").select_option("service-cycle/advocacy")
        form.get_by_label("Reason").fill("Bought <b>offline</b>")
        form.get_by_role("button", name="Set").click()
        page.wait_for_url("**changed=stage")
        assert "The stage is set." in look.text()
        for heading, button, changed, said in (
            ("Suppress the address", "Suppress", "suppression", "The address is suppressed"),
            ("Lift the suppression", "Lift", "lifted", "The suppression is lifted"),
        ):
            world.wait("the profile is known", lambda: world.ask("notifier", "/v1/profiles/c-12"))
            page.reload()
            form = page.locator("section section", has=page.get_by_role("heading", name=heading))
            form.get_by_label("Reason").fill("asked by phone")
            form.get_by_role("button", name=button).click()
            page.wait_for_url(f"**changed={changed}")
            assert said in look.text()
        assert look.accessibility() == []
        assert look.complaints() == []

    def advocate() -> bool:
        found = world.ask("engine", "/v1/customers/c-12")
        return bool(found["stages"]["service-cycle"]["stage"] == "advocacy")

    world.wait("the stage is set", advocate)
    entries = [*world.ask("engine", "/v1/audit")["items"], *world.ask("notifier", "/v1/audit")["items"]]
    reasons = {entry["action"]: entry["reason"] for entry in entries}
    assert reasons["stage_set"] == "Bought <b>offline</b>"
    assert reasons["address_suppressed"] == reasons["suppression_lifted"] == "asked by phone"


@pytest.mark.parametrize("kind", ["markup", "template"])
def test_everything_is_exported_whatever_the_id_holds(look: Look, world: ConsoleWorld, kind: str) -> None:
    with look.page(f"/customers/{quote(IDS[kind], safe='')}", width=390):
        assert look.now.evaluate("document.documentElement.scrollWidth") <= 390
        address = look.now.get_by_role("link", name="Export as JSON").get_attribute("href")
        page = look.now.get_by_role("link", name="Export as a page").get_attribute("href")
    found = httpx.get(world.console + str(address), timeout=60).json()
    assert found["stage_engine"]["customer_id"] == IDS[kind]
    assert len(found["stage_engine"]["touchpoints"]) == 3
    assert found["notifier"]["customer_id"] == IDS[kind]
    readable = httpx.get(world.console + str(page), timeout=60)
    assert readable.headers["content-disposition"] == 'attachment; filename="customer.html"'
    assert re.findall(r"<(script|img|b)\b", readable.text) == []


def test_a_customer_is_erased_after_a_typed_confirmation(look: Look, world: ConsoleWorld) -> None:
    at = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    posted = {"id": "erase-me", "type": "page_viewed", "customer_id": "erase-me", "occurred_at": at}
    assert world.post([posted]).status_code == 202
    world.wait("the customer is known", lambda: world.ask("engine", "/v1/customers/erase-me"))
    with look.page("/customers/erase-me"):
        page = look.now
        for typed in ("erase", "erase-me"):
            form = page.locator("section section", has=page.get_by_role("heading", name="Erase"))
            form.get_by_label("Type the customer's id to confirm").fill(typed)
            form.get_by_label("Reason").fill("asked by mail")
            form.get_by_role("button", name="Erase everything").click()
            if typed == "erase":
                expect(page.get_by_role("heading", name="Not erased")).to_be_visible()
                assert world.ask("engine", "/v1/customers/erase-me") is not None
                page.goto(f"{world.console}/customers/erase-me")
        expect(page.get_by_role("heading", name="Erased")).to_be_visible()
        assert look.accessibility() == []
    assert world.ask("engine", "/v1/customers/erase-me") is None
