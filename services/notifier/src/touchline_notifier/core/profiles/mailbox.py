"""E-mail addresses as mail servers take them (RFC 5321, 6531) and as one mailbox with several spellings.

The domain of an address has two spellings that mean the same: ``bücher.example`` and ``xn--bcher-kva.example``
(IDNA 2008, mapped as UTS #46 says). The second is ASCII and passes every mail server. The part before the ``@`` has no
ASCII spelling: where it isn't ASCII, every server on the way needs SMTPUTF8.
"""

from dataclasses import dataclass

import email_validator
from email_validator import EmailNotValidError, validate_email

# Names such as mail.internal.local or localhost are mailboxes inside a company's network.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_LONGEST_LOCAL_PART = 64
"""Octets (RFC 5321 §4.5.3.1.1); the library counts characters."""


class NotAnAddressError(ValueError):
    """A text that is not an e-mail address; the message says why, without the address."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A parsed address.

    Attributes:
        local: before the ``@``, as it is written in an address: an atom, or a quoted string.
        domain: in ASCII (the ``xn--`` form of an internationalised name), or an address literal.
    """

    local: str
    domain: str

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it."""
        return not self.local.isascii()

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


def parse_mailbox(address: str) -> Mailbox:
    """Parse an address. Only its syntax is checked, without DNS.

    Raises:
        NotAnAddressError: it is none.
    """
    try:
        parsed = validate_email(
            address.strip().removesuffix("."),
            check_deliverability=False,
            globally_deliverable=False,
            allow_quoted_local=True,
            allow_domain_literal=True,
            strict=True,
        )
    except EmailNotValidError as error:
        # The library's text may quote the address.
        side = "after" if "after the @" in str(error) else "before"
        raise NotAnAddressError(f"not an e-mail address: the part {side} the @ is not valid") from None
    if len(parsed.local_part.encode()) > _LONGEST_LOCAL_PART:
        raise NotAnAddressError("not an e-mail address: the part before the @ is longer than 64 octets")
    return Mailbox(parsed.local_part, parsed.ascii_domain)


def same_mailbox(address: str) -> str:
    """One text for all spellings of a mailbox: to look it up by, not to send to.

    Never fails: what is not an address is kept unchanged, in lower case.
    """
    text = address.strip().lower()
    try:
        return str(parse_mailbox(text)).lower()
    except NotAnAddressError:
        return text
