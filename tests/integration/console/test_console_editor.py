"""The editor of lifecycles: errors at their lines while typing, diagram, simulation, publication, and two people."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.console.look import Look
from tests.support.console.world import ConsoleWorld

pytestmark = [pytest.mark.stack, pytest.mark.browser]
EDIT = "/lifecycles/onboarding/edit"


@pytest.fixture
def published(world: ConsoleWorld) -> Iterator[str]:
    """A lifecycle that was published; its text, which has the number of the version in force."""
    text = "lifecycle: onboarding\nversion: 1\nstages:\n  - name: new\n    stall: {after: 14d}\n    rules:\n"
    text += "      - {when: [page_viewed], count: 2, to: next}\n  - name: active\n"
    url = world.services["engine"].url
    known = (world.ask("engine", "/v1/lifecycles/onboarding/versions") or {"items": []})["items"]
    text = text.replace("version: 1", f"version: {known[0]['version'] + 1 if known else 1}")
    answer = httpx.post(f"{url}/v1/lifecycles/onboarding/versions", json={"definition": text}, timeout=60)
    assert answer.status_code == 201, answer.text
    yield text
    httpx.delete(f"{url}/v1/lifecycles/onboarding", timeout=60).raise_for_status()


def check(look: Look) -> None:
    assert look.accessibility() == []
    assert look.complaints() == []


def test_errors_show_at_their_line_while_typing_and_the_draft_is_simulated_and_published(
    look: Look, world: ConsoleWorld, published: str
) -> None:
    world.wait(
        "everybody has a stage in it",
        lambda: (
            (world.ask("engine", "/v1/lifecycles/onboarding/funnel") or {"stages": [{"reached": 0}]})["stages"][0][
                "reached"
            ]
            > 20
        ),
    )
    with look.page(EDIT):
        page = look.now
        assert look.status == 200
        text = page.get_by_label("Definition (YAML)")
        assert text.input_value() == published
        check(look)
        text.fill(published.replace("to: next", "to: nowhere"))
        expect(page.get_by_role("button", name="Line 7")).to_be_visible()
        expect(page.locator(".lines .wrong")).to_have_text(re.compile("7"))
        page.get_by_role("button", name="Line 7").click()
        assert page.evaluate("document.activeElement.name") == "definition"
        chosen = page.evaluate("(e => e.value.slice(e.selectionStart, e.selectionEnd))(document.activeElement)")
        assert chosen.strip().startswith("- {when: [page_viewed]")
        check(look)
        # A threshold is changed without writing YAML.
        text.fill(published)
        page.get_by_label(re.compile("New: how often, at least")).fill("3")
        expect(text).to_have_value(published.replace("count: 2", "count: 3"))
        expect(page.get_by_text("new rule to next: page_viewed, 3 times", exact=False)).to_be_visible()
        page.get_by_label("For whom").select_option("refold")
        page.get_by_role("button", name="Simulate").click()
        expect(page.get_by_role("heading", name="Who would move")).to_be_visible(timeout=60_000)
        expect(page.locator("#simulation progress, #simulation .meter")).to_have_count(0)
        check(look)
        page.get_by_label("Comment").fill("Three pages, not two")
        page.get_by_role("button", name="Publish").click()
        page.wait_for_url("**/lifecycles/onboarding?published=1&view=definition")
        assert "Three pages, not two" in look.text()
        assert re.search(r"Version \d+ is published", look.text())
        expect(page.get_by_role("link", name="Go back to it").first).to_be_visible()
    found = world.ask("engine", "/v1/lifecycles/onboarding")
    assert "count: 3" in found["definition"]
    (entry,) = world.ask("engine", "/v1/audit", target="lifecycle/onboarding", limit=1)["items"]
    assert (entry["reason"], entry["after"]["on_change"]) == ("Three pages, not two", "refold")


def test_the_second_of_two_people_is_told_and_keeps_their_text(look: Look, world: ConsoleWorld, published: str) -> None:
    url = world.services["engine"].url
    with look.page(EDIT):
        page = look.now
        base = world.ask("engine", "/v1/lifecycles/onboarding")["version"]
        other = httpx.post(
            f"{url}/v1/lifecycles/onboarding/versions",
            json={"definition": published.replace("count: 2", "count: 4"), "base": base, "comment": "the first"},
            timeout=60,
        )
        assert other.status_code == 201
        page.get_by_label("Definition (YAML)").fill(published.replace("count: 2", "count: 5"))
        page.get_by_role("button", name="Publish").click()
        expect(page.get_by_role("alert")).to_contain_text("Not published")
        assert "count: 5" in page.get_by_label("Definition (YAML)").input_value()
        assert look.accessibility() == []
        page.get_by_role("button", name=re.compile("Publish over version")).click()
        page.wait_for_url("**/lifecycles/onboarding?published=1&view=definition")
    found = world.ask("engine", "/v1/lifecycles/onboarding")
    assert (found["version"], "count: 5" in found["definition"]) == (base + 2, True)
    assert [one["comment"] for one in found["versions"][-2:]] == ["the first", ""]
    with look.page(f"{EDIT}?version={base + 1}"):
        assert "count: 4" in look.now.get_by_label("Definition (YAML)").input_value()


@pytest.mark.parametrize("dark", [False, True])
def test_the_editor_fits_a_phone(look: Look, published: str, dark: bool) -> None:
    with look.page(EDIT, width=390, dark=dark):
        assert look.now.evaluate("document.documentElement.scrollWidth") <= 390
        check(look)


def test_a_lifecycle_of_a_file_is_read_only_and_a_new_one_begins_with_an_example(look: Look) -> None:
    with look.page("/lifecycles/many/edit"):
        assert "managed by file" in look.text()
        assert look.now.get_by_role("button", name="Publish").count() == 0
        check(look)
    with look.page("/lifecycles/brand-new/edit"):
        assert "lifecycle: brand-new" in look.now.get_by_label("Definition (YAML)").input_value()
        assert "no errors" in look.text()
        check(look)


def test_a_viewer_reads_and_publishes_nothing(world: ConsoleWorld, published: str, tmp_path: Path) -> None:
    with world.viewer("editor-roles", tmp_path) as http:
        page = http.get(EDIT)
        assert (page.status_code, "readonly" in page.text, "Simulate</button>" in page.text) == (200, True, False)
        for path in (EDIT, f"{EDIT}/check", f"{EDIT}/simulate"):
            assert http.post(path, data={"definition": published}).status_code == 403, path


def test_changes_are_listed_with_their_author_and_exported(look: Look, world: ConsoleWorld, published: str) -> None:
    for sending in (False, True):
        url = f"{world.services['notifier'].url}/v1/sending"
        httpx.put(url, json={"sending": sending, "reason": "<b>a</b> =1"}, timeout=60).raise_for_status()
    for width in (1400, 390):
        with look.page("/audit", width=width):
            assert look.now.evaluate("document.documentElement.scrollWidth") <= width
            text = look.text()
            assert "lifecycle/onboarding" in text
            assert look.now.get_by_role("link", name="lifecycle/onboarding").count() >= 1, (
                "a target with a title has its page"
            )
            assert "<b>a</b> =1" in text
            check(look)
    with look.page("/audit?service=notifier&action=sending_paused"):
        assert "lifecycle/onboarding" not in look.text()
    csv = httpx.get(f"{world.console}/audit.csv?service=notifier", timeout=60).text.splitlines()
    assert csv[0].startswith("service,at,actor")
    assert len(csv) >= 3
