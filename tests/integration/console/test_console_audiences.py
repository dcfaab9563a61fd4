"""Audiences in the console: saved from the list of customers, counted while they are edited, deleted after a word."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.console.look import Look
from tests.support.console.world import ConsoleWorld

pytestmark = [pytest.mark.stack, pytest.mark.browser]
PAGES = ("/audiences", "/audiences/shown", "/audiences/shown/edit", "/audiences/new?state=stalled")


@pytest.fixture(scope="module")
def shown(world: ConsoleWorld) -> str:
    """An audience with members, one condition of which the form has no field for."""
    wanted = {"lifecycle": "service-cycle", "max_value": 1_000_000}
    body = {"name": "shown", "title": "Shown <b>here</b>", "filter": wanted, "description": "For Ann & Bob"}
    assert httpx.post(f"{world.services['engine'].url}/v1/audiences", json=body, timeout=60).status_code == 201

    def complete() -> bool:
        found = world.ask("engine", "/v1/audiences/shown")
        return bool(found["members"] and found["evaluated"] == found["partitions"])

    world.wait("the audience has its members", complete)
    return "shown"


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("path", PAGES)
def test_the_pages_fit_and_axe_finds_nothing(look: Look, shown: str, path: str, width: int) -> None:
    with look.page(path, width=width):
        assert look.status == 200
        assert look.now.evaluate("document.documentElement.scrollWidth") <= width
        assert look.accessibility() == []
        assert look.complaints() == []
        assert look.now.locator("#content h1 b, #content p b").count() == 0


def test_a_filter_is_saved_changed_and_deleted(look: Look, world: ConsoleWorld) -> None:
    with look.page("/customers?lifecycle=service-cycle"):
        page = look.now
        page.get_by_role("link", name="Save as audience").click()
        expect(page.get_by_text(re.compile("^[0-9,]+ customers?( or more)? match(es)? now"))).to_be_visible()
        page.get_by_label("Value from").fill("99999999999999")
        expect(page.get_by_text("0 customers match now")).to_be_visible()
        page.get_by_label("Title", exact=True).fill("Very big buyers!")
        page.get_by_role("button", name="Save").click()
        page.wait_for_url("**/audiences/very-big-buyers")
        saved = world.ask("engine", "/v1/audiences/very-big-buyers")
        assert saved["filter"] == {"lifecycle": "service-cycle", "min_value": 99999999999999}
        page.get_by_role("link", name="Edit").click()
        page.get_by_label("In the stage for … days or more").fill("2")
        page.get_by_label("Value from").fill("")
        # Somebody else saves first: the page says so, and keeps what was typed.
        other = {"title": "Theirs", "filter": {"stalled": True}, "base": 1}
        assert httpx.put(
            f"{world.services['engine'].url}/v1/audiences/very-big-buyers", json=other, timeout=60
        ).is_success
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_contain_text("version 2 of very-big-buyers is in force")
        expect(page.get_by_label("In the stage for … days or more")).to_have_value("2")
        page.get_by_role("button", name="Save").click()
        page.wait_for_url("**/audiences/very-big-buyers")
        saved = world.ask("engine", "/v1/audiences/very-big-buyers")
        assert (saved["version"], saved["filter"]) == (3, {"lifecycle": "service-cycle", "in_stage_for": "2d"})
        for typed in ("very", "very-big-buyers"):
            page.goto(f"{world.console}/audiences/very-big-buyers")
            page.get_by_text("Delete this audience").click()
            page.get_by_label("Type the audience's name to confirm").fill(typed)
            page.get_by_label("Reason").fill("no longer needed")
            page.get_by_role("button", name="Delete", exact=True).click()
            if typed == "very":
                expect(page.get_by_role("heading", name="Not deleted")).to_be_visible()
        page.wait_for_url("**/audiences")
    assert world.ask("engine", "/v1/audiences/very-big-buyers") is None
    entries = world.ask("engine", "/v1/audit", target="audience/very-big-buyers")["items"]
    assert [one["action"] for one in entries] == ["audience_deleted", *["audience_changed"] * 2, "audience_created"]


def test_what_is_wrong_is_said_on_the_form(look: Look, shown: str) -> None:
    with look.page("/audiences/new"):
        page = look.now
        expect(page.get_by_text("No condition yet")).to_be_visible()
        page.get_by_label("Title", exact=True).fill("Nobody")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_contain_text("every customer would be a member")
        expect(page.get_by_label("Title", exact=True)).to_have_value("Nobody")
    with look.page(f"/audiences/{shown}/edit"):
        expect(look.now.get_by_text("value up to 1,000,000")).to_be_visible()


def test_members_are_exported(world: ConsoleWorld, shown: str) -> None:
    exported = httpx.get(f"{world.console}/audiences/{shown}/members.csv", timeout=60)
    assert exported.headers["content-disposition"] == 'attachment; filename="members.csv"'
    assert len(exported.text.splitlines()) > 10
    assert httpx.get(f"{world.console}/audiences/nothing", timeout=60).status_code == 404


def test_a_viewer_reads_and_changes_nothing(world: ConsoleWorld, shown: str, tmp_path: Path) -> None:
    with world.viewer("audience-roles", tmp_path) as http:
        page = http.get(f"/audiences/{shown}")
        assert (page.status_code, "Delete" in page.text) == (200, False)
        assert "Save as audience" not in http.get("/customers?state=stalled").text
        assert http.get("/audiences/new").status_code == 403
        for path, data in (
            ("/audiences/new", {"title": "x", "state": "stalled"}),
            (f"/audiences/{shown}/edit", {"title": "x", "state": "stalled", "base": "1"}),
            (f"/audiences/{shown}/delete", {"typed": shown, "base": "1"}),
        ):
            assert http.post(path, data=data).status_code == 403, path
