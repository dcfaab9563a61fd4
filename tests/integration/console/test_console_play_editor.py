"""The editor of plays: errors at their lines while typing, preview, a test message, publication, versions, switch."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.console.look import Look
from tests.support.console.world import ConsoleWorld

pytestmark = [pytest.mark.stack, pytest.mark.browser]
expect.set_options(timeout=60_000)
EDIT = "/plays/call-again/edit"
TEXT = (
    "play: call-again\ntitle: Call <b>again</b>\nwhen: {fact: customer-stalled, lifecycle: many}\n"
    'action: {channel: webhook, endpoint: crm, subject: Call, body: "Call {{ customer_id }}"}\n'
    "limits:\n  per_play: {count: 1, within: 7d}\n"
)


@pytest.fixture
def published(world: ConsoleWorld) -> Iterator[str]:
    """A play that was published; its text."""
    url = f"{world.services['notifier'].url}/v1/plays/call-again"
    answer = httpx.put(url, json={"definition": TEXT, "comment": "the first"}, timeout=60)
    assert answer.status_code == 201, answer.text
    yield TEXT
    httpx.delete(url, timeout=60).raise_for_status()


def in_force(world: ConsoleWorld) -> int:
    """The number of the version in force: numbers go on after a withdrawal."""
    return int(world.ask("notifier", "/v1/plays/call-again")["version"])


def check(look: Look) -> None:
    assert look.accessibility() == []
    assert look.complaints() == []


def test_a_play_is_checked_while_typing_previewed_published_and_switched(
    look: Look, world: ConsoleWorld, published: str
) -> None:
    first = in_force(world)
    with look.page("/plays/call-again"):
        look.now.get_by_role("link", name="Edit").first.click()
        look.now.wait_for_url(f"**{EDIT}")
    with look.page(EDIT):
        page = look.now
        text = page.get_by_label("Definition (YAML)")
        assert text.input_value() == published
        assert "for customers of today" in look.text()
        check(look)
        text.fill(published.replace("endpoint: crm", "endpoint: erp"))
        page.get_by_role("button", name="Line 4").click()
        expect(page.locator(".lines .wrong")).to_have_text(re.compile("4"))
        assert page.evaluate("document.activeElement.name") == "definition"
        check(look)
        # A limit is changed without writing YAML, and the texts for customers follow the draft.
        text.fill(published)
        page.get_by_label(re.compile("Per play: at most")).fill("2")
        changed = published.replace("count: 1", "count: 2")
        expect(text).to_have_value(changed)
        expect(page.get_by_text("limits.per_play")).to_be_visible()
        page.locator("select[name=days]").select_option("30")
        page.get_by_label(re.compile("Imported history")).check()
        for _ in range(5):
            page.get_by_role("button", name="Preview").click()
            expect(page.locator("#preview .card, #preview .state").first).to_be_visible(timeout=90_000)
            # On a busy machine a preview may be ended because it takes too long.
            if page.get_by_text("Facts read").count():
                break
        expect(page.get_by_text("Facts read")).to_be_visible()
        check(look)
        page.get_by_label("Comment").fill("Twice a week")
        page.get_by_role("button", name="Publish").click()
        page.wait_for_url("**/plays/call-again")
        assert f"version {first + 1}" in look.text()
        check(look)
    found = world.ask("notifier", "/v1/plays/call-again")
    assert (found["version"], found["text"]) == (first + 1, changed)
    (entry,) = world.ask("notifier", "/v1/audit", target="play/call-again", limit=1)["items"]
    assert entry["reason"] == "Twice a week"
    with look.page(EDIT):
        page = look.now
        page.get_by_label("Reason", exact=True).fill("a wrong price")
        page.get_by_role("button", name="Switch off").click()
        expect(page.get_by_text("This play is switched off.", exact=False)).to_be_visible()
        page.get_by_role("button", name="Switch on").click()
        expect(page.get_by_role("button", name="Switch off")).to_be_visible()
        check(look)
    with look.page(f"{EDIT}?version={first}"):
        assert look.now.get_by_label("Definition (YAML)").input_value() == published
        assert f"This is the text of version {first}" in look.text()


def test_a_test_message_says_how_it_ended(look: Look, world: ConsoleWorld, published: str) -> None:
    version = in_force(world)
    world.wait("a customer is known", lambda: world.ask("notifier", "/v1/profiles/c-0"))
    with look.page(EDIT):
        page = look.now
        # The endpoint of the tests takes no connections, and a webhook has no address of its own.
        page.get_by_role("button", name="Send a test").click()
        expect(page.get_by_text("crm did not accept it")).to_be_visible()
        check(look)
        page.get_by_label(re.compile("your own address")).fill("me@example.org")
        page.get_by_label(re.compile("your own address")).press("Enter")
        expect(page.get_by_text("Not sent", exact=True)).to_be_visible()
        check(look)
    assert in_force(world) == version
    entries = world.ask("notifier", "/v1/audit", target="play/call-again", limit=1)["items"]
    assert [one["action"] for one in entries] == ["play_test_sent"]


def test_the_second_of_two_people_is_told_and_keeps_their_text(look: Look, world: ConsoleWorld, published: str) -> None:
    url = f"{world.services['notifier'].url}/v1/plays/call-again"
    with look.page(EDIT):
        page = look.now
        base = in_force(world)
        body = {"definition": published.replace("count: 1", "count: 4"), "base": base}
        assert httpx.put(url, json=body, timeout=60).status_code == 201
        page.get_by_label("Definition (YAML)").fill(published.replace("count: 1", "count: 5"))
        page.get_by_role("button", name="Publish").click()
        expect(page.get_by_role("alert")).to_contain_text("Not published")
        assert "count: 5" in page.get_by_label("Definition (YAML)").input_value()
        assert look.accessibility() == []
        page.get_by_role("button", name=f"Publish over version {base + 1}").click()
        page.wait_for_url("**/plays/call-again")
    found = world.ask("notifier", "/v1/plays/call-again")
    assert (found["version"], "count: 5" in found["text"]) == (base + 2, True)


@pytest.mark.parametrize("dark", [False, True])
def test_the_editor_fits_a_phone(look: Look, published: str, dark: bool) -> None:
    with look.page(EDIT, width=390, dark=dark):
        assert look.now.evaluate("document.documentElement.scrollWidth") <= 390
        check(look)


def test_a_play_of_a_file_is_read_only_and_a_new_one_begins_with_an_example(look: Look) -> None:
    with look.page("/plays/win-back/edit"):
        assert "managed by file" in look.text()
        assert look.now.get_by_role("button", name="Publish").count() == 0
        assert look.now.get_by_role("button", name="Preview").count() == 1
        check(look)
    with look.page("/plays/brand-new/edit"):
        assert "play: brand-new" in look.now.get_by_label("Definition (YAML)").input_value()
        assert "no errors" in look.text()
        check(look)


def test_a_viewer_reads_and_changes_nothing(world: ConsoleWorld, published: str, tmp_path: Path) -> None:
    with world.viewer("play-editor-roles", tmp_path) as http:
        page = http.get(EDIT)
        assert (page.status_code, "readonly" in page.text, "Preview</button>" in page.text) == (200, True, False)
        steps = ("", "/check", "/preview", "/preview/result", "/test")
        for path in (*(f"{EDIT}{step}" for step in steps), "/plays/call-again/switch"):
            answer = http.post(path, data={"definition": published, "on": "0"})
            assert answer.status_code == 403, path


def test_the_languages_of_a_play_are_shown(look: Look, world: ConsoleWorld, published: str) -> None:
    world.wait("a customer is known", lambda: world.ask("notifier", "/v1/profiles/c-0"))
    spoken = published.replace(
        "subject: Call,", "locale: en, locales: {de: {subject: Anruf, body: Hallo}}, subject: Call,"
    )
    with look.page(EDIT):
        page = look.now
        page.get_by_label("Definition (YAML)").fill(spoken)
        expect(page.get_by_text("not the customer’s language").first).to_be_visible()
        expect(page.get_by_text("Anruf", exact=True).first).to_be_visible()
        page.get_by_label(re.compile("Language")).fill("pt")
        page.get_by_role("button", name="Send a test").click()
        expect(page.get_by_text("there are en, de")).to_be_visible()
        check(look)
    body = {"definition": spoken, "base": in_force(world)}
    url = f"{world.services['notifier'].url}/v1/plays/call-again"
    assert httpx.put(url, json=body, timeout=60).status_code == 201
    with look.page("/plays/call-again"):
        assert "a customer gets theirs, else en" in look.text()
        check(look)
