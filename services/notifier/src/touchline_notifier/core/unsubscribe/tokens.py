"""Unsubscribe links: an opaque token that names a customer and a channel, which only the notifier can make or read.

RFC 8058 §3.1 asks for a component that is opaque and hard to forge: the token shows no id and no address
(:mod:`touchline_notifier.core.unsubscribe.sealing`), and one customer's link is the same in every mail. An old mail's
link works as long as the mail exists.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from touchline_notifier.core.unsubscribe.sealing import Sealer

_PURPOSE = b"touchline.unsubscribe.v1"
_NAMED, _DIGESTED = b"n", b"d"
_SEPARATOR = b"\x1f"  # neither a channel nor a customer's id may hold it

LONGEST_NAMED = 300
"""UTF-8 bytes of a customer's id that a token holds. Of a longer one it holds the SHA-256: a link in a mail's header
has to stay below 998 characters (RFC 5322 §2.1.1) for any id."""


@dataclass(frozen=True, slots=True)
class Unsubscription:
    """The customer who unsubscribes, and the channel.

    Attributes:
        customer_id: None where the token holds the SHA-256 of a very long id: ``digest``.
    """

    customer_id: str | None
    channel: str
    digest: bytes | None = None


def key_of(secret: str) -> bytes:
    """The key derived from a secret; it is stored instead of the secret."""
    return hashlib.sha512(_PURPOSE + b"\x1f" + secret.encode()).digest()


class UnsubscribeTokens:
    """Makes tokens under one key and reads those of several."""

    def __init__(self, making: bytes, reading: Iterable[bytes] = ()) -> None:
        """Wire the keys (:func:`key_of`).

        Args:
            making: of new tokens; it reads them as well.
            reading: of tokens made before.
        """
        self._sealer = Sealer(_PURPOSE, making, reading)

    def add_keys(self, keys: Iterable[bytes]) -> None:
        """Also read tokens made under these keys."""
        self._sealer.add_keys(keys)

    def make(self, customer_id: str, channel: str) -> str:
        """The token: letters, digits, ``-`` and ``_``."""
        ident = customer_id.encode()
        kind, who = (_NAMED, ident) if len(ident) <= LONGEST_NAMED else (_DIGESTED, hashlib.sha256(ident).digest())
        return self._sealer.seal(kind + channel.encode() + _SEPARATOR + who)

    def read(self, token: str) -> Unsubscription:
        """The customer and the channel of a token.

        Raises:
            BadTokenError: forged, cut or garbled, or of a key that isn't known here.
        """
        plain = self._sealer.unseal(token)
        channel, _, who = plain[1:].partition(_SEPARATOR)
        if plain[:1] == _DIGESTED:
            return Unsubscription(None, channel.decode(), who)
        return Unsubscription(who.decode(), channel.decode())
