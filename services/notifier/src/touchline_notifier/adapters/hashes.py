"""Keyed hashes of addresses and customers: to know them again without keeping them."""

import hashlib
import hmac


class Hashes:
    """HMAC-SHA256 under the notifier's own secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def address(self, address: str) -> bytes:
        """Of an e-mail address (normalised)."""
        return self._of("address", address)

    def customer(self, key: str) -> bytes:
        """Of a customer's key."""
        return self._of("customer", key)

    def _of(self, kind: str, text: str) -> bytes:
        return hmac.digest(self._secret, f"{kind}\x1f{text}".encode(), hashlib.sha256)
