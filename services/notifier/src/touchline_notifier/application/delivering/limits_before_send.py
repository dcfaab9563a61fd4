"""Checks the limits, conditions and exits of plays for each attempt of an action.

The answer counts what other actions of the same customer have delivered, so one worker at a time checks a customer's
actions: the transaction that claims them holds an advisory lock on the customer.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from touchline_notifier.application.deciding.decide import DecisionContext
from touchline_notifier.application.plays.live import DecidingPlays
from touchline_notifier.application.ports import OtherAction, Transaction
from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.decisions.customer_history import Counted, CustomerHistory
from touchline_notifier.core.decisions.decide import precedence
from touchline_notifier.core.delivery.channel import Delivery
from touchline_notifier.core.limits.limits import Circumstances
from touchline_notifier.core.limits.pre_send import Asked, Deferred, Pending, Verdict, ask_before_sending

_JUST_DECIDED = timedelta(seconds=10)
"""What was decided within this time was decided on what is known now."""
_FRESH = timedelta(seconds=20)
"""Older decisions are sent only when everything published up to so long ago has been read."""
_WAIT_FOR_OTHERS_SECONDS = 120.0
"""How long a process waits for other partitions' touchpoints. The customer's own partition is always waited for."""
_SHORTEST_RETRY, _LONGEST_RETRY = timedelta(seconds=2), timedelta(seconds=30)


class LimitsBeforeSend:
    """Checks with the plays as they are when a delivery is claimed."""

    def __init__(self, plays: DecidingPlays, stream: str) -> None:
        self._plays = plays
        self._stream = stream
        self._plays_read_at = datetime.now(UTC)
        self._started = time.monotonic()

    async def __call__(
        self, tx: Transaction, asked: Sequence[Asked], now: datetime
    ) -> tuple[dict[str, Verdict], dict[str, str]]:
        """Check deliveries of actions, inside the transaction that claims them.

        Returns:
            delivery id → what follows; delivery id → the customer's present address, where the message has another.
        """
        if not asked:
            return {}, {}
        await tx.actions.lock_customers(item.delivery.customer_id for item in asked)
        found = await tx.actions.to_send([item.delivery.action_id or "" for item in asked])
        actions = {action.action_id: action for action, _ in found}
        partitions = {action.action_id: partition for action, partition in found}
        # After the actions: a play that was published before a decision of its own is known.
        context = await self._plays.as_of(tx.plays)
        customers = sorted({action.customer_id for action in actions.values()})
        histories = await tx.actions.histories(customers, now, counted_since=None)
        others = defaultdict[str, list[OtherAction]](list)
        for other in await tx.actions.others(customers, now, now - context.widest_window):
            others[other.action.customer_id].append(other)
        read = await tx.actions.read_through(self._stream)
        verdicts: dict[str, Verdict] = {}
        addresses: dict[str, str] = {}
        batch = {item.delivery.action_id for item in asked}
        going: set[str] = set()
        in_order = [item for item in asked if item.delivery.action_id in actions]
        in_order.sort(key=lambda item: _order(actions[item.delivery.action_id or ""]))
        for item in in_order:
            delivery = item.delivery
            action = actions[delivery.action_id or ""]
            history = histories[action.customer_id]
            waits = self._must_read_first(context, delivery, action, partitions[action.action_id], read, now)
            if waits is not None:
                verdicts[delivery.id] = waits
                continue
            history.counted, pending = _counts(action, others[action.customer_id], batch, going)
            verdict = ask_before_sending(
                context.decider.plays,
                action,
                history,
                Circumstances(now, to_customers=context.to_customers),
                deadline=item.deadline,
                plays_read_at=now if action.play in context.withdrawn else self._plays_read_at,
                pending=pending,
            )
            verdicts[delivery.id] = verdict
            if verdict is None:
                going.add(action.action_id)
                _readdress(delivery, history, addresses)
        return verdicts, addresses

    def _must_read_first(
        self,
        context: DecisionContext,
        delivery: Delivery,
        action: Action,
        partition: int,
        read: Mapping[int, datetime | None],
        now: datetime,
    ) -> Deferred | None:
        """After an outage, what customers said and did meanwhile is read before anything older is sent."""
        waited = now - action.decided_at
        if waited <= _JUST_DECIDED:
            return None
        needed = {partition}
        if delivery.message.to_customer and time.monotonic() - self._started < _WAIT_FOR_OTHERS_SECONDS:
            # An unsubscribe by the address alone is filed on the address's partition.
            needed |= set(range(context.partitions))
        behind = sorted(number for number in needed if (at := read.get(number)) is None or now - at > _FRESH)
        if not behind:
            return None
        again = min(max(waited / 20, _SHORTEST_RETRY), _LONGEST_RETRY)
        return Deferred(
            now + again, f"reading: touchpoints and facts of partitions {behind[:5]} are not read to the end"
        )


def _order(action: Action) -> tuple[int, datetime, float, str]:
    return precedence(action, action.customer_id)


def _counts(
    action: Action, others: Sequence[OtherAction], batch: set[str | None], going: set[str]
) -> tuple[list[Counted], list[Pending]]:
    """What was delivered to the customer, and what may be delivered yet, apart from the action itself."""
    rest = [other for other in others if other.action.action_id != action.action_id]
    pending = [
        Pending(
            other.counted,
            first=other.action.action_id in going
            or (other.under_way and other.action.action_id not in batch)
            or _order(other.action) < _order(action),
        )
        for other in rest
        if not other.delivered
    ]
    return [other.counted for other in rest if other.delivered], pending


def _readdress(delivery: Delivery, history: CustomerHistory, addresses: dict[str, str]) -> None:
    """Use the customer's present address: the old one may belong to another person by now."""
    address = history.profile.email
    if delivery.message.to_customer and address is not None and address != delivery.message.to:
        addresses[delivery.id] = address
