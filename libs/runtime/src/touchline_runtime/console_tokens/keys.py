"""The console's key pair (Ed25519), each half one line: 32 bytes in base64url without padding.

The console signs with the private half, ``TOUCHLINE_CONSOLE_KEY``. The services have public halves alone,
``TOUCHLINE_CONSOLE_PUBLIC_KEYS``: none of them can speak for a person. They accept several, comma-separated, so that a
key can be replaced without an interruption.
"""

import base64
import binascii

from joserfc.jwk import OKPKey

_BYTES = 32
_REMEDY = "write a line that `touchline-console new-key` printed"


def new_key() -> OKPKey:
    """A new key pair."""
    return OKPKey.generate_key("Ed25519", private=True)


def private_text(key: OKPKey) -> str:
    """The private half as ``TOUCHLINE_CONSOLE_KEY`` has it."""
    return str(key.as_dict(private=True)["d"])


def public_text(key: OKPKey) -> str:
    """The public half as ``TOUCHLINE_CONSOLE_PUBLIC_KEYS`` has it."""
    return str(key.as_dict(private=False)["x"])


def parse_private_key(text: str) -> OKPKey:
    """The key pair of a private half.

    Raises:
        ValueError: it is no key; the text never holds a part of it.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    raw = _raw(text, "it")
    public = Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()
    return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "d": _text(raw), "x": _text(public)})


def parse_public_keys(text: str) -> tuple[OKPKey, ...]:
    """The public keys of a comma-separated list; none of an empty one.

    Raises:
        ValueError: one is no key.
    """
    if not text.strip():
        return ()
    parts = [part.strip() for part in text.split(",")]
    keys = []
    for number, part in enumerate(parts, 1):
        raw = _raw(part, f"key {number} of {len(parts)}")
        keys.append(OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": _text(raw)}))
    return tuple(keys)


def _raw(text: str, which: str) -> bytes:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{which} is not base64url: {_REMEDY}") from None
    if len(raw) != _BYTES:
        raise ValueError(f"{which} has {len(raw)} bytes in place of {_BYTES}: {_REMEDY}")
    return raw


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
