"""Opaque tokens for links in mails: what they say is encrypted and authenticated (AES-SIV, RFC 5297).

The same content gives the same token. A token of one purpose is none of another. It doesn't expire, so keys are only
ever added: every key that made a link goes on reading links.
"""

import base64
import binascii
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV


class BadTokenError(ValueError):
    """A token that the notifier did not make, or that was changed."""


class Sealer:
    """Makes tokens of one purpose under one key, and reads those of several.

    Args:
        making: the key of new tokens; it reads them as well.
        reading: the keys of tokens made before.
    """

    def __init__(self, purpose: bytes, making: bytes, reading: Iterable[bytes] = ()) -> None:
        self._purpose = [purpose]
        self._making = AESSIV(making)
        self._ciphers = {making: self._making}
        self.add_keys(reading)

    def add_keys(self, keys: Iterable[bytes]) -> None:
        """Also read tokens made under these keys."""
        for key in keys:
            self._ciphers.setdefault(key, AESSIV(key))

    def seal(self, content: bytes) -> str:
        """A token: letters, digits, ``-`` and ``_``."""
        return base64.urlsafe_b64encode(self._making.encrypt(content, self._purpose)).rstrip(b"=").decode()

    def unseal(self, token: str) -> bytes:
        """What a token says.

        Raises:
            BadTokenError: forged, cut or garbled, of another purpose, or of a key that isn't known here.
        """
        try:
            # Mail programs and people leave a dot or a bracket at a link's end; none of them is part of a token.
            text = token.strip().rstrip(".,;:!?)>]}\"'=").encode("ascii")
            sealed = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise BadTokenError from None
        for cipher in self._ciphers.values():
            try:
                return cipher.decrypt(sealed, self._purpose)
            except (InvalidTag, ValueError):
                continue
        raise BadTokenError
