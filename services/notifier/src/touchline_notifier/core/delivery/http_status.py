"""What an HTTP answer means for a delivery (Standard Webhooks, "Deliverability and reliability").

==========================  =====================================================================
2xx                         delivered
410                         the endpoint wants no more
429, 502, 504               retry, and leave the endpoint as a whole alone for a while
3xx                         retry: a redirect is never followed, it could lead anywhere
400, 409, 411, 412, 413,    retry, and think no worse of the endpoint: it refuses this payload
414, 415, 417, 422, 431
anything else               retry: it may work by then
==========================  =====================================================================
"""

from datetime import datetime

from touchline_notifier.core.delivery.channel import Attempt, Delivered, EndpointGone, Retry
from touchline_notifier.core.delivery.schedule import parse_retry_after

_THROTTLING = frozenset({429, 502, 504})
_OWN = frozenset({400, 409, 411, 412, 413, 414, 415, 417, 422, 431})
"""The payload is at fault: an endpoint that is misconfigured or away answers with other codes."""
_LONGEST_EXCERPT = 300


def judge(status: int, retry_after: str | None, beginning: str, now: datetime) -> Attempt:
    """The result of an attempt that was answered.

    Args:
        status: the HTTP status.
        retry_after: the header, as it came.
        beginning: the first part of the answer's body, for people.
    """
    if 200 <= status < 300:
        return Delivered(status)
    excerpt = " ".join(beginning.split())[:_LONGEST_EXCERPT]
    why = f"answered {status}"
    if status == 410:
        return EndpointGone(why, status, excerpt)
    if 300 <= status < 400:
        why = f"answered {status}: redirects are not followed, put the final address into the endpoints file"
    throttled = status in _THROTTLING
    return Retry(
        why, parse_retry_after(retry_after, now), status, throttled=throttled, excerpt=excerpt, own=status in _OWN
    )
