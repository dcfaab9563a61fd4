"""Record consent for a channel, or its refusal: it takes effect at once, and becomes a touchpoint."""

import re
from collections.abc import Collection
from datetime import datetime, timedelta

from touchline_schemas.partitions import partition_of
from touchline_schemas.touchpoint import Touchpoint
from uuid_utils import uuid7

from touchline_notifier.application.ports import Transaction
from touchline_notifier.core.decisions.outbox_records import touchpoint_event
from touchline_notifier.core.profiles.profile import MAIL_WIDE, UNSUBSCRIBE_LINK, Profile, Suppression
from touchline_notifier.core.profiles.sending_rule import Person, Way, held_ways

_CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""What a touchpoint's channel may be. A play's ``consent_channel`` may be more: the properties hold it unchanged."""
_NEXT = timedelta(microseconds=1)


async def set_consent(
    tx: Transaction,
    partitions: int,
    customer_id: str,
    channel: str,
    *,
    given: bool,
    now: datetime,
    carriers: Collection[str] = ("email",),
) -> bool:
    """Record a customer's consent, and publish it as a touchpoint.

    For ``email`` and ``all`` it counts for the customer's address too, as an opt-out or its end. It lifts no
    suppression after a bounce or a complaint, and none of an operator. A refusal of either refuses every topic again
    that was joined before.

    Args:
        carriers: the channels that carry messages of the channel: what is given holds against a refusal of theirs.

    Returns:
        Whether anything changed.
    """
    if await tx.customers.erasures([customer_id]) and not await tx.customers.profiles([customer_id]):
        return False  # nothing is kept of an erased customer, and nothing is sent
    profiles = await tx.customers.lock_profiles([customer_id], now)
    person = await person_of(tx, profiles[customer_id])
    if _is_recorded(person, channel, given=given, carriers=carriers):
        return False
    at = _after(person, now)
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
    person.profile.take(touchpoint)
    await tx.customers.save_profiles(profiles, now)
    if person.address is not None and channel in MAIL_WIDE:
        await tx.customers.save_suppressions([Suppression(person.address, kind, at, lifted=given, by_page=True)])
    await tx.append_outbox(partition_of(customer_id, partitions), [touchpoint_event(touchpoint)])
    return True


async def person_of(tx: Transaction, profile: Profile) -> Person:
    """A customer with what is stored about their address."""
    address = profile.email
    stored = await tx.customers.suppressions([address]) if address is not None else {}
    return Person(profile, address, stored.get(address or ""))


def _is_recorded(person: Person, channel: str, *, given: bool, carriers: Collection[str]) -> bool:
    said = person.profile.consent(channel)
    if given:
        return said is True and not held_ways(person, [Way(channel, carrier) for carrier in ("", *carriers)])
    if said is not False:
        return False
    if channel not in MAIL_WIDE and channel not in carriers:
        return True
    # It refuses every topic, so one that was joined since has to be refused again.
    opted_out = person.suppressions is not None and person.suppressions.opt_out is not None
    return not person.profile.gave_consent_since(channel) and (person.address is None or opted_out)


def _after(person: Person, now: datetime) -> datetime:
    """Now, or just after what a clock ahead of ours dated later: this is the later decision."""
    latest = person.profile.last_consent_at
    at = max(now, latest + _NEXT) if latest is not None else now
    return person.suppressions.after(at) if person.suppressions is not None else at
