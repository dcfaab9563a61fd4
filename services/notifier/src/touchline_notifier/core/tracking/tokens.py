"""Tokens of tracked mails: which action's mail was opened, or which of its links leads where.

A token holds the target itself, so that a click leads on while no database answers, and only to where a mail of ours
led. It names the action and no customer: whose the action is, is looked up, and an erased customer has none.
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias
from uuid import UUID

from touchline_notifier.core.unsubscribe.sealing import BadTokenError, Sealer

_PURPOSE = b"touchline.mail-tracking.v1"
_OPEN, _LINK = b"o", b"l"
_SEPARATOR = b"\x1f"
_NUMBER_BYTES = 2
MOST_LINKS = 2 ** (8 * _NUMBER_BYTES) - 1


class OpenedMail(NamedTuple):
    """The pixel of an action's mail."""

    action_id: str


class MailLink(NamedTuple):
    """A link in an action's mail.

    Attributes:
        number: 1, 2, … in the order of the HTML.
        name: what the template calls it; empty where it does not.
        target: the http or https address.
    """

    action_id: str
    number: int
    name: str
    target: str


MailToken: TypeAlias = OpenedMail | MailLink


class MailTokens:
    """Makes tokens under one key and reads those of several.

    Args:
        making: the key of new tokens (:func:`~touchline_notifier.core.unsubscribe.tokens.key_of`).
        reading: the keys of tokens made before.
    """

    def __init__(self, making: bytes, reading: Iterable[bytes] = ()) -> None:
        self._sealer = Sealer(_PURPOSE, making, reading)

    def add_keys(self, keys: Iterable[bytes]) -> None:
        """Also read tokens made under these keys."""
        self._sealer.add_keys(keys)

    def make(self, what: MailToken) -> str:
        """The token: letters, digits, ``-`` and ``_``."""
        action = UUID(what.action_id).bytes
        if isinstance(what, OpenedMail):
            return self._sealer.seal(_OPEN + action)
        number = what.number.to_bytes(_NUMBER_BYTES, "big")
        return self._sealer.seal(_LINK + action + number + what.name.encode() + _SEPARATOR + what.target.encode())

    def read(self, token: str) -> MailToken:
        """What a token is about.

        Raises:
            BadTokenError: forged, cut or garbled, or of a key that isn't known here.
        """
        plain = self._sealer.unseal(token)
        kind, action, rest = plain[:1], plain[1:17], plain[17:]
        if kind == _OPEN and not rest:
            return OpenedMail(str(UUID(bytes=action)))
        if kind == _LINK:
            name, _, target = rest[_NUMBER_BYTES:].partition(_SEPARATOR)
            number = int.from_bytes(rest[:_NUMBER_BYTES], "big")
            return MailLink(str(UUID(bytes=action)), number, name.decode(), target.decode())
        raise BadTokenError
