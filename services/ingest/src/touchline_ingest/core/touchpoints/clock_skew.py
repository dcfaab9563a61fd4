"""Correcting a sender's clock, where the request says what that clock showed when it was sent."""

from datetime import datetime, timedelta

SKEW = timedelta(minutes=5)
"""Below this a difference between a sender's clock and ours is transit or a slow batch; beyond it the clock is wrong.

Correcting less would shift honest times and break the order of events.
"""


def corrected(happened: datetime, sent: datetime | None, now: datetime) -> datetime:
    """When something happened by our clock. Never later than the receipt, where the sender's clock is corrected.

    A time of sending before the event itself is no reading of the clock that the event was timed by: nothing is
    corrected by it.

    Args:
        happened: by the sender's clock, as are all times but ``now``.
        sent: when the request was sent; None: not said.
        now: the time of receipt.
    """
    if sent is None or abs(now - sent) <= SKEW or sent < happened:
        return happened
    try:
        return min(happened + (now - sent), now)
    except OverflowError:
        return happened
