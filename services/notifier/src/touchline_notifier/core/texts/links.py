"""Parameters on the links of a mail. What else a link, the HTML and the text say stays as it is, byte for byte."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from html import escape, unescape
from html.entities import html5
from html.parser import HTMLParser
from typing import NamedTuple, TypeAlias
from urllib.parse import quote, unquote_plus

Change: TypeAlias = Callable[[str], str]
"""An address → what to write instead."""
LinkChange: TypeAlias = Callable[[str, Mapping[str, str]], str]
"""An address, and the attributes of its tag by their names in lower case → what to write instead."""

_ADDRESS = re.compile(r"https?://[^/?#\\\s]", re.IGNORECASE)
_IN_TEXT = re.compile(r"\bhttps?://[^\s<>\"]+", re.IGNORECASE)
_AFTER = ".,;:!?'*_"
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_ATTRIBUTE = re.compile(r"""([^\s/>="'][^\s/>=]*)(?:(\s*=\s*)("[^"]*"|'[^']*'|[^\s>"'][^\s>]*))?""")
_REFERENCE = re.compile(
    r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[A-Za-z][A-Za-z0-9]*;|[A-Za-z][A-Za-z0-9]*(?![A-Za-z0-9=;]))"
)
_LINKS = frozenset(("a", "area"))


def with_parameters(address: str, parameters: Mapping[str, str]) -> str:
    """An http(s) address with these parameters, but for those that it has. Query and fragment are kept."""
    if not _ADDRESS.match(address):
        return address
    rest, hash_, fragment = address.partition("#")
    there, mark, query = rest.partition("?")
    present = {unquote_plus(pair.partition("=")[0]).lower() for pair in query.split("&")}
    added = [f"{name}={quote(value, safe='')}" for name, value in parameters.items() if name.lower() not in present]
    if not added:
        return address
    between = "&" if query and not query.endswith("&") else ""
    return f"{there}{mark or '?'}{query}{between}{'&'.join(added)}{hash_}{fragment}"


def change_html(html: str, change: Change) -> str:
    """HTML with the addresses of its links changed: ``href`` of ``a`` and ``area``."""
    return change_links(html, lambda address, attributes: change(address))


def change_links(html: str, change: LinkChange) -> str:
    """As :func:`change_html`, for a change that depends on the tag."""
    finder = _Tags(html)
    written, end = [], 0
    for tag in finder.found:
        written += [html[end : tag.start], _changed_tag(tag.text, change)]
        end = tag.start + len(tag.text)
    return "".join([*written, html[end:]])


def change_text(text: str, change: Change) -> str:
    """A text with the addresses in it changed."""

    def changed(match: re.Match[str]) -> str:
        address = match[0]
        end = len(address)
        while end and _belongs_to_the_sentence(address[:end]):
            end -= 1
        return change(address[:end]) + address[end:]

    return _IN_TEXT.sub(changed, text)


def at_end_of_body(html: str, added: str) -> str:
    """HTML with something added at the end of its body."""
    end = _Tags(html).body_end
    return f"{html}{added}" if end is None else f"{html[:end]}{added}{html[end:]}"


def leads_to(address: str, target: str) -> bool:
    """Whether an address is the target, or a page below it."""
    return address.startswith(target) and address[len(target) : len(target) + 1] in ("", "/", "?", "#")


def _belongs_to_the_sentence(address: str) -> bool:
    last = address[-1]
    return last in _AFTER or (last in _BRACKETS and address.count(last) > address.count(_BRACKETS[last]))


class _Tag(NamedTuple):
    start: int
    text: str


class _Tags(HTMLParser):
    """Finds the start tags of links, and the end of the body, as a browser does: not in comments, styles and scripts.

    Attributes:
        found: the start tags.
        body_end: where the last end tag of the body, or of the page, is; None: there is none.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[_Tag] = []
        self.body_end: int | None = None
        self._html = html
        self._body_ended = False
        self._lines = [0, *(match.end() for match in re.finditer("\n", html))]
        # Python's parser gives up on some declarations that are none. The links before are found.
        with suppress(AssertionError):
            self.feed(html)
            self.close()

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """``<![…``: of an unknown kind, it is a comment for a browser."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        text = self.get_starttag_text()
        if tag in _LINKS and text is not None:
            start = self._position()
            if self._html.startswith(text, start):  # else it has lost count, after a declaration that is none
                self.found.append(_Tag(start, text))

    def handle_endtag(self, tag: str) -> None:
        if tag == "body" or (tag == "html" and not self._body_ended):
            start = self._position()
            if self._html[start : start + 2 + len(tag)].lower() == f"</{tag}":
                self.body_end, self._body_ended = start, self._body_ended or tag == "body"

    def _position(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column


def _changed_tag(tag: str, change: LinkChange) -> str:
    attributes: dict[str, re.Match[str]] = {}
    for match in _attributes(tag):
        attributes.setdefault(match[1].lower(), match)
    href = attributes.get("href")
    if href is None or href[3] is None:
        return tag
    value = _value(href).strip()
    changed = change(value, {name: _value(match) for name, match in attributes.items()})
    if changed == value:
        return tag
    return f'{tag[: href.start(3)]}"{escape(changed, quote=True)}"{tag[href.end(3) :]}'


def _value(attribute: re.Match[str]) -> str:
    text = attribute[3]
    if text is None:
        return ""
    return _unescaped(text[1:-1] if text[0] in "\"'" else text)


def _attributes(tag: str) -> Iterator[re.Match[str]]:
    name_end = re.match(r"<[^\s/>]+", tag)
    return _ATTRIBUTE.finditer(tag, name_end.end() if name_end else 0)


def _unescaped(value: str) -> str:
    """An attribute's value. ``&copy=1`` in an address is no reference (HTML, "ambiguous ampersand")."""
    return _REFERENCE.sub(_character, value)


def _character(match: re.Match[str]) -> str:
    reference = match[0]
    return unescape(reference) if reference[1] == "#" else html5.get(reference[1:], reference)
