"""The kind: what people read in a mail. Dates, numbers and money are written as the customer's language writes them."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.plays.parse import read_plays
from touchline_notifier.core.plays.rendering import Rendered, RenderingError, Templates

from tests.support.notifier.builders import a_play, a_stall

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def rendered(body: str, *, locale: str | None = None, zone: str | None = None, play_zone: str | None = None,
             at: datetime = AT, traits: dict[str, Any] | None = None, **action: Any) -> Rendered:  # fmt: skip
    play = a_play(
        action={"channel": "webhook", "endpoint": "crm", "body": body, **action}, limits={"time_zone": play_zone}
    )
    fact = a_stall(at=at, data={"since": "2026-02-01T23:30:00.000000Z", "due_at": "2026-03-01T12:00:00.123456Z"})
    one = Action("a", play.play, fact, "c-1", "webhook", "crm", 0, "decided", AT)
    known = {"trial_ends": "2026-03-08T07:00:00.5+02:00", "day": "2026-03-08", "mrr": 1234.5, "text": "99.90"}
    customer: dict[str, Any] = {"customer_id": "c-1", "email": None, "time_zone": zone, "locale": locale, "last": {}}
    return Templates().render(play, one, {**customer, "traits": known | (traits or {})})


@pytest.mark.parametrize(
    ("template", "more", "text"),
    [
        ("{{ fact.since }}", {}, "February 1, 2026, 11:30 PM"),
        ("{{ fact.since }}", {"zone": "Europe/Berlin", "locale": "de-DE"}, "2. Februar 2026, 00:30"),
        ("{{ fact.since | date }}", {"play_zone": "Asia/Tokyo"}, "February 2, 2026"),
        ("{{ fact.since | date('short', locale='fr') }}", {}, "01/02/2026"),
        ("{{ fact.since | time(time_zone='Europe/Paris', locale='fr') }}", {}, "00:30"),
        ("{{ traits.trial_ends }}", {"locale": "de"}, "8. März 2026, 05:00"),
        ("{{ traits.day | date }}", {}, "March 8, 2026"),
        ("{{ traits.mrr | money('EUR') }}", {}, "€1,234.50"),
        ("{{ traits.mrr | money('eur') }}", {"locale": "de"}, "1.234,50\u00a0€"),
        ("{{ traits.text | money('JPY') }}", {"locale": "en"}, "¥100"),
        ("{{ traits.mrr | number }}", {"locale": "de"}, "1.234,5"),
        ("{{ traits.mrr | number(0) }}", {}, "1,234"),
        ("{{ 0.25 | percent }}", {}, "25%"),
        ("{{ traits.missing | default('none') }}", {}, "none"),
        ("{{ fact.since[:10] }}", {}, "2026-02-01"),
        ("{{ fact.since | date }}", {"locale": "xx-nonsense"}, "February 1, 2026"),
    ],
)
def test_times_numbers_and_money_are_written_for_the_customer(template: str, more: dict[str, Any], text: str) -> None:
    assert rendered(template, **more).text == text


times = st.integers(631152000_000000, 4102444800_000000).map(lambda micros: datetime.fromtimestamp(micros / 1e6, UTC))


@given(at=times, locale=st.sampled_from(["en", "de", "ar", "ja"]))
def test_no_text_for_people_holds_an_iso_timestamp(at: datetime, locale: str) -> None:
    texts = {"subject": "{{ occurred_at }}", "html": "<p>{{ occurred_at }}</p>"}
    message = rendered("{{ traits.x }}", at=at, locale=locale, traits={"x": at.isoformat()}, **texts)
    for text in (message.subject, message.text, message.html):
        assert not re.search(r"\dT\d\d:", text or "")
        assert str(at.year) in (text or "") or locale == "ar"


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'since ' ~ fact.since }}",
        "{{ 'since ' + fact.since }}",
        "{{ 'since %s' % fact.since }}",
        "{{ '%s since %s' % (customer_id, fact.since) }}",
        "{{ 'since %s' | format(fact.since) }}",
        "{{ 'since %(at)s' | format(at=fact.since) }}",
        "{{ ['since', fact.since] | join(' ') }}",
        "{{ ('since ' ~ fact.since) ~ '!' }}",
        "{{ 'since ' ~ (fact.since if true else '') }}",
        "{% set at = 'since ' ~ fact.since %}{{ at }}",
        "{% macro said(at) %}{{ 'since ' ~ at }}{% endmacro %}{{ said(fact.since) }}",
        "{{ [{'at': fact.since}] | map(attribute='at') | join('') }}",
        "{{ [{'at': fact.since}] | join('', attribute='at') }}",
    ],
)
def test_a_time_within_a_longer_text_is_written_for_people_too(template: str) -> None:
    """Kind: a time that is put together with other words prints as ISO with microseconds."""
    message = rendered(template, zone="Europe/Berlin", locale="de", html=f"<p>{template}</p>")
    for text in (message.text, message.html):
        assert "2. Februar 2026, 00:30" in (text or "")
    assert rendered("-", data={"x": template}).data["x"].count("2026-02-01T23:30:00.000000Z") == 1


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ traits.mrr + 1 }}", "1235.5"),
        ("{{ 7 % 4 }}", "3"),
        ("{{ 'a' ~ 1 ~ none ~ 2.5 }}", "a12.5"),
        ("{{ 'x: ' ~ {'a': [1]} }}", 'x: {"a": [1]}'),
        ("{{ [1, 2] + [3] }}", "[1, 2, 3]"),
        ("{{ ['a', 1, none] | join('-') }}", "a-1-"),
        ("{{ 'abc' | join('-') }}", "a-b-c"),
        ("{{ '%d of %d' | format(1, 2) }}", "1 of 2"),
    ],
)
def test_everything_else_is_put_together_as_before(template: str, text: str) -> None:
    assert rendered(template).text == text


def test_what_is_put_together_with_markup_stays_escaped() -> None:
    html = rendered(
        "-", html="<p>{{ '<b>' ~ traits.n ~ fact.since }}{{ [traits.n] | join }}</p>", traits={"n": "<i>"}
    ).html
    assert "<i>" not in (html or "")
    assert "<b>" not in (html or "")


def test_programs_get_the_timestamp_as_it_is() -> None:
    message = rendered("-", data={"since": "{{ fact.since }}"}, headers={"x-since": "{{ fact.since }}"})
    assert message.data == {"since": "2026-02-01T23:30:00.000000Z"}
    assert message.headers == {"x-since": "2026-02-01T23:30:00.000000Z"}


@pytest.mark.parametrize(
    "template",
    [
        *("{{ 'soon' | date }}", "{{ traits.mrr | money('EURO') }}", "{{ 'a' | number }}", "{{ traits.none | date }}"),
        *("{{ fact.since | date('tiny') }}", "{{ fact.since | date(locale='xx') }}", "{{ none | money('EUR') }}"),
        *("{{ fact.since | date(time_zone='Nowhere') }}", "{{ 'nan' | number }}", "{{ '1e999999' | number }}"),
        "{{ traits.day | time }}",
    ],
)
def test_what_is_no_time_or_number_holds_the_action_back_with_the_reason(template: str) -> None:
    with pytest.raises(RenderingError):
        rendered(template)


def test_check_takes_filters_on_any_trait() -> None:
    text = (
        "play: p\nwhen: {fact: customer-stalled}\n"
        "action: {channel: webhook, endpoint: crm, body: \"{{ traits.a | money('EUR') }} {{ traits.b | date }} "
        '{{ traits.c | number(2) }} {{ last.purchased.value | percent }} {{ fact.due_at | time }}"}\n'
    )
    assert read_plays([("p.yaml", text)]).faults == []
