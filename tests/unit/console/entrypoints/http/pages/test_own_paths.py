"""After signing in a browser stays on the console."""

import re
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from touchline_console.entrypoints.http.pages.sign_in import own_path

HERE = "https://console.example.org/sign-in"
PARTS = st.sampled_from(
    ["/", "//", "\\", "\t", "\n", "\r", "\x00", "\x0b", " ", "\u00a0", "\u3000", "\u2028", "\u200b", "http:", "https:",
     "javascript:", "data:", "evil.example", "@", ":", "?", "#", "..", ".", "%2f", "%5c", "%09", "customers", "／", "⁄"]
)  # fmt: skip


def as_browsers_do(address: str) -> str:
    """The first steps of the URL standard: no blanks at the ends, no tabs and line breaks, `\\` is `/`."""
    text = re.sub(r"[\t\r\n]", "", address.strip("".join(map(chr, range(0x21)))))
    path, separator, rest = text.partition("?")
    return path.replace("\\", "/") + separator + rest


@given(st.one_of(st.lists(PARTS, max_size=8).map("".join), st.text()))
@example("/\t/evil.example")
@example("\\\\evil.example")
@example("/customers\r\nSet-Cookie: a=b")
def test_any_address_leads_to_a_path_of_the_console(address: str) -> None:
    path = own_path(address)
    assert path.startswith("/")
    assert path.isprintable()
    for text in (path, as_browsers_do(path)):
        assert urlsplit(urljoin(HERE, text))[:2] == ("https", "console.example.org")


@pytest.mark.parametrize(
    "path", ["/", "/customers?q=x&next=%2F%2Fa", "/customers/id%2F..%2F%7B", "/lifecycles/a?view=time", "/plays#top"]
)
def test_a_path_of_the_console_is_kept(path: str) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/provider?next=/", "/sign-out", "/" + "a" * 1_500])
def test_no_path_leads_back_to_signing_in_and_none_is_too_long_for_a_cookie(path: str) -> None:
    assert own_path(path) == "/"
