"""The kind: an address of ours that leads on. It leads where the mail's author wrote, and nowhere else."""

from html import escape
from typing import Any
from urllib.parse import urlsplit

import lxml.html
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.plays.parse import read_plays
from touchline_notifier.core.plays.rendering import Rendered, RenderingError, Templates
from touchline_notifier.core.texts.links import at_end_of_body
from touchline_notifier.core.tracking.links import CLICKED, LONGEST_TARGET, OPENED, MailTracker, host_of, written_hosts
from touchline_notifier.core.tracking.tokens import MailLink, MailTokens, OpenedMail
from touchline_notifier.core.unsubscribe.sealing import BadTokenError
from touchline_notifier.core.unsubscribe.tokens import UnsubscribeTokens, key_of

from tests.support.notifier.builders import NOON, a_play, a_stall

ROOT = "https://notify.example.org"
OUT = f"{ROOT}/v1/unsubscribe/t0ken"
ACTION = "6f1c1a52-6ea1-5a3b-9d2e-0123456789ab"
TOKENS = MailTokens(key_of("a"))
TRACKER = MailTracker(ROOT, TOKENS)
HOSTS = frozenset({"e.org", "shop.example:8443"})


def tracked(html: str, hosts: frozenset[str] = HOSTS) -> str:
    return TRACKER.tracked(html, ACTION, hosts, OUT)


def links(html: str) -> list[str]:
    return [one.get("href", "") for one in lxml.html.fromstring(f"<div>{html}</div>").iter("a", "area")]


def behind(address: str) -> MailLink:
    assert address.startswith(f"{ROOT}{CLICKED}")
    found = TOKENS.read(address.removeprefix(f"{ROOT}{CLICKED}"))
    assert isinstance(found, MailLink)
    return found


# Which links


@pytest.mark.parametrize(
    "address",
    [
        "https://e.org",
        "http://e.org/",
        "HTTPS://E.ORG/a?b=1&c=%20#d",
        "https://shop.example:8443/x",
        "https://e.org?q",
        "https://e.org/ü ö?ä=ß",
        "https://e.org/" + "x" * (LONGEST_TARGET - 14),
        "https://e.org/\u2028x",
    ],
)
def test_a_link_to_a_host_of_the_play_leads_through_the_notifier_and_on(address: str) -> None:
    (link,) = links(tracked(f'<a href="{escape(address)}">x</a>'))
    assert behind(link) == MailLink(ACTION, 1, "", address)


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "https://e.org.evil.example/",
        "https://e.org@evil.example/",
        "https://evil.example\\@e.org/",
        "https://e.org\\@evil.example/",
        "https://e.org\\.evil.example/",
        "//e.org/",
        "/path",
        "#top",
        "",
        "https:e.org",
        "https:///e.org",
        "javascript:alert(1)//https://e.org/",
        "data:text/html,https://e.org/",
        "mailto:a@e.org",
        "tel:1",
        "ftp://e.org/",
        "https://e.org:444/",
        "https://user@e.org/",
        "https://e.org%2eevil.example/",
        "https://е.org/",
        OUT,
        f"{OUT}/preferences",
        f"{OUT}?preferences",
        "https://e.org/" + "x" * LONGEST_TARGET,
        "https://e.org/a\\b",
    ],
)
def test_every_other_address_stays_as_it_is(address: str) -> None:
    html = f'<p><a class=x href="{escape(address)}">x</a>'
    assert tracked(html, HOSTS | {"notify.example.org"}) == html


@given(tail=st.text("/\\@:.#?%e.orgvil\t\n\r ü", max_size=30), hosts=st.just(HOSTS))
@example(tail="\t.evil.example", hosts=HOSTS)
@example(tail="\n@evil.example/", hosts=HOSTS)
def test_whatever_follows_the_host_a_tracked_link_leads_to_a_host_of_the_play(tail: str, hosts: frozenset[str]) -> None:
    for link in links(tracked(f'<a href="{escape("https://e.org" + tail)}">x</a>', hosts)):
        if link.startswith(ROOT):
            target = behind(link).target
            assert host_of(target) in hosts
            assert urlsplit(target).netloc.lower() in hosts, "as a program reads it"
            # As a browser reads it: tabs and line ends are nothing, and a backslash is a slash.
            assert not set(target) & set("\t\n\r\\")


def test_no_customer_s_value_makes_a_link_of_ours_lead_to_another_site() -> None:
    html = (
        '<a href="{{ traits.page }}">1</a><a href="https://{{ traits.host }}/">2</a>'
        '<a href="https://shop.example{{ traits.host }}/">3</a><a href="https://shop.example/{{ traits.page }}">4</a>'
        '<a href="https://{{ traits.host }}.shop.example/">5</a>'
    )
    traits = {"page": "https://evil.example/", "host": ".evil.example"}
    found = links(rendered(html=html, traits=traits).html or "")
    assert [one.startswith(ROOT) for one in found] == [False, False, False, True, False]
    assert behind(found[3]).target == "https://shop.example/https://evil.example/"


