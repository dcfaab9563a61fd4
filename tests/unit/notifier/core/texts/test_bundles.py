"""A play of a folder takes the templates that it names into its text, whatever they hold."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.adapters.files.play_files import read_play, texts_of, with_templates
from touchline_notifier.core.plays.parse import read_plays
from touchline_notifier.core.texts.bundles import bundle
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.yaml.text import read_document

PLAY = """\
play: p
when: {fact: customer-stalled}
action: {channel: email, subject: Hello, html: "{% extends 'brand.html' %}"}
"""
SEQUENCE = """\
play: p
when: {fact: customer-stalled}
exit: false
steps:
  - wait_until: {touchpoint: purchased, within: 1d}
  - branch:
      on: happened
      else: [{send: {channel: email, subject: Hello, html: "{% extends 'brand.html' %}"}}]
"""


def test_the_messages_of_a_sequence_take_templates_too() -> None:
    bundled = bundle(SEQUENCE, {"brand.html": "<p>Alder</p>", "other.html": "not named"})
    assert read_document(bundled.text).value["templates"] == {"brand.html": "<p>Alder</p>"}
    assert read_plays([("f", bundled.text)]).faults == []


sources = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], include_characters="\n\t"), max_size=60)


@given(brand=sources, foot=sources, ends=st.sampled_from(["", "\n", "\n\n\n", "# a comment", "\n# a comment\n"]))
def test_any_template_is_taken_in_as_it_is(brand: str, foot: str, ends: str) -> None:
    brand = brand.replace("{", "")
    available = {"brand.html": "{% include 'parts/foot.html' %}" + brand, "parts/foot.html": foot.replace("{", "")}
    bundled = bundle(PLAY.rstrip() + ends, available | {"other.html": "not named"})
    read = read_document(bundled.text).value
    if any(ord(one) in (0x85, 0x2028, 0x2029, 0xFEFF) or ord(one) & 0xFFFF >= 0xFFFE for one in brand + foot):
        assert read.get("templates", available) == available  # YAML may not carry it: then none is taken in
        return
    assert read["templates"] == available
    assert bundle(bundled.text, available).text == bundled.text


@pytest.mark.parametrize(
    "text",
    ["{play: p, action: {html: \"{% include 'brand.html' %}\"}}", "play: [", "- a", "", "play: p\naction: x\n",
     PLAY + "templates: {}\n", "play: p\naction: {body: Hello}\n"],
)  # fmt: skip
def test_a_text_that_cannot_take_templates_stays_as_it_is(text: str) -> None:
    assert bundle(text, {"brand.html": "x"}).text == text


def folder(tmp_path: Path, brand: str = "<h1>\n{{ nobody }}\n</h1>") -> Path:
    (tmp_path / "templates" / "parts").mkdir(parents=True)
    (tmp_path / "p.yaml").write_text(PLAY)
    (tmp_path / "templates" / "brand.html").write_text(brand)
    (tmp_path / "templates" / ".hidden.html").write_text("x")
    (tmp_path / "templates" / "parts" / "foot.html").write_text("Bye\r\nbye")
    return tmp_path


def test_a_fault_in_a_template_names_the_template_s_file_and_line(tmp_path: Path) -> None:
    bundles = with_templates(texts_of(folder(tmp_path), "DIR"))
    (path,) = bundles
    (fault,) = read_plays([(path, bundles[path].text)]).faults
    located = bundles[path].located(fault)
    assert (located.file, located.line) == (str(tmp_path / "templates" / "brand.html"), 2)
    missing = fault._replace(line=3)
    assert bundles[path].located(missing) == missing


def test_a_template_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    file = folder(tmp_path) / "templates" / "brand.html"
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"templates/brand\.html can't be read: it is not UTF-8"):
        read_play(tmp_path / "p.yaml")


def test_a_template_of_windows_and_one_in_a_folder_are_taken_in(tmp_path: Path) -> None:
    there = folder(tmp_path, "{% include 'parts/foot.html' %}")
    read = read_document(read_play(there / "p.yaml").text).value
    assert read["templates"] == {"brand.html": "{% include 'parts/foot.html' %}", "parts/foot.html": "Bye\nbye"}
