"""A preview: what plays would do with recorded facts. Nothing is sent, nothing is written."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from touchline_notifier.application.deciding.decide import DecisionContext
from touchline_notifier.application.ports import Transaction
from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.plays.preview import Previewed, RecordedFact, preview
from touchline_notifier.core.sequences.program import longest_way


async def preview_recorded(
    tx: Transaction | None, context: DecisionContext, found: Sequence[RecordedFact]
) -> list[Previewed]:
    """Everything the plays would do.

    Args:
        tx: None: nothing is known of any customer.
    """
    return decide_recorded(context, *await load_recorded(tx, context, found))


def decide_recorded(
    context: DecisionContext, found: Sequence[RecordedFact], histories: Mapping[str, CustomerHistory]
) -> list[Previewed]:
    """Everything the plays would do for these customers."""
    decider = context.decider
    # What waits is followed for as long as any play waits.
    longest = max((play.max_age + longest_way(play.steps) for play in decider.plays.values()), default=timedelta(0))
    until = max((recorded.at for recorded in found), default=datetime.now(UTC)) + longest
    return preview(decider, found, histories, until=until, to_customers=context.to_customers)


async def load_recorded(
    tx: Transaction | None, context: DecisionContext, found: Sequence[RecordedFact]
) -> tuple[Sequence[RecordedFact], dict[str, CustomerHistory]]:
    """The facts that no erasure followed, and the customers in them.

    Customers are as they are known now, with the actions from before the facts, and without positions.
    """
    customers = sorted({recorded.fact.customer_id for recorded in found})
    if tx is None or not customers:
        return found, {customer_id: CustomerHistory(customer_id) for customer_id in customers}
    erased = await tx.customers.erasures(customers)
    found = [one for one in found if (at := erased.get(one.fact.customer_id)) is None or one.at > at]
    customers = sorted({recorded.fact.customer_id for recorded in found})
    start = min((recorded.at for recorded in found), default=datetime.now(UTC))
    histories = await tx.actions.histories(customers, start, counted_since=start - context.widest_window)
    for history in histories.values():
        history.positions.clear()
        history.waiting.clear()
        history.runs.clear()
        history.counted = [counted for counted in history.counted if counted.at < start]
    return found, histories
