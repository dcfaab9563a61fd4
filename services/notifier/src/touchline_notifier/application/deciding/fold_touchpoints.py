"""Fold touchpoints into profiles: what has to be known of customers before an action. In the caller's transaction."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from touchline_schemas.touchpoint import Touchpoint
from touchline_schemas.touchpoint_types import PASSIVE_TYPES

from touchline_notifier.application.ports import Effect, Transaction
from touchline_notifier.core.plays.play import Goal, Play
from touchline_notifier.core.profiles.profile import MAIL_TRACKING, is_activity, suppression_of
from touchline_notifier.core.sequences.awaited import hits_of

_WATCHED = timedelta(days=180)
"""For how long after an action the customer's return and conversion are looked for."""


async def fold_touchpoints(
    tx: Transaction, touchpoints: Sequence[Touchpoint], plays: Mapping[str, Play], now: datetime
) -> None:
    """Fold touchpoints into their customers' profiles, and record the effects of earlier actions."""
    by_customer = await _by_customer(tx, touchpoints)
    if not by_customer:
        return
    # Before the profiles: every transaction locks runs first.
    await _note_awaited(tx, by_customer, now)
    profiles = await tx.customers.lock_profiles(by_customer, now)
    suppressions = []
    for customer_id, theirs in by_customer.items():
        for touchpoint in theirs:
            profiles[customer_id].take(touchpoint)
            suppression = suppression_of(touchpoint)
            if suppression is not None:
                suppressions.append(suppression)
    await tx.customers.save_profiles(profiles, now)
    await tx.customers.save_suppressions(suppressions)
    await _record_effects(tx, by_customer, plays, now)


async def _by_customer(tx: Transaction, touchpoints: Sequence[Touchpoint]) -> dict[str, list[Touchpoint]]:
    """Touchpoints by the customer they belong to now, without those from before an erasure."""
    keys = {touchpoint.key for touchpoint in touchpoints}
    aliases = await tx.customers.aliases(keys)
    erased = await tx.customers.erasures(keys | set(aliases.values()))
    found: dict[str, list[Touchpoint]] = defaultdict(list)
    for touchpoint in touchpoints:
        customer_id = aliases.get(touchpoint.key, touchpoint.key)
        erasures = [erased[key] for key in (touchpoint.key, customer_id) if key in erased]
        # One that is dated ahead of the clock was received before the erasure.
        if not erasures or min(touchpoint.occurred_at, touchpoint.received_at) > max(erasures):
            found[customer_id].append(touchpoint)
    return found


async def _note_awaited(tx: Transaction, by_customer: Mapping[str, Sequence[Touchpoint]], now: datetime) -> None:
    """Note touchpoints that customers' runs of sequences wait for. The owner of the customer's partition goes on."""
    await tx.runs.note(
        [
            (run.run_id, hit)
            for run in await tx.runs.listening(by_customer)
            for touchpoint in by_customer[run.customer_id]
            for hit in hits_of(run.definition, touchpoint)
        ],
        now,
    )


async def _record_effects(
    tx: Transaction, by_customer: Mapping[str, Sequence[Touchpoint]], plays: Mapping[str, Play], now: datetime
) -> None:
    """Record the first return and the first conversion after each action."""
    effects = []
    for action in await tx.actions.watched(by_customer, now - _WATCHED):
        play = plays.get(action.play)
        goal = play.goal if play is not None else Goal()
        later = [touch for touch in by_customer[action.customer_id] if touch.occurred_at > action.decided_at]
        # Who was held out has no mail to open: what is done with ours would compare with nothing.
        acts = [touch for touch in later if touch.source != MAIL_TRACKING]
        returned = [touch.occurred_at for touch in acts if is_activity(touch, PASSIVE_TYPES)]
        converted = [
            touch.occurred_at
            for touch in later
            if touch.type in goal.when and not touch.machine and touch.occurred_at <= action.decided_at + goal.within
        ]
        if returned or converted:
            effects.append(Effect(action.action_id, min(returned, default=None), min(converted, default=None)))
    await tx.actions.record_effects(effects)
