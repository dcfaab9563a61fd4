"""A partition's events in an order in which many can be taken at once, and every customer's own order stays.

Facts are taken together, and so are merges; but a merge comes after the facts before it of both its customers, and
before those after it. A history that is read in is full of merges: taken one by one, each would cut the facts in two.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from touchline_schemas.facts import CustomerErased

from touchline_notifier.core.facts import Fact, Told


@dataclass(slots=True)
class Wave:
    """Facts, and the news of customers as a whole that come after them.

    Of the news of one wave no two have a customer in common, but for several merges into the same one.
    """

    facts: list[Told] = field(default_factory=list)
    news: list[Told] = field(default_factory=list)


def waves(told: Iterable[Told]) -> list[Wave]:
    """Divide a partition's events, which come in order, into waves to be taken one after the other."""
    found: defaultdict[int, Wave] = defaultdict(Wave)
    facts_in: dict[str, int] = {}
    """Customer → the wave of their newest fact."""
    after_news: dict[str, int] = {}
    """Customer → the first wave after the newest news of them."""
    after_end: dict[str, int] = {}
    """Customer → the first wave after they were merged into another, or erased."""
    for one in told:
        event = one.event
        who = event.customer_id
        if isinstance(event, Fact):
            facts_in[who] = after_news.get(who, 0)
            found[facts_in[who]].facts.append(one)
            continue
        wave = max(facts_in.get(who, 0), after_news.get(who, 0))
        if not isinstance(event, CustomerErased):
            into = event.into
            wave = max(wave, facts_in.get(into, 0), after_end.get(into, 0), after_news.get(into, 1) - 1)
            after_news[into] = wave + 1
        found[wave].news.append(one)
        after_news[who] = after_end[who] = wave + 1
    return [found[number] for number in sorted(found)]
