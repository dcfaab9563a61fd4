"""Record consent for a channel, or its refusal: it takes effect at once, and becomes a touchpoint."""

import re
from datetime import datetime, timedelta

from touchline_schemas.partitions import partition_of
from touchline_schemas.touchpoint import Touchpoint
from uuid_utils import uuid7

from touchline_notifier.application.ports import Transaction
from touchline_notifier.core.decisions.outbox_records import touchpoint_event
from touchline_notifier.core.profiles.profile import UNSUBSCRIBE_LINK, Profile, Suppression

_CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""What a touchpoint's channel may be. A play's ``consent_channel`` may be more: the properties hold it unchanged."""
_NEXT = timedelta(microseconds=1)


async def set_consent(
    tx: Transaction, partitions: int, customer_id: str, channel: str, *, given: bool, now: datetime
) -> bool:
    """Record a customer's consent, and publish it as a touchpoint.

    Returns:
        Whether anything changed.
    """
    if await tx.customers.erasures([customer_id]) and not await tx.customers.profiles([customer_id]):
        return False  # nothing is kept of an erased customer, and nothing is sent
    profiles = await tx.customers.lock_profiles([customer_id], now)
    profile = profiles[customer_id]
    address = profile.email if channel == "email" else None
    suppressed = await tx.customers.suppressed([address]) if address is not None else {}
    said = profile.consent(channel)
    if given and said is True and address not in suppressed:
        return False
    if not given and said is False and (address is None or address in suppressed):
        return False
    at = _after(profile, channel, now)
    kind = "subscribed" if given else "unsubscribed"
    touchpoint = Touchpoint(
        id=str(uuid7()),
        type=kind,
        channel=channel if _CHANNEL.fullmatch(channel) else "email",
        direction="inbound",
        customer_id=customer_id,
        occurred_at=at,
        received_at=now,
        source=UNSUBSCRIBE_LINK,
        properties={"channel": channel},
    )
    profile.take(touchpoint)
    await tx.customers.save_profiles(profiles, now)
    if address is not None:
        await tx.customers.save_suppressions([Suppression(address, kind, at, lifted=given)])
    await tx.append_outbox(partition_of(customer_id, partitions), [touchpoint_event(touchpoint)])
    return True


def _after(profile: Profile, channel: str, now: datetime) -> datetime:
    """Now, or just after a consent that a clock ahead of ours dated later: this is the later decision."""
    given = profile.consented_at(channel)
    return max(now, given + _NEXT) if given is not None else now
