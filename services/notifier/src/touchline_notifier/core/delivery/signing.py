"""Standard Webhooks 1.0 signatures, scheme ``v1`` (HMAC-SHA256), with several secrets at once for rotation.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

_PREFIX = "whsec_"
# "between 24 bytes (192 bits) and 64 bytes (512 bits)" (spec, "Signature scheme").
_LEAST, _MOST = 24, 64


class BadSecretError(ValueError):
    """A webhook secret that can't be used; the text says what one looks like, and never the secret itself."""


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """The bytes of one signing secret, kept out of logs."""

    key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "SigningSecret":
        """Read ``whsec_<base64 of 24 to 64 bytes>``; the prefix may be left out.

        Raises:
            BadSecretError: not base64, or too short or too long.
        """
        encoded = text.strip().removeprefix(_PREFIX)
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise BadSecretError(
                "a webhook secret is whsec_ followed by base64: make one with "
                "`python -c \"import base64,os; print('whsec_'+base64.b64encode(os.urandom(32)).decode())\"`"
            ) from None
        if not _LEAST <= len(key) <= _MOST:
            raise BadSecretError(f"a webhook secret holds {_LEAST} to {_MOST} bytes before base64, this one {len(key)}")
        return cls(key)


def parse_secrets(text: str) -> tuple[SigningSecret, ...]:
    """Read the secrets of an endpoint, the newest first, separated by blanks: during a rotation both sign.

    Raises:
        BadSecretError: there is none, or one can't be used.
    """
    secrets = tuple(SigningSecret.parse(part) for part in text.split())
    if not secrets:
        raise BadSecretError("the webhook secret is empty")
    return secrets


def signature_headers(webhook_id: str, timestamp: int, body: bytes, secrets: Sequence[SigningSecret]) -> dict[str, str]:
    """The three headers of a signed webhook.

    Args:
        webhook_id: the same on every retry: the receiver deduplicates on it. No full stop in it (the signed text is
            ``{id}.{timestamp}.{body}``).
        timestamp: Unix time of this attempt in seconds: it is new on every retry.
        secrets: all that a receiver may hold at present; a receiver accepts when any one signature fits.
    """
    signed = b"%b.%d.%b" % (webhook_id.encode(), timestamp, body)
    signatures = (
        "v1," + base64.b64encode(hmac.digest(secret.key, signed, hashlib.sha256)).decode() for secret in secrets
    )
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
