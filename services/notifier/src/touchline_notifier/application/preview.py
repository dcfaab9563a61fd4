"""A preview: what plays would do with recorded facts. Nothing is sent, nothing is written."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from touchline_notifier.application.deciding.decide import DecisionContext
from touchline_notifier.application.ports import ActionRepository
from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.plays.preview import Previewed, RecordedFact, preview


async def preview_recorded(
    actions: ActionRepository | None, context: DecisionContext, found: Sequence[RecordedFact]
) -> list[Previewed]:
    """Everything the plays would do.

    Args:
        actions: None: nothing is known of any customer.
    """
    decider = context.decider
    histories = await _histories(actions, context, found)
    # What waits is followed for as long as any play waits.
    longest = max((play.max_age for play in decider.plays.values()), default=timedelta(0))
    until = max((recorded.at for recorded in found), default=datetime.now(UTC)) + longest
    return preview(decider, found, histories, until=until, to_customers=context.to_customers)


async def _histories(
    actions: ActionRepository | None, context: DecisionContext, found: Sequence[RecordedFact]
) -> dict[str, CustomerHistory]:
    """Customers as they are known now, with the actions from before the facts, and without positions."""
    customers = sorted({recorded.fact.customer_id for recorded in found})
    if actions is None or not customers:
        return {customer_id: CustomerHistory(customer_id) for customer_id in customers}
    start = min(recorded.at for recorded in found)
    histories = await actions.histories(customers, start, counted_since=start - context.widest_window)
    for history in histories.values():
        history.positions.clear()
        history.waiting.clear()
        history.counted = [counted for counted in history.counted if counted.at < start]
    return histories
