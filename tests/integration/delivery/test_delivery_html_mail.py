"""Mails whose HTML has a layout, as a real SMTP server gets them: raw bytes first, then what a mail program reads."""

from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default as modern
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from touchline_devstack.receivers import CaughtMail, MailCatcher
from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.plays.rendering import Rendered, Templates

from tests.support.notifier.builders import NOON, a_play, a_stall
from tests.support.notifier.mails import field, is_sound, sent

LINK = "https://notify.example.org/v1/unsubscribe/token"
LAYOUT = """\
<!doctype html>
<html><head><meta charset="utf-8"><style>p {color: #333}</style></head><body>
<table width="100%"><tr><td>{% block content %}{% endblock %}</td></tr></table>
<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p></body></html>
"""
HTML = """\
{% extends "layout.html" %}
{% block content %}<h1>Hello {{ traits.name }}</h1><p class="{{ traits.name }}">{{ traits.name * 40 }}</p>
<p><a href="https://example.org/book?a=1&amp;b=2">Book a call</a></p>{% endblock %}
"""


@pytest.fixture(scope="module")
def catcher() -> Iterator[MailCatcher]:
    with MailCatcher() as running:
        yield running


def rendered(name: str) -> Rendered:
    action = {"channel": "email", "endpoint": "mail", "subject": "Hello {{ traits.name }}", "html": HTML}
    play = a_play(action=action, templates={"layout.html": LAYOUT})
    one = Action("a", play.play, a_stall(), "c-1", "email", "mail", 0, "decided", NOON)
    customer = {"customer_id": "c-1", "email": "ada@example.org", "locale": None, "last": {}, "traits": {"name": name}}
    return Templates(lambda customer_id, channel: LINK).render(play, one, customer)


def arrived(catcher: MailCatcher, texts: Rendered) -> CaughtMail:
    return sent(catcher, subject=texts.subject, text=texts.text, html=texts.html, unsubscribe_url=texts.unsubscribe_url)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], include_characters="<>&\"'"), min_size=1, max_size=40
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(name=names)
def test_a_layout_leaves_as_two_parts_in_ascii_and_no_trait_is_markup(catcher: MailCatcher, name: str) -> None:
    texts = rendered(name)
    mail = arrived(catcher, texts)
    is_sound(mail)
    lines = mail.raw.split(b"\r\n")
    assert f"List-Unsubscribe: <{LINK}>".encode() in lines
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click" in lines
    assert field(mail, "Content-Type").startswith("multipart/alternative;")
    parsed = message_from_bytes(mail.raw, policy=modern)
    parts = list(parsed.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    assert {part["Content-Transfer-Encoding"] for part in parts} <= {"7bit", "quoted-printable", "base64"}
    text, html = (part.get_content() for part in parts)
    assert html.replace("\r\n", "\n").rstrip("\n") == (texts.html or "").rstrip("\n")
    assert "Book a call <https://example.org/book?a=1&b=2>" in text
    assert text.rstrip().endswith(f"Unsubscribe <{LINK}>")
    assert text.count(LINK) == 1
    tags = _Tags()
    tags.feed(html)
    shape = ["html", "head", "meta", "style", "body", "table", "tr", "td", "h1", "p", "p", "a", "p", "a"]
    assert [tag for tag, _ in tags.seen] == shape
    assert tags.seen[9][1] == {"class": name}
    assert [attrs["href"] for tag, attrs in tags.seen if tag == "a"] == ["https://example.org/book?a=1&b=2", LINK]


@pytest.mark.parametrize(
    ("locale", "lang", "word"),
    [
        (None, "<html>", "Unsubscribe"),
        ("de-AT", '<html lang="de-AT">', "Abmelden"),
        ("xx", '<html lang="xx">', "Uns"),
    ],
)
def test_the_frame_is_in_the_language_of_the_texts(
    catcher: MailCatcher, locale: str | None, lang: str, word: str
) -> None:
    mail = sent(catcher, subject="Hello", text="Hello", unsubscribe_url=LINK, locale=locale)
    is_sound(mail)
    text, html = (part.get_content() for part in message_from_bytes(mail.raw, policy=modern).iter_parts())
    assert word in text
    assert lang in html
    assert word in html
