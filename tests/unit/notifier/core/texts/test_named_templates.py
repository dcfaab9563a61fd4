"""Layouts and partials: what they can do, what a customer's trait cannot, and errors before anything is sent."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.plays.parse import ParsedPlays, read_plays
from touchline_notifier.core.plays.rendering import Rendered, RenderingError, Templates

from tests.support.notifier.builders import a_play, a_stall

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
LAYOUT = "<html><body><h1>{% block title %}Care{% endblock %}</h1>{% block content %}{% endblock %}</body></html>"


def rendered(
    html: str, templates: dict[str, str], *, locale: str | None = None, email: bool = True, **traits: Any
) -> Rendered:
    action = {"channel": "email" if email else "webhook", "endpoint": "mail", "subject": "Hello", "html": html}
    play = a_play(action=action, templates=templates)
    one = Action("a", play.play, a_stall(data={"since": "2026-02-01T23:30:00Z"}), "c-1", play.action.channel, "mail", 0,
                 "decided", AT)  # fmt: skip
    customer = {"customer_id": "c-1", "email": None, "time_zone": None, "locale": locale, "last": {}, "traits": traits}
    return Templates().render(play, one, customer)


def html_of(html: str, templates: dict[str, str], **more: Any) -> str:
    found = rendered(html, templates, **more).html
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("html", "templates", "result"),
    [
        ("{% extends 'l' %}{% block content %}<p>Hi</p>{% endblock %}", {"l": LAYOUT},
         "<html><body><h1>Care</h1><p>Hi</p></body></html>"),
        ("{% extends 'l' %}{% block title %}{{ super() }}!{% endblock %}", {"l": LAYOUT},
         "<html><body><h1>Care!</h1></body></html>"),
        ("{% extends 'mid' %}{% block content %}<p>{{ self.title() }}</p>{% endblock %}",
         {"l": LAYOUT, "mid": "{% extends 'l' %}{% block title %}Mid{% endblock %}"},
         "<html><body><h1>Mid</h1><p>Mid</p></body></html>"),
        ("<p>{% include 'parts/foot.html' %}</p>", {"parts/foot.html": "Bye {{ customer_id }}"}, "<p>Bye c-1</p>"),
        ("{% from 'm' import b %}{{ b('<x>') }}", {"m": "{% macro b(t) %}<b>{{ t }}</b>{% endmacro %}"},
         "<b>&lt;x&gt;</b>"),
        ("{% import 'm' as m %}{% call m.box() %}in{% endcall %}",
         {"m": "{% macro box() %}<i>{{ caller() }}</i>{% endmacro %}"}, "<i>in</i>"),
    ],
)  # fmt: skip
def test_texts_extend_include_and_import_templates(html: str, templates: dict[str, str], result: str) -> None:
    assert html_of(html, templates) == result


@pytest.mark.parametrize(
    "templates",
    [
        {"m": "{% macro when() %}{{ fact.since | date }}{% endmacro %}"},
        {
            "m": "{% import 'n' as n %}{% macro when() %}{{ n.when() }}{% endmacro %}",
            "n": "{% macro when() %}{{ fact.since }}{% endmacro %}",
        },
    ],
)
@pytest.mark.parametrize("tag", ["{% from 'm' import when %}{{ when() }}", "{% import 'm' as m %}{{ m.when() }}"])
def test_a_macro_writes_dates_in_the_customers_language(tag: str, templates: dict[str, str]) -> None:
    assert html_of(tag, templates, locale="de").startswith("1. Februar 2026")


EVIL = st.text("<>&\"'abc /=", min_size=1, max_size=30).map(lambda text: f"{text}<script>{text}")
WAYS = [
    "{{ traits.name }}",
    "{{ traits.name | safe }}",
    "{{ traits.name | upper | safe }}",
    "{{ [traits.name] | map('safe') | join }}",
    "{% autoescape false %}{{ traits.name }}{% endautoescape %}",
    "{% filter safe %}{{ traits.name }}{% endfilter %}",
    "{% set text %}{{ traits.name }}{% endset %}{{ text }}",
    "{{ ('<b>' ~ traits.name) | safe }}",
    "{{ traits | xmlattr }}",
    "{{ traits }}",
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["here", "include", "macro", "block"])
@settings(max_examples=20)
@given(name=EVIL)
def test_what_a_customer_said_never_becomes_markup(where: str, way: str, name: str) -> None:
    texts = {
        "here": (way, {}),
        "include": ("{% include 'p' %}", {"p": way}),
        "macro": ("{% from 'p' import m %}{{ m() }}", {"p": "{% macro m() %}" + way + "{% endmacro %}"}),
        "block": ("{% extends 'p' %}{% block b %}" + way + "{% endblock %}", {"p": "{% block b %}{% endblock %}"}),
    }
    html = html_of(*texts[where], name=name)
    assert "<" not in html
    assert "script" in html.lower()


def test_markup_of_the_author_in_a_template_is_markup_and_a_text_stays_a_text() -> None:
    play = a_play(
        action={"channel": "webhook", "endpoint": "crm", "body": "{% include 'p' %}"},
        templates={"p": "a & {{ traits.n }}"},
    )
    one = Action("a", play.play, a_stall(), "c-1", "webhook", "crm", 0, "decided", AT)
    customer = {"customer_id": "c-1", "email": None, "locale": None, "last": {}, "traits": {"n": "<b>"}}
    assert Templates().render(play, one, customer).text == "a & <b>"


def test_a_mail_s_html_may_be_100_kb_and_other_texts_16() -> None:
    assert len(html_of("{{ 'x' * 90000 }}", {})) == 90_000
    with pytest.raises(RenderingError, match=r"action\.html: longer than 100000 bytes"):
        html_of("{{ 'x' * 100001 }}", {})
    with pytest.raises(RenderingError, match=r"action\.html: longer than 16000 bytes"):
        html_of("{{ 'x' * 16001 }}", {}, email=False)


PLAY = """\
play: p
when: {fact: customer-stalled}
action:
  channel: email
  subject: Hello
  html: |
    <h1>Hello</h1>
    HTML
