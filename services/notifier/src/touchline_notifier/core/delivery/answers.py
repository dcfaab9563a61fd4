"""What an HTTP answer means for a delivery (Standard Webhooks, "Deliverability and reliability").

==========================  =====================================================================
2xx                         delivered
410                         the endpoint wants no more
429, 502, 504               retry, and leave the endpoint as a whole alone for a while
3xx                         retry: a redirect is never followed, it could lead anywhere
anything else               retry: it may be mended by then
==========================  =====================================================================
"""

from datetime import datetime

from touchline_notifier.core.channel import Attempt, Delivered, EndpointGone, Retry
from touchline_notifier.core.delivery.schedule import parse_retry_after

_THROTTLING = frozenset({429, 502, 504})
_LONGEST_EXCERPT = 300


def judge(status: int, retry_after: str | None, beginning: str, now: datetime) -> Attempt:
    """What became of an attempt that was answered.

    Args:
        status: the HTTP status.
        retry_after: the header, as it came.
        beginning: the first part of the answer's body, for people.
    """
    if 200 <= status < 300:
        return Delivered(status)
    said = " ".join(beginning.split())[:_LONGEST_EXCERPT]
    why = f"answered {status}" + (f": {said}" if said else "")
    if status == 410:
        return EndpointGone(why, status)
    if 300 <= status < 400:
        why = f"answered {status}: redirects are not followed, put the final address into the endpoints file"
    return Retry(why, parse_retry_after(retry_after, now), status, throttled=status in _THROTTLING)
