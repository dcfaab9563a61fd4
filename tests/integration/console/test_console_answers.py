"""A person with questions and no manual: the pages say what the services' APIs and the posted data say."""

import csv
import io
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.console.look import Look
from tests.support.console.world import CUSTOMERS, HOSTILE, IDS, ConsoleWorld

pytestmark = [pytest.mark.stack, pytest.mark.browser]


def rows(world: ConsoleWorld, address: str) -> list[dict[str, str]]:
    answer = httpx.get(world.console + address, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_why_is_a_customer_where_they_are(world: ConsoleWorld, look: Look) -> None:
    published = world.ask("engine", "/v1/customers/c-3/explanation")["lifecycles"]["service-cycle"]
    with look.page("/customers/c-3?lifecycle=service-cycle"):
        text = look.text()
        assert f"Why {published['title']}?" in text
        assert published["last_move"]["reason"]["text"] in text
        for rule in published["open_rules"]:
            for condition in rule["conditions"]:
                assert condition["text"] in (look.now.locator("main").text_content() or "")
        assert "Without activity" in text


@pytest.mark.parametrize("asked", ["c-7", "ada.7@example.org", "Ada 7", "7 ada"])
def test_a_customer_is_found_by_id_address_and_name(look: Look, asked: str) -> None:
    with look.page("/customers"):
        look.now.locator("main input[type=search]").fill(asked)
        look.now.keyboard.press("Enter")
        look.now.wait_for_url("**q=**")
        expect(look.now.get_by_role("link", name="Ada 7")).to_be_visible()


def test_the_export_holds_everyone_and_runs_no_formula(world: ConsoleWorld) -> None:
    found = rows(world, "/customers.csv?sort=id")
    ids = [row["customer_id"] for row in found]
    assert len(set(ids)) == len(ids)
    assert set(ids) >= {*IDS.values(), *(f"c-{number}" for number in range(CUSTOMERS))}
    assert {row["name"] for row in found} >= set(HOSTILE.values())
    world.post(
        [
            {
                "type": "signed_up",
                "customer_id": "formula",
                "occurred_at": datetime.now(UTC).isoformat(),
                "properties": {"name": "=HYPERLINK(1)"},
            }
        ]
    )

    def exported() -> list[str]:
        return [row["name"] for row in rows(world, "/customers.csv?q=formula")]

    assert world.wait("the newcomer is listed", exported) == ["'=HYPERLINK(1)"]


@pytest.mark.parametrize("table", ["funnel", "flows", "population", "time-in-stage", "cohorts", "drop-out", "effort"])
def test_every_chart_has_its_figures_as_csv(world: ConsoleWorld, table: str) -> None:
    address = f"/lifecycles/service-cycle/{table}.csv?days=all"

    def there() -> bool:
        return httpx.get(world.console + address, timeout=60, trust_env=False).status_code == 200

    world.wait("the table is computed", there)
    assert rows(world, address)


def test_the_funnel_on_the_page_is_the_apis(world: ConsoleWorld, look: Look) -> None:
    # Both are cached and refreshed in the background, so they agree soon, not at once.
    with look.page("/lifecycles/service-cycle?days=all"):

        def agree() -> bool:
            funnel = world.ask("engine", "/v1/lifecycles/service-cycle/funnel")
            look.now.reload(wait_until="networkidle")
            look.now.get_by_text("As a table").first.click()
            published = [f"{step['reached']:,}" for step in (funnel or {}).get("stages", ())]
            rows = look.now.get_by_role("region", name="Funnel").locator("tbody tr")
            names = " ".join(rows.locator("th").all_text_contents())
            shown = [text.strip() for text in rows.locator("td:first-of-type").all_text_contents()]
            return bool(published) and shown == published and all(step["title"] in names for step in funnel["stages"])

        world.wait("the page says what the API says", agree)


def test_charts_are_drawn_and_have_words_beside_them(look: Look) -> None:
    with look.page("/lifecycles/service-cycle"):
        for chart in look.now.locator(".chart").all():
            assert chart.locator("canvas").count() >= 1
            assert len(chart.get_attribute("aria-label") or "") > 10


def test_a_move_appears_while_one_looks_and_waits_while_one_reads(world: ConsoleWorld, look: Look) -> None:
    with look.page("/"):
        page, live = look.now, look.now.locator("[data-live]")
        expect(page.locator("#live-state")).to_have_text("live")

        def arrive(name: str) -> None:
            world.post([{"type": "page_viewed", "customer_id": name, "occurred_at": datetime.now(UTC).isoformat()}])

        arrive("newcomer-1")
        expect(live).to_contain_text("newcomer-1")
        live.hover()
        arrive("newcomer-2")
        expect(page.locator("#live-state")).to_contain_text("new")
        expect(live).not_to_contain_text("newcomer-2")
        page.mouse.move(5, 5)
        expect(live).to_contain_text("newcomer-2")


def test_a_rejected_event_is_shown_as_posted(world: ConsoleWorld, look: Look) -> None:
    with look.page("/sources/shop?status=rejected"):
        assert "occurred_at" in look.text()
        look.now.locator(".feed details").first.click()
        assert "yesterday" in look.text()


def test_every_attempt_of_a_delivery_is_listed(world: ConsoleWorld, look: Look) -> None:
    # Nothing listens at the endpoint, so that attempts fail and are made again.
    import time

    now = time.time()
    world.post(
        [
            {
                "type": kind,
                "customer_id": "stalls",
                "occurred_at": datetime.fromtimestamp(now - 14 * 86_400 + 10, UTC).isoformat(),
            }
            for kind in ("signed_up",)
        ]
    )

    def attempted() -> str | None:
        found = world.ask("notifier", "/v1/deliveries", customer_id="stalls")
        for delivery in found["items"] if found else ():
            if delivery["attempts"] >= 1 and delivery["last_error"]:
                return str(delivery["id"])
        return None

    outcome = world.wait(
        "an action was decided",
        lambda: (world.ask("notifier", "/v1/actions", customer_id="stalls") or {"items": []})["items"],
    )
    assert outcome[0]["outcome"] != "held_out", "choose a customer who is not in the control group"
    delivery = world.wait("an attempt was made", attempted)
    attempts = world.ask("notifier", f"/v1/deliveries/{delivery}/attempts")["items"]
    assert attempts[0]["result"] == "retry"
    assert attempts[0]["milliseconds"] >= 0
    with look.page(f"/deliveries/{delivery}"):
        assert "Retry" in look.text()
        assert attempts[0]["error"] in look.text()


def test_actions_and_deliveries_name_the_person_and_keep_the_id(world: ConsoleWorld, look: Look) -> None:
    found = world.wait("actions were decided", lambda: world.ask("notifier", "/v1/actions")["items"])
    ids = [one["customer_id"] for one in found]
    known = world.ask("engine", "/v1/customer-summaries", id=ids)["items"]
    named = {one["customer_id"]: one["name"] for one in known if one["name"]}
    assert named
    for path in ("/actions", "/plays/win-back"):
        with look.page(path):
            shown = {
                (link.get_attribute("href") or "", link.inner_text(), link.get_attribute("title") or "")
                for link in look.now.locator("a[href^='/customers/']").all()
            }
            for customer_id, name in named.items():
                links = [one for one in shown if one[0] == f"/customers/{quote(customer_id, safe='')}"]
                assert all(name in text and customer_id in text + title for _, text, title in links), links
    with look.page("/plays"):
        assert "Plays from a file are not switched here" in look.text()
