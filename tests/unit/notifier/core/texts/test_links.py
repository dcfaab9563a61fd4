"""UTM parameters: added to http(s) links alone, never over what is there, and everything else stays as it is.

Addresses are read by pydantic's parser (WHATWG, in Rust) and HTML by libxml2: what writes them is neither.
"""

from html import escape
from typing import Any
from urllib.parse import parse_qsl

import lxml.html
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic_core import Url, ValidationError
from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.plays.rendering import Rendered, Templates
from touchline_notifier.core.texts.links import change_html, change_text, with_parameters

from tests.support.notifier.builders import NOON, a_play, a_stall

ADDED = {"utm_source": "touch line", "utm_campaign": "a&b=c#d?ä"}


def text(alphabet: str, most: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, max_size=most)


pairs = st.lists(
    st.one_of(
        st.tuples(text("abc%20+ä.", 4), text("xyz1%26+ä/?:", 6)).map(lambda pair: f"{pair[0]}={pair[1]}"),
        st.sampled_from(["utm_source=mine", "UTM_Campaign=", "utm_source", "utm_medium=x", "flag", "", "a=1&a=2"]),
    ),
    max_size=4,
)
addresses = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["http", "https", "HTTPS"]),
    st.sampled_from(["example.org", "user:pw@example.org:8443", "bücher.example", "[::1]:8080", "example.org."]),
    st.one_of(st.just(""), text("abc/%20~;,=@ä()!$'*", 10).map(lambda path: f"/{path}")),
    st.one_of(st.just(""), pairs.map(lambda found: "?" + "&".join(found))),
    st.one_of(st.just(""), text("abc/?&=#%20", 8).map(lambda fragment: f"#{fragment}")),
)


def query_of(address: str) -> list[tuple[str, str]]:
    return parse_qsl(Url(address).query or "", keep_blank_values=True)


@given(address=addresses)
def test_parameters_are_added_and_nothing_else_of_an_address_changes(address: str) -> None:
    try:
        before = Url(address)
    except ValidationError:
        assume(False)
    changed = with_parameters(address, ADDED)
    after = Url(changed)
    parts = ("scheme", "username", "password", "host", "port", "path", "fragment")
    assert [getattr(after, part) for part in parts] == [getattr(before, part) for part in parts]
    there = query_of(address)
    names = {name.lower() for name, _ in there}
    assert query_of(changed) == there + [(name, value) for name, value in ADDED.items() if name not in names]
    assert with_parameters(changed, ADDED) == changed


@pytest.mark.parametrize(
    ("address", "changed"),
    [
        ("https://e.org", "https://e.org?u=1"),
        ("https://e.org/a?", "https://e.org/a?u=1"),
        ("https://e.org/a?b", "https://e.org/a?b&u=1"),
        ("https://e.org/a?b&", "https://e.org/a?b&u=1"),
        ("https://e.org/#/route?x=1", "https://e.org/?u=1#/route?x=1"),
        ("https://e.org/?u=0#u", "https://e.org/?u=0#u"),
        ("https://e.org/?%75=0", "https://e.org/?%75=0"),
        ("mailto:a@b.org", "mailto:a@b.org"),
        ("tel:+49", "tel:+49"),
        ("#top", "#top"),
        ("/relative", "/relative"),
        ("//e.org/a", "//e.org/a"),
        ("https://", "https://"),
        ("https:///a", "https:///a"),
        ("javascript:https://e.org", "javascript:https://e.org"),
    ],
)
def test_which_addresses_get_parameters_and_where(address: str, changed: str) -> None:
    assert with_parameters(address, {"u": "1"}) == changed


def marked(address: str) -> str:
    return with_parameters(address, {"u": "1"})


hrefs = st.text("abc/?&=#%;\"'<> ä", max_size=12).map(lambda rest: f"https://e.org/{rest.strip()}")


@given(found=st.lists(hrefs, min_size=1, max_size=4), quote=st.sampled_from("\"'"), before=text("a <\n&é", 8))
def test_links_of_html_are_changed_and_the_rest_stays_byte_for_byte(found: list[str], quote: str, before: str) -> None:
    before = before.replace("<", "<b>")
    links = [
        f"{before}<A\n title={quote}x href= >{quote} HREF = {quote}{escape(one)}{quote} rel=x>t</A>" for one in found
    ]
    html = "<p>" + "".join(links) + "</p><!-- <a href='https://e.org/'> --><style>a[href='https://e.org/'] {}</style>"
    changed = change_html(html, marked)
    there = [link.get("href") for link in lxml.html.fromstring(f"<div>{changed}</div>").iter("a")]
    assert there == [marked(one) for one in found]
    for one in found:
        changed = changed.replace(f'HREF = "{escape(marked(one))}"', f"HREF = {quote}{escape(one)}{quote}", 1)
    assert changed == html


