"""The check just before every attempt, in the transaction that claims the deliveries.

A retry may come days after the decision, and an unsubscribe may come by another partition than the customer's: under
the address alone, before the engine has linked the two. Suppressions are kept by address, whatever reported them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from touchline_notifier.application.delivering.limits_before_send import LimitsBeforeSend
from touchline_notifier.application.ports import Checked, Transaction
from touchline_notifier.core.delivery.channel import Delivery
from touchline_notifier.core.delivery.conclusion import Expired, Withheld
from touchline_notifier.core.limits.pre_send import TOO_LATE, Asked, Verdict
from touchline_notifier.core.profiles.profile import Profile
from touchline_notifier.core.profiles.sending_rule import Person, Way, objections


class CheckBeforeSend:
    """Implements :data:`~touchline_notifier.application.ports.PreSendCheck`.

    Args:
        limits: checks the limits of plays; None where no plays are known: then only the deadline counts.
    """

    def __init__(self, limits: LimitsBeforeSend | None = None) -> None:
        self._limits = limits

    async def __call__(self, tx: Transaction, asked: Sequence[Asked], now: datetime) -> list[Checked]:
        """The deliveries with their customers' present addresses, and whether they may be sent."""
        actions = [item for item in asked if item.delivery.kind == "action"]
        addresses: dict[str, str] = {}
        if self._limits is not None:
            verdicts, addresses = await self._limits(tx, actions, now)
        else:
            late = [item for item in actions if item.deadline is not None and item.deadline < now]
            verdicts = {item.delivery.id: Expired(TOO_LATE) for item in late}
        deliveries = [_readdressed(item.delivery, addresses.get(item.delivery.id)) for item in asked]
        withheld = await refusals(tx, deliveries)
        return [Checked(delivery, verdicts.get(delivery.id) or withheld.get(delivery.id)) for delivery in deliveries]


async def refusals(tx: Transaction, deliveries: Sequence[Delivery]) -> Mapping[str, Verdict]:
    """Delivery id → why the customer or the address must not get it any more."""
    ways = {item.id: _way(item) for item in deliveries}
    concerned = [item for item in deliveries if ways[item.id] != Way()]
    addresses = {item.message.to for item in concerned if item.message.to is not None}
    suppressions = await tx.customers.suppressions(addresses)
    profiles = await tx.customers.profiles({item.customer_id for item in concerned})
    found: dict[str, Verdict] = {}
    for item in concerned:
        address = item.message.to
        profile = profiles.get(item.customer_id, Profile())
        person = Person(profile, address, suppressions.get(address) if address is not None else None)
        if (objection := next(objections(person, ways[item.id]), None)) is not None:
            found[item.id] = Withheld(objection.code, objection.text)
    return found


def _way(delivery: Delivery) -> Way:
    message = delivery.message
    return Way(message.consent or "", delivery.channel if message.to_customer else "")


def _readdressed(delivery: Delivery, address: str | None) -> Delivery:
    return delivery if address is None else replace(delivery, message=replace(delivery.message, to=address))
