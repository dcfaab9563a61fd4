"""The plain-text part of a mail, made from its HTML: layout by Inscriptis, links kept as ``text <address>``."""

import re

import lxml.html
from inscriptis import Inscriptis
from inscriptis.css_profiles import STRICT_CSS_PROFILE
from inscriptis.model.config import ParserConfig
from lxml.etree import ParserError

_XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_KEPT = re.compile(r"(?:https?|mailto):", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n{3,}")
_CONFIG = ParserConfig(css=STRICT_CSS_PROFILE)
"""The other profile, its default, puts blanks around every `span`."""
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What lxml takes into no text."""
_MAILTO = "mailto:"


def text_of_html(html: str) -> str:
    """The text that a reader of the page sees, without line breaks in its paragraphs.

    A link is its text and, in angle brackets (RFC 3986, appendix C), its address; an image is its ``alt``.

    Raises:
        ValueError: it is nested too deeply.
    """
    try:
        tree = lxml.html.document_fromstring(_XML_DECLARATION.sub("", html, count=1))
    except ParserError:  # it is empty
        return ""
    try:
        _write_images(tree)
        _write_links(tree)
        text = Inscriptis(tree, _CONFIG).get_text()
    except RecursionError:
        raise ValueError("the HTML is nested too deeply to make a text of it") from None
    lines = "\n".join(line.rstrip() for line in _NOT_XML.sub("", text).splitlines())
    return _BLANK_LINES.sub("\n\n", lines).strip("\n")


def _write_images(tree: lxml.html.HtmlElement) -> None:
    for image in tree.iter("img"):
        image.tag, image.text = "span", _NOT_XML.sub("", image.get("alt", ""))


def _write_links(tree: lxml.html.HtmlElement) -> None:
    for link in list(tree.iter("a")):
        # As a browser reads an address: without the white space around and the line breaks in it.
        address = _NOT_XML.sub("", re.sub(r"[\t\r\n]", "", link.get("href", ""))).strip().replace(" ", "%20")
        if not _KEPT.match(address):
            continue
        if address.lower().startswith(_MAILTO):
            address = address[len(_MAILTO) :]
        shown = " ".join(link.text_content().split())
        if shown.rstrip("/") in (address.rstrip("/"), address.partition("://")[2].rstrip("/")):
            continue
        written = lxml.html.Element("span")
        written.text = f" <{address}>" if shown else f"<{address}>"
        link.append(written)
