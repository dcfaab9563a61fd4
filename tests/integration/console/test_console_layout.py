"""The kind: a page that has everything, and shows it so narrow or so close that nobody can read it."""

from typing import Any

import pytest

from tests.support.console.look import Look

pytestmark = [pytest.mark.stack, pytest.mark.browser]

_BROKEN_WORDS = """() => [...document.querySelectorAll("td")].flatMap((cell) => {
    const broken = [];
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
        const range = document.createRange();
        range.selectNodeContents(text);
        const lines = new Set([...range.getClientRects()].map((one) => Math.round(one.top)));
        if (/^\\s*\\w{2,10}\\s*$/.test(text.data) && lines.size > 1) broken.push(text.data);
    }
    return broken;
})"""
_STAGES_OF_DIAGRAMS = """() => [...document.querySelectorAll(".chart")].flatMap((box) => {
    const chart = window.echarts && echarts.getInstanceByDom(box);
    if (!chart || chart.getOption().series.every((one) => one.type !== "graph")) return [];
    const drawn = chart.getZr().storage.getDisplayList(true);
    const all = drawn.filter((one) => one.shape && one.shape.symbolType === "roundRect");
    return [all.map((one) => {
        const place = one.getBoundingRect().clone();
        place.applyTransform(one.transform);
        return [place.x, place.y, place.x + place.width, place.y + place.height, chart.getWidth(), chart.getHeight()];
    }).filter(([left, , right]) => right - left > 1)];
})"""


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("path", ["/lifecycles/service-cycle?view=definition", "/operations"])
def test_no_short_word_of_a_table_is_broken(look: Look, path: str, width: int) -> None:
    with look.page(path, width=width):
        assert look.now.locator("td").count() > 3
        assert look.now.evaluate(_BROKEN_WORDS) == []


def _drawn(look: Look) -> Any:
    """The diagram's stages as they are drawn; a page's policy forbids Playwright's own waiting."""
    for _ in range(600):
        found = look.now.evaluate(_STAGES_OF_DIAGRAMS)
        if found and found[0]:
            return found
        look.now.wait_for_timeout(100)
    raise AssertionError("no diagram was drawn within a minute")


@pytest.mark.parametrize("width", [390, 700, 1400])
@pytest.mark.parametrize(
    "path",
    ["/lifecycles/service-cycle?view=definition", "/lifecycles/service-cycle/edit", "/lifecycles/many?view=definition"],
)
def test_stages_of_a_diagram_stand_apart_and_inside(look: Look, path: str, width: int) -> None:
    with look.page(path, width=width):
        (stages,) = _drawn(look)
    assert len(stages) >= 5
    for index, (left, top, right, bottom, across, high) in enumerate(stages):
        assert (left >= 0, top >= 0, right <= across, bottom <= high) == (True,) * 4, (stages[index], width)
        assert right - left > 2 * (bottom - top), "a stage is wider than high, with room for its title"
        for other in stages[index + 1 :]:
            apart = other[0] > right or other[2] < left or other[1] > bottom or other[3] < top
            assert apart, (stages[index], other)


def test_on_a_phone_the_chosen_view_is_in_sight(look: Look) -> None:
    with look.page("/lifecycles/service-cycle?view=definition", width=390):
        box = look.now.locator(".tabs [aria-current]").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


def test_an_unknown_customer_is_said_in_words_with_a_way_on(look: Look) -> None:
    with look.page("/customers/nobody-of-this-id"):
        assert look.status == 404
        assert "No such customer" in look.text()
        assert "nobody-of-this-id" in look.text()
        assert look.now.get_by_role("search").count() == 1
        assert look.accessibility() == []
