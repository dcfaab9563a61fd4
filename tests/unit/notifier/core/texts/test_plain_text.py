"""The text of a mail that has HTML alone: what a reader sees, with every link."""

import re
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.texts.plain_text import text_of_html

PAGE = """\
<!doctype html>
<html><head><title>Not shown</title><style>p {color: red}</style></head><body>
<div style="display: none">Preview text</div>
<!--[if mso]><p>Outlook</p><![endif]-->
<table width="100%"><tr><td align="center"><table width="600"><tr><td><img src="https://x/l.png" alt="Acme"></td></tr>
<tr><td><h1>Hello Ada &amp; Co</h1><p>We have <b>missed</b> you.</p>
<p><a href="https://example.org/a?b=1&amp;c=2#d">Book a call</a>, or write to <a href="mailto:a@b.org">a@b.org</a>.</p>
<ul><li>one</li><li><a href="https://example.org/2"><img src="b.png" alt="two"></a></li></ul>
</td></tr></table></td></tr></table><a href="#top">Up</a><script>run()</script></body></html>
"""
TEXT = """\
Acme
Hello Ada & Co

We have missed you.

Book a call <https://example.org/a?b=1&c=2#d>, or write to a@b.org.

  * one
  * two <https://example.org/2>

Up"""


def test_a_page_of_tables_becomes_lines_with_its_links() -> None:
    assert text_of_html(PAGE) == TEXT


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        (" \n", ""),
        ("<!-- nothing -->", ""),
        ("just text", "just text"),
        ("<p>a<br>b", "a\nb"),
        ("&lt;script&gt;", "<script>"),
        ('<?xml version="1.0" encoding="utf-8"?><p>a</p>', "a"),
        ('<a href="https://e.org/">https://e.org</a>', "https://e.org"),
        ('<a href="https://e.org/">e.org</a>', "e.org"),
        ('<a href="https://e.org/"></a>', "<https://e.org/>"),
        ('<a href=" HTTPS://e.org/a b\n">x</a>', "x <HTTPS://e.org/a%20b>"),
        ('<a href="MAILTO:a@b.org">write</a>', "write <a@b.org>"),
        ('<a href="javascript:x">x</a> <a>y</a>', "x y"),
        ('<a href="https://e.org/&#1;a">x</a><img alt="b&#1;&#xfffe;"><p>&#1;', "x <https://e.org/a>b"),
        ("<p>a</p>" * 3, "a\n\na\n\na"),
    ],
)
def test_what_a_piece_of_html_says(html: str, text: str) -> None:
    assert text_of_html(html) == text


words = st.text("abcdefghij<>&\"' äß", min_size=1, max_size=12).map(lambda text: f"w{text}w")
addresses = st.from_regex(
    r"https?://[a-z]{1,8}\.example(/[a-z0-9~%_-]{0,6})?(\?[a-z=&;']{0,8})?(#[a-z]{0,4})?", fullmatch=True
)
links = st.lists(st.tuples(words, addresses), max_size=6)


@given(links=links, within=st.sampled_from(["p", "td", "li", "h1", "b", "div"]))
def test_every_link_is_kept_with_its_text_and_no_markup_appears(links: list[tuple[str, str]], within: str) -> None:
    html = "".join(
        f'<{within}><a class="x" href="{escape(address)}"><b>{escape(text)}</b></a></{within}>'
        for text, address in links
    )
    text = text_of_html(f"<html><body>{html}</body></html>")
    flat = " ".join(text.split())
    for shown, address in links:
        assert f"{' '.join(shown.split())} <{address}>" in flat
    assert len(re.findall(r"<https?://", text)) >= len(links)
