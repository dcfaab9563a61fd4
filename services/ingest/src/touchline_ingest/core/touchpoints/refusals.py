"""Why a request as a whole is refused. One handler maps these errors to HTTP (``entrypoints/http/routes.py``).

::

    RequestRefused
    ├── Unauthorized          401   the write key is missing or wrong
    ├── BodyTooLarge          413
    ├── NotThisMediaType      415
    ├── NotReadable           422   not JSON, not an object or array, too many items, a bad header
    ├── IdempotencyKeyReused  422
    ├── RateLimited           429   the source exceeds its rate limit
    ├── TooManyAuthFailures   429   one address sends too many wrong keys or signatures
    ├── NotAcknowledged       503   Kafka did not acknowledge in time
    └── RefusedBySource       the status that the source's reader chose

An invalid touchpoint among valid ones is not an exception: it is a :class:`Rejected` verdict.
"""

import math
from collections.abc import Mapping

RETRY_AFTER_SECONDS = "2"


def retry_after(seconds: float) -> str:
    """The value of a Retry-After header: whole seconds, at least one."""
    return str(max(1, math.ceil(seconds)))


class RequestRefused(Exception):  # noqa: N818  (the root of the tree: the sender's error, not ours)
    """A request is refused.

    Attributes:
        status: the HTTP status of the answer.
        type: a short constant for programs.
        headers: headers of the answer.
    """

    status = 422
    type = "not-readable"

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.headers = dict(headers or {})


class Unauthorized(RequestRefused):
    """The write key is missing or wrong, or not valid for the endpoint."""

    status = 401
    type = "unauthorized"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the write key is {what}: send Authorization: Bearer KEY, with a key that the sources file contains and "
            "that is valid for this endpoint",
            {"WWW-Authenticate": 'Bearer realm="touchline"'},
        )


class BodyTooLarge(RequestRefused):
    """More bytes than the limit, before or after decompression."""

    status = 413
    type = "too-large"


class NotThisMediaType(RequestRefused):
    """A content type, character set or content encoding that is not supported."""

    status = 415
    type = "media-type"


class NotReadable(RequestRefused):
    """The body, or a header that is needed to read it, is invalid as a whole."""


class IdempotencyKeyReused(RequestRefused):
    """An ``Idempotency-Key`` was used before with another body."""

    type = "idempotency-key-reused"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Idempotency-Key {key[:80]!r} was used before with another body, whose ids it names: nothing of this "
            "body was accepted. Use a new key for a new body; send the same body to try again"
        )


class RateLimited(RequestRefused):
    """The source exceeds its rate limit."""

    status = 429
    type = "rate-limited"

    def __init__(self, source: str, per_second: float, wait: float) -> None:
        super().__init__(
            f"source {source!r} may post {per_second:g} touchpoints a second: wait {wait:.1f} s",
            {"Retry-After": retry_after(wait)},
        )


class TooManyAuthFailures(RequestRefused):
    """One client address sends too many wrong keys or signatures."""

    status = 429
    type = "too-many-wrong-keys"

    def __init__(self, wait: float) -> None:
        super().__init__(
            "too many wrong keys or signatures come from this address: stop, and check the key. A valid key is "
            "accepted at any time",
            {"Retry-After": retry_after(wait)},
        )


class NotAcknowledged(RequestRefused):
    """Kafka did not acknowledge the request's touchpoints in time."""

    status = 503
    type = "not-acknowledged"

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}: send it again", {"Retry-After": RETRY_AFTER_SECONDS})


class RefusedBySource(RequestRefused):
    """A source's reader refused the request."""

    def __init__(self, status: int, title: str, detail: str, headers: Mapping[str, str]) -> None:
        super().__init__(detail, headers)
        self.status = status
        self.type = title.replace(" ", "-")
