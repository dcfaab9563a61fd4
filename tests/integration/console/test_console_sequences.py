"""A sequence in the console: its steps with the people at each, and a customer's own step."""

from itertools import pairwise

import pytest

from tests.support.console.look import Look
from tests.support.console.world import ConsoleWorld

pytestmark = [pytest.mark.stack, pytest.mark.browser]


def test_the_plays_page_shows_the_steps_with_the_people_at_each(look: Look, world: ConsoleWorld) -> None:
    figures = world.wait(
        "everybody is in the sequence",
        lambda: (found := world.ask("notifier", "/v1/plays/welcome/steps")) and found["runs"].get("running") and found,
    )
    with look.page("/plays/welcome"):
        steps = look.now.locator(".sequence .step")
        assert steps.count() == len(figures["steps"]) == 8
        kinds = steps.evaluate_all("all => all.map(one => one.className.replace('step ', ''))")
        assert kinds == [one["kind"] for one in figures["steps"]]
        # What a branch leads to lies inside of it.
        assert look.now.locator(".sequence > .steps > .step").count() == 3
        assert look.now.locator(".sequence .step.branch .step.branch .step.send").count() == 1
        shown = look.now.locator(".sequence").inner_text()
        assert "The <b>first</b> order" in shown
        assert "Call <b>{{ customer_id }}</b>" in shown
        here = look.now.locator(".sequence .people strong").all_inner_texts()
        assert [int(one) for one in here] == [one["here"] for one in figures["steps"] if one["kind"] != "branch"]
        assert look.complaints() == []


@pytest.mark.parametrize("width", [390, 1400])
def test_the_steps_stand_below_each_other_and_inside_of_the_page(look: Look, width: int) -> None:
    with look.page("/plays/welcome", width=width):
        assert look.too_wide() == 0
        places = look.now.locator(".sequence > .steps > .step").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect()).map(one => [one.top, one.bottom, one.left, one.right])"
        )
        assert all(left >= 0 and right <= width for _, _, left, right in places)
        assert all(below[0] >= above[1] for above, below in pairwise(places))


def test_a_customers_page_says_at_which_step_they_are(look: Look, world: ConsoleWorld) -> None:
    (run,) = world.wait(
        "the customer is in the sequence",
        lambda: (found := world.ask("notifier", "/v1/profiles/c-3")) and found["sequences"],
    )
    with look.page("/customers/c-3"):
        card = look.now.locator(".card", has=look.now.locator("h2", has_text="Sequences"))
        shown = card.inner_text()
        assert f"step {run['step']}: {run['step_text']}" in shown
        assert card.locator("a").first.get_attribute("href") == "/plays/welcome"
