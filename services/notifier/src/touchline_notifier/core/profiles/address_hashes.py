"""Keyed hashes of addresses and customers: to recognise them without storing them."""

import hashlib
import hmac

from touchline_notifier.core.profiles.mailbox import same_mailbox


class Hashes:
    """HMAC-SHA256 under the notifier's own secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def address(self, address: str) -> bytes:
        """Of an e-mail address: one hash for all spellings of a mailbox."""
        return self._of("address", same_mailbox(address))

    def customer(self, key: str) -> bytes:
        """Of a customer's key."""
        return self._of("customer", key)

    def _of(self, kind: str, text: str) -> bytes:
        return hmac.digest(self._secret, f"{kind}\x1f{text}".encode(), hashlib.sha256)
