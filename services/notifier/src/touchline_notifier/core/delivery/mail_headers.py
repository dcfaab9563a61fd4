"""A mail's header, as RFC 5322 requires: ASCII, in lines of at most 998 octets.

Python's own generator folds a long value into encoded words (RFC 2047), also where they are not allowed:
in ``List-Unsubscribe``, in ``Message-ID``, inside an address. So each field is written here, by its kind:

| kind | fields | how it leaves |
| --- | --- | --- |
| text | ``Subject``, a play's own | folded at blanks to 78; encoded words where it isn't ASCII, or a word is longer |
| addresses | ``From``, ``To``, ``Reply-To`` … | folded between addresses; encoded words in display names alone |
| structured | ``List-…``, ``Message-ID``, ``Feedback-ID`` … | unchanged, on one line |

A field of a kind of its own (``X-SMTPAPI: {…}``, a tracking id) is text; as long as it is ASCII it is sent unchanged,
folded at its blanks alone: unfolding (RFC 5322 §2.2.3) gives the same value back.
"""

import re
from collections.abc import Iterable
from email.header import Header
from email.utils import getaddresses
from urllib.parse import quote

from touchline_notifier.core.profiles.mailbox import Mailbox, NotAnAddressError, parse_mailbox

LONGEST_LINE = 998
"""Octets, without CRLF (RFC 5322 §2.1.1)."""
ASKED_LINE = 78
"""Characters that a line should not exceed (the same)."""

_NAME = re.compile(r"[!-9;-~]{1,76}")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_ONE_PERSON = re.compile(r"([^<>]*)<([^<>]*)>")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_ADDRESSES = frozenset(
    ("from", "to", "cc", "reply-to", "sender", "errors-to", "disposition-notification-to", "return-receipt-to")
)
_STRUCTURED = frozenset(
    (
        *("date", "message-id", "in-reply-to", "references", "auto-submitted", "precedence", "feedback-id"),
        *("importance", "priority", "sensitivity", "x-priority", "mime-version", "expires", "list-id"),
    )
)


class BadHeaderError(ValueError):
    """A field that can't be written into a mail; the text says which and why."""


def header_field(name: str, value: str) -> bytes:
    """One field with its CRLF.

    Args:
        value: Unicode, on one line or several: any white space becomes one blank.

    Raises:
        BadHeaderError: the name is none, or the value can't leave in ASCII lines of 998.
    """
    if not _NAME.fullmatch(name):
        raise BadHeaderError(f"{name[:80]!r} is no header name: letters, digits and hyphens")
    text = _CONTROL.sub("", " ".join(value.split()))
    key = name.lower()
    if key in _ADDRESSES:
        return address_field(name, people_of(name, text))
    if key in _STRUCTURED or key.startswith("list-"):
        return _checked(name, f"{name}: {_structured(name, text)}")
    return _text(name, text)


def address_field(name: str, people: Iterable[tuple[str, Mailbox]]) -> bytes:
    """A field of addresses: (display name, mailbox). UTF-8 only in a local part that isn't ASCII (RFC 6532)."""
    words: list[str] = []
    for display, mailbox in people:
        if words:
            words[-1] += ","
        phrase = _phrase(" ".join(_CONTROL.sub("", display).split()))
        words += [*phrase, f"<{mailbox}>"] if phrase else [str(mailbox)]
    return _checked(name, "\r\n".join(_filled([f"{name}:", *words])))


def people_of(name: str, text: str) -> list[tuple[str, Mailbox]]:
    """The display names and mailboxes in ``Name <address>``, or in a list of such.

    Raises:
        BadHeaderError: none, or one that is no address.
    """
    alone = _ONE_PERSON.fullmatch(text)
    pairs = [(_unquoted(alone[1]), alone[2])] if alone else getaddresses([text])
    try:
        people = [(display, parse_mailbox(address)) for display, address in pairs]
    except NotAnAddressError as error:
        raise BadHeaderError(f"{name}: {error}") from None
    if not people:
        raise BadHeaderError(f"{name}: no address")
    return people


def _unquoted(display: str) -> str:
    display = display.strip()
    if len(display) > 1 and display[0] == display[-1] == '"':
        return re.sub(r"\\(.)", r"\1", display[1:-1])
    return display


def _phrase(text: str) -> list[str]:
    """A display name as words that a fold may part: atoms, one quoted string, or encoded words."""
    if not text:
        return []
    if text.isascii() and "=?" not in text:
        words = text.split(" ")
        if _ATOMS.fullmatch(text) and max(map(len, words)) < ASKED_LINE:
            return words
        quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        if len(quoted) <= ASKED_LINE - 2:
            return [quoted]
    return _encoded_words(text, 20).split("\r\n ")


def _structured(name: str, text: str) -> str:
    if text.isascii():
        return text
    if name.lower() == "list-id":
        phrase, _, rest = text.rpartition("<")
        if rest.isascii():
            return " ".join([*_phrase(phrase.strip()), f"<{rest}"])
    if name.lower().startswith("list-"):
        # URIs in angle brackets: what isn't ASCII in them is percent-encoded UTF-8 (RFC 3987 §3.1).
        return quote(text, safe="".join(map(chr, range(0x20, 0x7F))))
    raise BadHeaderError(f"{name}: only ASCII is allowed there")


def _text(name: str, text: str) -> bytes:
    plain = text.isascii() and "=?" not in text
    if plain:
        lines = _filled(f"{name}: {text}".split(" "))
        too_long = max(map(len, lines))
        # A subject is for people, and encoded words are for people's text. Anything else might be read by a program
        # that doesn't decode them, so a long word stays one.
        if too_long <= ASKED_LINE or (name.lower() != "subject" and too_long <= LONGEST_LINE):
            return _checked(name, "\r\n".join(lines))
        if name.lower() != "subject":
            raise BadHeaderError(f"{name}: has a word of more than {LONGEST_LINE} characters, which no mail may carry")
    return _checked(name, f"{name}: {_encoded_words(text, len(name) + 2)}")


def _filled(words: Iterable[str]) -> list[str]:
    """Words with blanks between them, in lines of at most 78 as far as that goes; a further line begins with its blank.

    The value begins on the field's own line: some readers take an empty first line for an empty value.
    """
    lines = [""]
    for index, word in enumerate(words):
        piece = f" {word}" if index else word
        if index > 1 and len(lines[-1]) + len(piece) > ASKED_LINE:
            lines.append("")
        lines[-1] += piece
    return lines


def _encoded_words(text: str, indent: int) -> str:
    """Encoded words of at most 75 characters, folded between them. The first leaves ``indent`` characters free."""
    # The blanks are part of what is encoded: blanks between encoded words are not (RFC 2047 §6.2).
    return Header(text, "utf-8", maxlinelen=75, header_name="x" * max(indent - 2, 1)).encode(
        splitchars="", linesep="\r\n"
    )


def _checked(name: str, field: str) -> bytes:
    content = field.encode()
    if any(len(line) > LONGEST_LINE for line in content.split(b"\r\n")):
        raise BadHeaderError(f"{name}: longer than the {LONGEST_LINE} characters that a line of a mail may have")
    return content + b"\r\n"
