"""Unsubscribe links: a token that names a customer and a channel, which nobody but us can have made.

RFC 8058 §3.1 asks for a component that is hard to forge; the token is signed, not encrypted. It doesn't expire: an old
mail's link has to work for as long as the mail exists.
"""

import hashlib
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

_SALT = "touchline.unsubscribe.v1"


class BadTokenError(ValueError):
    """A token we didn't make, or that was changed on its way."""


@dataclass(frozen=True, slots=True)
class Unsubscription:
    """Who wants to hear no more, and on which channel."""

    customer_id: str
    channel: str


class UnsubscribeTokens:
    """Makes and reads tokens under one secret, or several during a rotation (the newest first)."""

    def __init__(self, *secrets: str) -> None:
        if not secrets or not all(secrets):
            raise ValueError("unsubscribe tokens need a secret: set TOUCHLINE_UNSUBSCRIBE_SECRET")
        # itsdangerous signs with the last and accepts any.
        self._serializer = URLSafeSerializer(
            list(reversed(secrets)), salt=_SALT, signer_kwargs={"digest_method": hashlib.sha256}
        )

    def make(self, who: Unsubscription) -> str:
        """The token, safe in a URL's path."""
        return str(self._serializer.dumps([who.customer_id, who.channel]))

    def read(self, token: str) -> Unsubscription:
        """Who a token is for.

        Raises:
            BadTokenError: forged, cut or garbled.
        """
        try:
            match self._serializer.loads(token):
                case [str(customer_id), str(channel)]:
                    return Unsubscription(customer_id, channel)
        except BadData:
            pass
        raise BadTokenError("this unsubscribe link is not one of ours, or was cut on its way: use the whole link")