def test_the_hosts_of_a_play_are_those_that_are_written_out() -> None:
    written = ['<a href="https://A.example/x">', "{% set base = 'http://b.example:81' %} https://{{ c }}.example/"]
    assert written_hosts(written) == {"a.example", "b.example:81"}
    assert written_hosts(["https://d.example{{ x }}", "//e.example", "https:/f"]) == {"d.example"}


def test_links_have_numbers_in_order_and_the_names_that_the_template_gives_them() -> None:
    html = (
        '<a href="https://e.org/1" data-link=" Book  a call ">1</a><A HREF=https://e.org/2>2</A>'
        '<a data-no-track href="https://e.org/3">3</a><area href="https://e.org/4" data-link="map">'
        '<a data-link="x" href="https://other.example/">5</a><a href="https://e.org/1">6</a>'
    )
    changed = links(tracked(html))
    assert [one.startswith(ROOT) for one in changed] == [True, True, False, True, False, True]
    assert [behind(one)[1:] for one in changed if one.startswith(ROOT)] == [
        (1, "Book a call", "https://e.org/1"), (2, "", "https://e.org/2"), (3, "map", "https://e.org/4"),
        (4, "", "https://e.org/1"),
    ]  # fmt: skip


PIECES = [
    "<p class='x'>",
    "<!-- <a href='https://e.org/'> -->",
    "<style>a[href='https://e.org/'] {}</style>",
    "<br/>",
    "&amp; ü",
    "<a href='mailto:a@b.org'>",
    "<a name=x>",
    "</a>",
    "<![if !mso]>",
    "<script>'<a href=https://e.org/>'</script>",
    "< a",
    "<img src='https://e.org/i.png' alt=\"<a href='https://e.org/'>\">",
    "\r\n",
    "<table><tr><td",
    ">",
    "</body>",
    "</html>",
]


@given(before=st.lists(st.sampled_from(PIECES), max_size=6), after=st.lists(st.sampled_from(PIECES), max_size=6))
def test_everything_but_the_addresses_stays_byte_for_byte(before: list[str], after: list[str]) -> None:
    link = '<a id="tracked"\n href="https://e.org/?a=1&amp;b=2" rel=x>'
    html = "".join([*before, "\n", link, "x</a>", *after])
    changed = tracked(html)
    new = [one for one in set(changed.split('"')) - set(html.split('"')) if one.startswith(ROOT)]
    for address in new:
        # A piece before it may make a link of what was none; an address is written in double quotes.
        changed = changed.replace(address, escape(behind(address).target))
    without_quotes = str.maketrans("", "", "'\"")
    assert changed.translate(without_quotes) == html.translate(without_quotes)


# The pixel


@pytest.mark.parametrize(
    ("html", "changed"),
    [
        ("<html><body>x</body></html>", "<html><body>x+</body></html>"),
        ("<HTML><BODY>x</BODY >\n</HTML>", "<HTML><BODY>x+</BODY >\n</HTML>"),
        ("<html>x</html>", "<html>x+</html>"),
        ("<html><body>x", "<html><body>x+"),
        ("<html><body><!-- </body> -->x</body>", "<html><body><!-- </body> -->x+</body>"),
        ("<html><style>/* </body> */</style></body></html>", "<html><style>/* </body> */</style>+</body></html>"),
        ("</body>x</body></html>", "</body>x+</body></html>"),
        ("", "+"),
    ],
)
def test_what_is_added_at_the_end_of_the_body(html: str, changed: str) -> None:
    assert at_end_of_body(html, "+") == changed


@given(html=st.text("<>/bodyhtml!- \n&'\"", max_size=60))
def test_something_is_added_once_to_any_html(html: str) -> None:
    changed = at_end_of_body(html, "\u2603")
    assert changed.replace("\u2603", "", 1) == html


# Tokens


@given(
    name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=100),
    target=st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    number=st.integers(1, 65535),
)
def test_a_token_says_what_it_was_made_of_and_shows_nothing(name: str, target: str, number: int) -> None:
    link = MailLink(ACTION, number, name, target)
    token = TOKENS.make(link)
    assert TOKENS.read(token) == link
    assert token == TOKENS.make(link), "a mail that is rendered again is the same"
    assert token.replace("-", "").replace("_", "").isalnum()
    assert ACTION not in token


