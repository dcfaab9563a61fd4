"""The links and the pixel of a tracked mail.

A link is tracked where its target's host is written in the play. What a template fills in from a customer's data is
left as it is: otherwise customers could have links made that lead from the company's address to any site.
"""

import re
from collections.abc import Iterable, Mapping

from touchline_notifier.core.texts.links import change_links, leads_to
from touchline_notifier.core.tracking.tokens import MOST_LINKS, MailLink, MailTokens, OpenedMail

PREFIX = "/v1/mail/"
OPENED, CLICKED = f"{PREFIX}opened/", f"{PREFIX}clicked/"

NOT_TRACKED = "data-no-track"
NAME = "data-link"
"""The attribute that names a link."""
LONGEST_NAME = 100
LONGEST_TARGET = 2000
"""UTF-8 bytes of an address that is tracked, so that the link in the mail stays below 4,000 characters."""

_WRITTEN = re.compile(r"https?://([^\s/?#\\\"'<>{}|]+)", re.IGNORECASE)
_TARGET = re.compile(r"https?://([^\s/?#\\@\x00-\x20]+)(?:[/?#][^\\\x00-\x1f\x7f]*)?", re.IGNORECASE)


def written_hosts(texts: Iterable[str]) -> frozenset[str]:
    """Hosts, with their ports, of the addresses that are written in a play's templates, in lower case."""
    return frozenset(match[1].lower() for text in texts for match in _WRITTEN.finditer(text))


def host_of(address: str) -> str | None:
    """The host, with its port, of an address that may be tracked, in lower case."""
    found = _TARGET.fullmatch(address)
    return None if found is None or len(address.encode()) > LONGEST_TARGET else found[1].lower()


class MailTracker:
    """Makes the links and pixels of tracked mails.

    Args:
        root: the public address of the notifier, without a slash at its end.
    """

    def __init__(self, root: str, tokens: MailTokens) -> None:
        self._root = root
        self._tokens = tokens

    def pixel(self, action_id: str) -> str:
        """The address of the pixel of an action's mail."""
        return f"{self._root}{OPENED}{self._tokens.make(OpenedMail(action_id))}"

    def tracked(self, html: str, action_id: str, hosts: frozenset[str], unsubscribe_url: str) -> str:
        """HTML whose links lead through the notifier. Everything else in it stays as it is.

        Args:
            hosts: see :func:`written_hosts`.
            unsubscribe_url: the link that is never tracked, nor the pages below it.
        """
        number = 0

        def change(address: str, attributes: Mapping[str, str]) -> str:
            nonlocal number
            target = re.sub(r"[\t\r\n]", "", address)  # as a browser reads it
            if NOT_TRACKED in attributes or host_of(target) not in hosts or leads_to(target, unsubscribe_url):
                return address
            number += 1
            if number > MOST_LINKS:
                return address
            name = " ".join(attributes.get(NAME, "").split())[:LONGEST_NAME]
            return f"{self._root}{CLICKED}{self._tokens.make(MailLink(action_id, number, name, target))}"

        return change_links(html, change)
