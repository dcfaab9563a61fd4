"""A customer gets the texts in their language, else without its region, else the default; formats follow."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.plays.parse import ParsedPlays, read_plays
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.rendering import Rendered, Templates
from touchline_notifier.core.texts.languages import chain, choose
from touchline_notifier.entrypoints.http.customer_texts import language

from tests.support.notifier.builders import a_play, a_stall

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOCALES: dict[str, Any] = {
    "de": {"subject": "Hallo {{ traits.mrr | number(2) }}", "body": "Seit {{ fact.since | date }}"},
    "de-AT": {"subject": "Servus {{ traits.mrr | number(2) }}"},
    "pt_BR": {"subject": "Olá {{ text_locale }}", "body": "Desde {{ fact.since | date }}"},
}
ACTION: dict[str, Any] = {
    "channel": "webhook", "endpoint": "crm", "subject": "Hello {{ traits.mrr | number(2) }}",
    "body": "Since {{ fact.since | date }}", "locale": "en", "locales": LOCALES,
}  # fmt: skip


def rendered(play: Play, locale: str | None, language: str | None = None, asked: str | None = None) -> Rendered:
    fact = a_stall(data={"since": "2026-01-05T12:00:00Z"})
    one = Action("a", play.play, fact, "c-1", play.action.channel, "crm", 0, "decided", AT)
    traits = {"mrr": 1234.5, **({"language": language} if language is not None else {})}
    customer = {"customer_id": "c-1", "email": None, "time_zone": None, "locale": locale, "last": {}, "traits": traits}
    return Templates().render(play, one, customer, locale=asked)


@pytest.mark.parametrize(
    ("locale", "trait", "picked", "subject", "body"),
    [
        (None, None, "en", "Hello 1,234.50", "Since January 5, 2026"),
        ("en", None, "en", "Hello 1,234.50", "Since January 5, 2026"),
        ("en-GB", None, "en", "Hello 1,234.50", "Since 5 January 2026"),
        ("de", None, "de", "Hallo 1.234,50", "Seit 5. Januar 2026"),
        ("de_DE", None, "de", "Hallo 1.234,50", "Seit 5. Januar 2026"),
        ("de-LU", None, "de", "Hallo 1.234,50", "Seit 5. Januar 2026"),
        ("DE-at", None, "de-AT", "Servus 1.234,50", "Seit 5. Jänner 2026"),
        ("pt-BR", None, "pt-BR", "Olá pt-BR", "Desde 5 de janeiro de 2026"),
        ("pt", None, "en", "Hello 1,234.50", "Since January 5, 2026"),
        ("fr", None, "en", "Hello 1,234.50", "Since January 5, 2026"),
        ("fr", "de", "de", "Hallo 1.234,50", "Seit 5. Januar 2026"),
        (None, "de-AT", "de-AT", "Servus 1.234,50", "Seit 5. Jänner 2026"),
        ("xx-nonsense", None, "en", "Hello 1,234.50", "Since January 5, 2026"),
        ("de-nonsense", None, "de", "Hallo 1.234,50", "Seit 5. Januar 2026"),
        ("", None, "en", "Hello 1,234.50", "Since January 5, 2026"),
    ],
)
def test_the_language_and_the_formats_of_a_customer(
    locale: str | None, trait: str | None, picked: str, subject: str, body: str
) -> None:
    texts = rendered(a_play(action=ACTION), locale, trait)
    assert (texts.locale, texts.subject, texts.text) == (picked, subject, body)


def test_a_locale_can_be_asked_for_whatever_the_customers() -> None:
    play = a_play(action=ACTION)
    assert rendered(play, "de", asked="en").subject == "Hello 1,234.50"
    assert rendered(play, None, asked="pt_BR").text == "Desde 5 de janeiro de 2026"


def test_a_play_that_names_no_locale_is_written_as_the_customer_s_language_writes() -> None:
    play = a_play(action={key: value for key, value in ACTION.items() if not key.startswith("locale")})
    assert (rendered(play, "de").subject, rendered(play, "de").locale) == ("Hello 1.234,50", None)
    one = a_play(action={**ACTION, "locales": {}})
    assert (rendered(one, "de").subject, rendered(one, "de").locale) == ("Hello 1,234.50", "en")


TAGS = st.sampled_from(
    ["de", "de-AT", "de_CH", "en", "en-GB", "fr", "zh-TW", "zh-Hant-TW", "zh", "pt-BR", "sr", "x", ""]
)


@given(wanted=st.lists(TAGS, max_size=3), available=st.lists(TAGS, max_size=5, unique_by=lambda name: name.lower()))
def test_the_choice_is_the_first_wanted_language_that_is_there_or_a_wider_one(
    wanted: list[str], available: list[str]
) -> None:
    found = choose(wanted, available)
    widened = [one for name in wanted for one in chain(name)]
    there = [one for one in widened if one in {tag for name in available for tag in chain(name)[:1]}]
    assert (found is not None) == bool(there)
    if found is not None:
        assert found[0] in available
        assert found[1] in wanted
        assert chain(found[0])[0] == there[0]


@pytest.mark.parametrize("locale", ["de", "de-AT", "pt_BR", "fr-CA", "xx", None])
def test_the_preference_page_and_the_mail_choose_by_one_rule(locale: str | None) -> None:
    names = ["en", "de", "fr", "es", "it", "nl", "pt"]
    texts = {name: {"body": name} for name in names if name != "en"}
    play = a_play(action={"channel": "webhook", "endpoint": "crm", "body": "en", "locale": "en", "locales": texts})
    assert rendered(play, locale).text == language([locale] if locale else [], None)


PLAY = """\
play: p
when: {fact: customer-stalled}
action:
  channel: email
  subject: Hello
  html: <p>Hello</p>
  locale: en
  locales:
    de:
      subject: Hallo
      html: |
        <p>Hallo</p>
    de-AT: {subject: Servus}
