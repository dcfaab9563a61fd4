"""Divide a partition's events into batches that can be processed at once, and keep every customer's own order.

Facts are processed together, and so are merges; but a merge comes after the facts before it of both its customers, and
before those after it. Imported history is full of merges: processed one by one, each would divide the facts in two.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from touchline_schemas.events.facts import CustomerErased

from touchline_notifier.core.decisions.stage_events import Fact, StageEvent


@dataclass(slots=True)
class FactBatch:
    """Facts, and the merges and erasures that come after them.

    No two of a batch's merges and erasures have a customer in common, except merges into the same customer.
    """

    facts: list[StageEvent] = field(default_factory=list)
    news: list[StageEvent] = field(default_factory=list)


def fact_batches(events: Iterable[StageEvent]) -> list[FactBatch]:
    """Divide a partition's events, which come in order, into batches to be processed one after the other."""
    found: defaultdict[int, FactBatch] = defaultdict(FactBatch)
    facts_in: dict[str, int] = {}
    """Customer → the batch of their newest fact."""
    after_news: dict[str, int] = {}
    """Customer → the first batch after their newest merge or erasure."""
    after_end: dict[str, int] = {}
    """Customer → the first batch after they were merged into another, or erased."""
    for item in events:
        event = item.event
        customer_id = event.customer_id
        if isinstance(event, Fact):
            facts_in[customer_id] = after_news.get(customer_id, 0)
            found[facts_in[customer_id]].facts.append(item)
            continue
        batch = max(facts_in.get(customer_id, 0), after_news.get(customer_id, 0))
        if not isinstance(event, CustomerErased):
            into = event.into
            batch = max(batch, facts_in.get(into, 0), after_end.get(into, 0), after_news.get(into, 1) - 1)
            after_news[into] = batch + 1
        found[batch].news.append(item)
        after_news[customer_id] = after_end[customer_id] = batch + 1
    return [found[number] for number in sorted(found)]
