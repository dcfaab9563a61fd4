"""Rejects webhooks by their headers alone, so that the body of an unauthenticated request is never read.

Credentials and secrets in the address are decided before the body; where the body is signed, a request without any
signature is refused. The source itself says why: it is asked with an empty body.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from touchline_ingest.core.sources.interface import Request, RequestRejection, Source, SourceConfig

BY_CREDENTIALS = frozenset(("pipedrive", "postmark", "salesforce"))
"""Kinds that show credentials, and sign nothing."""

SIGNATURE_HEADERS: Mapping[str, tuple[str, ...]] = {
    "hubspot": ("x-hubspot-signature-v3",),
    "sendgrid": ("x-twilio-email-event-webhook-signature",),
    "standard-webhooks": ("webhook-signature", "svix-signature"),
    "stripe": ("stripe-signature",),
}
"""Kinds that sign the body in a header."""

MAX_UNSIGNED_BYTES = 500_000
"""Of a body that holds its own signature (Mailgun, SNS) and so has to be parsed before it is proven."""

_SIGNED_INSIDE = frozenset(("mailgun", "ses"))


def refused_by_headers(
    request: Request, source: Source, config: SourceConfig, now: datetime
) -> RequestRejection | None:
    """The refusal of a request whose headers prove that it is not genuine; None: read its body.

    Args:
        request: without its body.
    """
    empty = replace(request, body=b"")
    headers = SIGNATURE_HEADERS.get(source.kind)
    if source.kind in BY_CREDENTIALS or (source.kind == "ses" and config.secrets):
        reading = source.read(empty, config, now)
        return reading if isinstance(reading, RequestRejection) and reading.status == 401 else None
    if headers is not None and not any(request.headers.get(name) for name in headers):
        reading = source.read(empty, config, now)
        return reading if isinstance(reading, RequestRejection) else None
    return None


def most_bytes(source: Source) -> int | None:
    """Bytes that a body of the kind may have, where that is less than any body may."""
    return MAX_UNSIGNED_BYTES if source.kind in _SIGNED_INSIDE else None