@pytest.mark.parametrize(
    ("html", "changed"),
    [
        ("<a href=https://e.org/a>x</a>", '<a href="https://e.org/a?u=1">x</a>'),
        ("<a href='https://e.org/?a=1&copy=2'>x</a>", '<a href="https://e.org/?a=1&amp;copy=2&amp;u=1">x</a>'),
        ('<a href="https://e.org/?a=1&amp;b=&lt;">x</a>', '<a href="https://e.org/?a=1&amp;b=&lt;&amp;u=1">x</a>'),
        ('<a href="https://e.org/&#35;f">x</a>', '<a href="https://e.org/?u=1#f">x</a>'),
        ('<area href="https://e.org/">', '<area href="https://e.org/?u=1">'),
        ('<a href=" https://e.org/\n">x</a>', '<a href="https://e.org/?u=1">x</a>'),
        ('<a href="https://e.org/" href="https://f.org/">', '<a href="https://e.org/?u=1" href="https://f.org/">'),
        ('<img src="https://e.org/"><link href="https://e.org/"><form action="https://e.org/">', None),
        ('<script>"<a href=\'https://e.org/\'>"</script><a href>x</a><a>y</a><a href="">z</a>', None),
        ("<!--[if mso]><a href='https://e.org/'><![endif]-->", None),
        ("<a href='https://e.org/'", None),
        ("<a href='mailto:a@b.org'>x</a> https://e.org/", None),
    ],
)
def test_what_is_a_link_in_html(html: str, changed: str | None) -> None:
    assert change_html(html, marked) == (html if changed is None else changed)


@given(html=st.text("<>a/href=\"'! -&;b\n[]?", max_size=60))
@example(html="<![x[a<b><a href=y>z")
@example(html="<pre>&<![<!DOCTYPE <br><a href='https://e.org'>\"?></script><li>]")
@example(html="<![if !mso]><a href='y'><![endif]><!DOCTYPE [<!x]>")
def test_any_html_is_left_whole(html: str) -> None:
    assert change_html(html, lambda address: address) == html


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ("See https://e.org/a.", "See https://e.org/a?u=1."),
        ("(https://e.org/a_(b))", "(https://e.org/a_(b)?u=1)"),
        ("<https://e.org/a>, https://e.org", "<https://e.org/a?u=1>, https://e.org?u=1"),
        ("https://e.org/?a=1&b=2#c\nhttp://f.org/", "https://e.org/?a=1&b=2&u=1#c\nhttp://f.org/?u=1"),
        ("ftp://e.org xhttps://e.org e.org a@b.org", None),
    ],
)
def test_what_is_a_link_in_a_text(given: str, changed: str | None) -> None:
    assert change_text(given, marked) == (given if changed is None else changed)


LINK = "https://notify.example.org/v1/unsubscribe/t0ken"


def rendered(**action: Any) -> Rendered:
    utm = {"source": "touchline", "medium": "{{ 'email' }}", "campaign": "{{ play }} {{ stage }}", "content": " "}
    play = a_play(action={"channel": "email", "endpoint": "mail", "subject": "https://e.org/", "utm": utm, **action})
    one = Action("a", play.play, a_stall(), "c-1", "email", "mail", 0, "decided", NOON)
    customer: dict[str, Any] = {"customer_id": "c-1", "email": None, "locale": None, "last": {}, "traits": {}}
    return Templates(lambda *_: LINK).render(play, one, customer)


UTM = "utm_source=touchline&utm_medium=email&utm_campaign=win-back%20retention"


def test_a_play_s_links_get_its_parameters_and_the_way_out_does_not() -> None:
    html = '<a href="https://e.org/">x</a><a href="{{ unsubscribe_url }}">out</a>'
    html += '<a href="{{ unsubscribe_url }}/preferences">p</a>'
    texts = rendered(html=html, body="https://e.org/ {{ unsubscribe_url }}.")
    assert texts.html == (
        f'<a href="https://e.org/?{escape(UTM)}">x</a><a href="{LINK}">out</a><a href="{LINK}/preferences">p</a>'
    )
    assert texts.text == f"https://e.org/?{UTM} {LINK}."
    assert texts.unsubscribe_url == LINK
    assert texts.subject == "https://e.org/"
    assert rendered(html=html).text == f"x <https://e.org/?{UTM}> out <{LINK}> p <{LINK}/preferences>".replace(
        "> ", ">"
    )


def test_without_utm_nothing_changes() -> None:
    html = "<a href=https://e.org/ >x</a>"
    assert rendered(html=html, utm=None).html == html
    assert rendered(html=html, utm={}).html == html
