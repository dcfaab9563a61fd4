"""The kind: a page in two languages. Every language has every text, and the customer gets one of them."""

import re
from string import Formatter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.profiles.sending_rule import Cause, Standing
from touchline_notifier.entrypoints.http.customer_texts import ENGLISH, language, texts
from touchline_notifier.entrypoints.http.html import render

LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pt")
PAGES = (
    "unsubscribe",
    "unsubscribed",
    "unsubscribe_later",
    "preferences",
    "preferences_later",
    "no_link",
    "link_later",
)


def placeholders(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def test_these_languages_are_shipped() -> None:
    assert set(texts()) == set(LANGUAGES)


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_language_has_every_text_with_the_same_placeholders(name: str) -> None:
    english, said = texts()[ENGLISH], texts()[name]
    assert list(said) == list(english), "the same keys in the same order"
    for key, text in said.items():
        assert placeholders(text) == placeholders(english[key]), key
        assert text == text.strip() != "", key
        assert len(text) <= 120, f"{key}: keep it short"


@pytest.mark.parametrize("name", [name for name in LANGUAGES if name != ENGLISH])
def test_no_sentence_was_left_in_english(name: str) -> None:
    english = texts()[ENGLISH]
    assert [key for key, text in texts()[name].items() if text == english[key] and " " in text] == []


def test_every_cause_of_the_rule_has_a_text() -> None:
    # An opt-out of the address reads as a refusal of the channel.
    assert {cause for cause in get_args(Cause) if cause != "opted_out"} <= set(texts()[ENGLISH])


def test_every_text_is_used_by_a_page() -> None:
    used: set[str] = set()

    class Noted(dict[str, str]):
        def __getitem__(self, key: str) -> str:
            used.add(key)
            return "{topic}"

    for page in PAGES:
        for topic in ("email", "news"):
            topics = [Standing(topic, False, cause=cause) for cause in get_args(Cause)]
            topics += [Standing(topic, True, partly=True), Standing(topic, False, open=False, cause="bounced")]
            values = {"t": Noted(texts()[ENGLISH]), "language": "en", "topics": topics, "saved": True, "topic": topic}
            render(f"{page}.html", title=str, **values)
    assert used | {"email", "all"} == set(texts()[ENGLISH])


@pytest.mark.parametrize(
    ("stated", "header", "expected"),
    [
        ((), None, "en"),
        ((), "", "en"),
        ((), "de", "de"),
        ((), "de-AT, en;q=0.5", "de"),
        ((), "pl, fr;q=0.4, it;q=0.9", "it"),
        ((), "pl", "en"),
        ((), "*", "en"),
        ((), "de;q=0", "en"),
        ((), "de;q=x, nl", "nl"),
        ((), "PT-br", "pt"),
        (("de",), "fr", "de"),
        (("de_CH",), "fr", "de"),
        (("pt-BR",), None, "pt"),
        (("DE",), None, "de"),
        (("pl", "es"), "fr", "es"),
        (("pl",), "fr", "fr"),
        (("German",), "fr", "fr"),
        (("", "-", "_"), "nl", "nl"),
    ],
)
def test_the_customers_language_else_the_browsers_else_english(
    stated: tuple[str, ...], header: str | None, expected: str
) -> None:
    assert language(stated, header) == expected


@given(stated=st.lists(st.text(max_size=35), max_size=3), header=st.one_of(st.none(), st.text(max_size=60)))
def test_whatever_is_stated_there_is_a_language(stated: list[str], header: str | None) -> None:
    assert language(stated, header) in texts()


def test_a_header_of_any_length_is_read_quickly() -> None:
    assert language((), ",".join(f"x{number};q=0.1" for number in range(100_000)) + ", de") == "en"


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_page_names_its_language(name: str) -> None:
    page = render("unsubscribe_later.html", language=name, t=texts()[name])
    assert re.findall(r'<html lang="([^"]*)">', page) == [name]
