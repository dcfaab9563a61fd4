"""Amazon SNS messages: what is signed, by whose certificate, and whether it was.

The rules are those of Amazon's "Verifying the signatures of Amazon SNS messages": the string to sign is
``Key\\nValue\\n`` for a fixed list of keys in order; RSA PKCS#1 v1.5 with SHA-1 (SignatureVersion 1) or SHA-256 (2);
and the certificate is worth something only when it comes from ``sns.<region>.amazonaws.com`` over https.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.x509 import load_pem_x509_certificate

from touchline_ingest.core.sources.proofs import from_base64

NOTIFICATION = "Notification"
CONFIRMATION = "SubscriptionConfirmation"
UNSUBSCRIBED = "UnsubscribeConfirmation"

_SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    UNSUBSCRIBED: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_HOST = re.compile(r"sns\.[a-z]{2,}(?:-[a-z0-9]+)+\.amazonaws\.com(?:\.cn)?", re.ASCII)
_CERTIFICATE_PATH = re.compile(r"/[A-Za-z0-9_-]+\.pem", re.ASCII)
_TEXT_URL = re.compile(r"[\x21-\x7e]{1,2048}")


def is_certificate_url(url: str) -> bool:
    """Whether a SigningCertURL may be fetched: https, SNS's own host, a plain file, nothing else in it."""
    parts = _split(url)
    return parts is not None and _CERTIFICATE_PATH.fullmatch(parts[0]) is not None and not parts[1]


def is_subscribe_url(url: str) -> bool:
    """Whether a SubscribeURL may be fetched to confirm a subscription."""
    parts = _split(url)
    return parts is not None and "Action=ConfirmSubscription" in parts[1].split("&")


def _split(url: str) -> tuple[str, str] | None:
    """Path and query of an https URL of SNS; None for any other."""
    if not _TEXT_URL.fullmatch(url) or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    # The network location as a whole: no user, no other port, and nothing that another parser could read as a host.
    sound = parts.scheme == "https" and port in (None, 443) and _HOST.fullmatch(parts.netloc.removesuffix(":443"))
    return (parts.path, parts.query) if sound and not parts.fragment else None


def string_to_sign(message: Mapping[str, Any]) -> bytes | None:
    """The bytes that SNS signed; None for a message of another type or with a field that isn't text."""
    kind = message.get("Type")
    names = _SIGNED.get(kind) if isinstance(kind, str) else None
    if names is None:
        return None
    lines = []
    for name in names:
        value = message.get(name)
        if value is None and name == "Subject":
            continue
        if not isinstance(value, str):
            return None
        lines.append(f"{name}\n{value}\n")
    return "".join(lines).encode(errors="replace")


def is_signed(message: Mapping[str, Any], certificate_pem: bytes) -> bool:
    """Whether the message's signature is the certificate's."""
    signed = string_to_sign(message)
    signature = from_base64(message["Signature"]) if isinstance(message.get("Signature"), str) else None
    digest: HashAlgorithm | None = {"1": SHA1(), "2": SHA256()}.get(str(message.get("SignatureVersion")))  # noqa: S303
    if signed is None or not signature or digest is None:
        return False
    try:
        key = load_pem_x509_certificate(certificate_pem).public_key()
        if not isinstance(key, RSAPublicKey):
            return False
        key.verify(signature, signed, PKCS1v15(), digest)
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
