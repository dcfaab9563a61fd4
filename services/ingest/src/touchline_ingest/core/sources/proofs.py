"""Proofs that a request is genuine: signatures, timestamps, credentials. Every comparison takes constant time."""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256

from touchline_runtime.http.credentials import basic_text

from touchline_ingest.core.sources.interface import RequestRejection, SourceConfig

TOLERANCE = timedelta(minutes=5)


def not_genuine(detail: str) -> RequestRejection:
    """The refusal of a request whose signature is absent or wrong."""
    return RequestRejection(401, "signature not valid", detail)


def wrong_age(sent_at: datetime | None, now: datetime, tolerance: timedelta = TOLERANCE) -> RequestRejection | None:
    """The refusal of a request that was signed too long ago, or in the future; None when its age is right.

    A signed request proves who wrote it, not when it was sent: an old one may be a replayed recording.
    """
    if sent_at is None:
        return RequestRejection(401, "timestamp not valid", "The signed timestamp is missing or not a Unix time.")
    age = now - sent_at
    if age > tolerance:
        return RequestRejection(
            401,
            "request too old",
            f"It was signed {_words(age)} ago, and {_words(tolerance)} is allowed: a replay, or one of the two clocks "
            "is wrong. Check this machine's clock; the sender's next attempt carries a new timestamp.",
        )
    if -age > tolerance_ahead(tolerance):
        return RequestRejection(
            401,
            "request from the future",
            f"Its timestamp is {_words(-age)} ahead of this machine's clock: one of the two clocks is wrong.",
        )
    return None


def tolerance_ahead(tolerance: timedelta) -> timedelta:
    """How far ahead a sender's clock may be: never more than five minutes."""
    return min(tolerance, TOLERANCE)


def _words(span: timedelta) -> str:
    return f"{int(span.total_seconds())} s"


def tolerance_of(config: SourceConfig, default: timedelta = TOLERANCE) -> timedelta:
    """The source's ``tolerance_seconds``, else the default."""
    seconds = config.options.get("tolerance_seconds")
    if isinstance(seconds, int) and not isinstance(seconds, bool) and 0 < seconds <= 30 * 86400:
        return timedelta(seconds=seconds)
    return default


def check_tolerance(config: SourceConfig) -> list[str]:
    """What is wrong with the source's ``tolerance_seconds``."""
    seconds = config.options.get("tolerance_seconds")
    if seconds is None or (isinstance(seconds, int) and not isinstance(seconds, bool) and 0 < seconds <= 30 * 86400):
        return []
    return ["tolerance_seconds: write a whole number of seconds from 1 to 2592000, such as 300"]


def check_secret(config: SourceConfig, what: str) -> list[str]:
    """What is wrong when a source needs a secret."""
    if any(config.secrets) and all(config.secrets):
        return []
    return [f"secret: is missing or empty; write secret: {{env: NAME}} and put {what} there"]


def hmac_sha256(secret: str | bytes, *message: bytes) -> bytes:
    """HMAC-SHA256 of the message's parts, one after the other."""
    mac = hmac.new(secret.encode() if isinstance(secret, str) else secret, digestmod=sha256)
    for part in message:
        mac.update(part)
    return mac.digest()


def any_matches(expected: Iterable[bytes], given: Iterable[bytes]) -> bool:
    """Whether any of the given digests is one of the expected, all pairs compared (the time tells nothing)."""
    offered = list(given)
    found = False
    for digest in expected:
        for other in offered:
            found |= hmac.compare_digest(digest, other)
    return found


def from_base64(text: str) -> bytes | None:
    """The bytes of a base64 text, padding optional; None when it is none."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def from_hex(text: str) -> bytes | None:
    """The bytes of a hexadecimal text; None when it is none."""
    try:
        return bytes.fromhex(text) if text.isascii() else None
    except ValueError:
        return None


def same_secret(given: str, expected: Iterable[str]) -> bool:
    """Whether a presented secret is one of the expected; their lengths don't show in the time it takes."""
    offered = sha256(given.encode(errors="replace")).digest()
    return any_matches((sha256(secret.encode()).digest() for secret in expected if secret), (offered,))


def wrong_credentials(headers: Mapping[str, str], config: SourceConfig, where: str) -> RequestRejection | None:
    """The refusal of a request without the source's Basic credentials (its secrets, ``user:password``), else None."""
    given = basic_text(headers.get("authorization", ""))
    if given is not None and same_secret(given, config.secrets):
        return None
    return RequestRejection(
        401,
        "credentials not valid",
        f"Basic credentials are {'wrong' if given else 'missing'}: {where}",
        {"WWW-Authenticate": 'Basic realm="touchline"'},
    )