@given(token=st.text(max_size=200), cut=st.integers(1, 30), flip=st.integers(0, 60))
def test_a_token_that_is_not_ours_or_was_changed_says_nothing(token: str, cut: int, flip: int) -> None:
    ours = TOKENS.make(MailLink(ACTION, 1, "", "https://e.org/"))
    changed = ours[:flip] + ("A" if ours[flip] != "A" else "B") + ours[flip + 1 :]
    for bad in (token, ours[:-cut], changed, ours + "AAAA"):
        with pytest.raises(BadTokenError):
            TOKENS.read(bad)


def test_tokens_of_one_purpose_are_none_of_another() -> None:
    with pytest.raises(BadTokenError):
        TOKENS.read(UnsubscribeTokens(key_of("a")).make("c-1", "email"))
    with pytest.raises(BadTokenError):
        UnsubscribeTokens(key_of("a")).read(TOKENS.make(OpenedMail(ACTION)))


def test_links_of_a_replaced_secret_are_read() -> None:
    rotated = MailTokens(key_of("b"), [key_of("a")])
    assert rotated.read(TOKENS.make(OpenedMail(ACTION))) == OpenedMail(ACTION)
    with pytest.raises(BadTokenError):
        TOKENS.read(rotated.make(OpenedMail(ACTION)))


# A play's mail

HTML = '<a href="https://shop.example/?a=1">x</a><a href="{{ unsubscribe_url }}">out</a>'


def rendered(
    track: dict[str, bool] | None = {"opens": True, "clicks": True},  # noqa: B006  (never changed)
    traits: dict[str, Any] | None = None,
    tracker: MailTracker | None = TRACKER,
    **action: Any,
) -> Rendered:
    spec = {"channel": "email", "endpoint": "mail", "subject": "Hello", "html": HTML, "track": track, **action}
    play = a_play(action=spec)
    one = Action(ACTION, play.play, a_stall(), "c-1", "email", "mail", 0, "decided", NOON)
    customer: dict[str, Any] = {"customer_id": "c-1", "email": None, "locale": None, "last": {}, "traits": traits or {}}
    return Templates(lambda *_: OUT, tracker).render(play, one, customer)


@pytest.mark.parametrize("track", [None, {}, {"opens": False, "clicks": False}])
def test_nothing_changes_unless_the_play_says_so(track: dict[str, bool] | None) -> None:
    assert rendered(track) == rendered(None, tracker=None)


def test_links_lead_through_the_notifier_and_the_text_is_the_same() -> None:
    plain, one = rendered(None), rendered()
    assert one.text == plain.text == "x <https://shop.example/?a=1>out <" + OUT + ">"
    link, out = links(one.html or "")
    assert (behind(link).target, out) == ("https://shop.example/?a=1", OUT)
    assert one.pixel_url is not None
    assert TOKENS.read(one.pixel_url.removeprefix(f"{ROOT}{OPENED}")) == OpenedMail(ACTION)


def test_opens_and_clicks_are_switched_each_by_itself() -> None:
    opens, clicks = rendered({"opens": True}), rendered({"clicks": True})
    assert (opens.html, opens.pixel_url is None) == (rendered(None).html, False)
    assert (clicks.html, clicks.pixel_url) == (rendered().html, None)


def test_utm_parameters_are_part_of_the_target_and_the_text() -> None:
    one = rendered(utm={"source": "touchline"})
    (link, _) = links(one.html or "")
    assert behind(link).target == "https://shop.example/?a=1&utm_source=touchline"
    assert "https://shop.example/?a=1&utm_source=touchline" in (one.text or "")


def test_a_mail_that_tracked_links_make_too_long_is_found_by_the_check() -> None:
    html = '<a href="https://shop.example/">x</a>' * 900
    with pytest.raises(RenderingError, match="with the addresses of its tracked links"):
        rendered(html=html)
    text = f"""
play: win-back
when: {{fact: customer-stalled}}
action: {{channel: email, endpoint: mail, subject: Hi, track: {{clicks: true}}, html: '{html}'}}
"""
    (fault,) = read_plays([("win-back.yaml", text)]).faults
    assert "with the addresses of its tracked links" in fault.message
    assert not read_plays([("win-back.yaml", text.replace("clicks: true", "clicks: false"))]).faults


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ({"channel": "webhook", "body": "x", "track": {"opens": True}}, "track is for channel email, and this is w"),
        ({"channel": "email", "subject": "x", "body": "x", "to": "a@b.org", "track": {"opens": True}}, "own address"),
        ({"channel": "email", "subject": "x", "body": "x", "track": {"clicks": True}}, "there is none: write html"),
        ({"channel": "email", "subject": "x", "body": "x", "track": {"open": True}}, "Extra inputs"),
    ],
)  # fmt: skip
def test_what_cannot_be_tracked_is_said(action: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        a_play(action=action)