templates:
  layout.html: |
    <html>
    LAYOUT
    </html>
  quoted: "QUOTED"
"""


def parse(
    html: str = "{% include 'layout.html' %}{% include 'quoted' %}", layout: str = "", quoted: str = ""
) -> ParsedPlays:
    text = PLAY.replace("HTML", html).replace("LAYOUT", layout).replace("QUOTED", quoted)
    return read_plays([("p.yaml", text)])


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"html": "{% include 'none.html' %}"}, "p.yaml:8: action.html: there is no template 'none.html'"),
        ({"layout": "{% extends 'none' %}"}, "p.yaml:12: templates[\"layout.html\"]: there is no template 'none'"),
        ({"layout": "{% import 'none' as n %}"}, "p.yaml:12: templates[\"layout.html\"]: there is no template 'none'"),
        ({"html": "{% include ['quoted', 'none'] %}"}, "p.yaml:8: action.html: there is no template 'none'"),
        ({"html": "{% include 'none' ignore missing %}"}, "p.yaml:8: action.html: there is no template 'none'"),
        ({"html": "{% include 'quoted' if level else 'none' %}"}, "p.yaml:8: action.html: there is no template 'none'"),
        ({"html": "{% include play %}"}, "p.yaml:8: action.html: the name of a template must be a text in quotes"),
        ({"layout": "{% include 'quoted' %}", "quoted": "{% include 'layout.html' %}"},
         "p.yaml:12: templates[\"layout.html\"]: names itself, directly or through another template"),
        ({"layout": "{% include 'layout.html' %}"}, "p.yaml:12: templates[\"layout.html\"]: names itself"),
        ({"layout": "{{ nobody }}"}, "p.yaml:12: templates[\"layout.html\"]: 'nobody' is undefined"),
        ({"layout": "{% if %}"}, "p.yaml:12: templates[\"layout.html\"]: Expected an expression"),
        ({"quoted": "\\n\\n{{ nobody }}"}, "p.yaml:14: templates.quoted: 'nobody' is undefined"),
        ({"html": "{{ nobody }}"}, "p.yaml:8: action.html: 'nobody' is undefined"),
        ({"html": "{% block"}, "p.yaml:8: action.html: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line_before_anything_is_sent(given: dict[str, str], fault: str) -> None:
    parsed = parse(**given)
    assert any(str(one).startswith(fault) for one in parsed.faults), parsed.faults
    assert parsed.plays == {}


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", ".hidden", "a//b", "a/", "", "x" * 101, "a b", "a\\b"])
def test_a_template_s_name_is_no_path_out_of_its_folder(name: str) -> None:
    text = f"play: p\nwhen: {{fact: customer-stalled}}\naction: {{body: x}}\ntemplates: {{{name!r}: x}}\n"
    (fault,) = read_plays([("p.yaml", text)]).faults
    assert fault.line == 4
    assert "is no name of a template" in fault.message or "string" in fault.message


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ({"html": "{% include 'quoted' %}"}, "p.yaml:10: templates[\"layout.html\"]: no text names this template"),
        ({"layout": "{{ play | safe }}"}, "p.yaml:12: templates[\"layout.html\"]: `| safe` and `{% autoescape %}`"),
    ],
)  # fmt: skip
def test_what_is_worth_a_look_is_a_warning(given: dict[str, str], warning: str) -> None:
    parsed = parse(**given)
    assert parsed.faults == []
    assert [str(one) for one in parsed.warnings if str(one).startswith(warning)]