"""


def parse(change: str, into: str) -> ParsedPlays:
    assert change in PLAY
    return read_plays([("p.yaml", PLAY.replace(change, into))])


def test_a_play_in_two_languages_is_sound() -> None:
    parsed = parse("play", "play")
    assert (parsed.faults, parsed.warnings) == ([], [])


@pytest.mark.parametrize(
    ("change", "into", "fault"),
    [
        ("  locale: en\n", "", "p.yaml:3: action: locales: say the language of the texts outside it, too: locale: en"),
        ("locale: en", "locale: de", "p.yaml:3: action: locales: de is there twice"),
        ("de-AT:", "DE:", "p.yaml:3: action: locales: DE is there twice"),
        ("de-AT:", "tlh:", "p.yaml:13: action.locales.tlh: there is no locale 'tlh'"),
        ("locale: en", "locale: xx", "p.yaml:7: action.locale: there is no locale 'xx'"),
        ("      subject: Hallo\n", "", "p.yaml:9: action.locales.de: has no subject, which the texts in en have"),
        ("de-AT:", "fr:", "p.yaml:13: action.locales.fr: has no html, which the texts in en have"),
        ("<p>Hallo</p>", "<p>{{ nobody }}</p>", "p.yaml:12: action.locales.de.html: 'nobody' is undefined"),
        ("{subject: Servus}", "{subject: '{{ nobody }}'}", "p.yaml:13: action.locales.de-AT.subject: 'nobody' is"),
        ("<p>Hallo</p>", "{% include 'x' %}", "p.yaml:12: action.locales.de.html: there is no template 'x'"),
        ("{subject: Servus}", "{subjekt: Servus}", "p.yaml:13: action.locales.de-AT.subjekt: unknown"),
    ],
)
def test_what_is_wrong_in_a_language_is_said_with_its_line(change: str, into: str, fault: str) -> None:
    parsed = parse(change, into)
    assert [one for one in map(str, parsed.faults) if one.startswith(fault)], parsed.faults
    assert parsed.plays == {}


def test_a_name_that_not_every_customer_has_is_a_warning_in_each_language() -> None:
    parsed = parse("<p>Hallo</p>", "<p>{{ traits.name }}</p>")
    (warning,) = map(str, parsed.warnings)
    assert warning.startswith(
        "p.yaml:12: action.locales.de.html: 'dict object' has no attribute 'name', for a customer"
    )
