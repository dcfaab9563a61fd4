"""Names of customers, for pages of services that know them by id alone."""

from collections.abc import Iterable

from touchline_console.application.parts import part
from touchline_console.application.ports import Service

_MOST = 200
_LONGEST_QUERY = 6000
"""Characters of ids in one address; servers refuse longer ones."""


async def names(engine: Service, customer_ids: Iterable[str]) -> dict[str, str]:
    """Customer id → name, else e-mail address, of those that the engine knows one of. Empty while it is away."""
    asked: list[str] = []
    length = 0
    for customer_id in dict.fromkeys(customer_ids):
        length += 3 * len(customer_id.encode()) + 4
        if len(asked) == _MOST or length > _LONGEST_QUERY:
            break
        asked.append(customer_id)
    if not asked:
        return {}
    found = await part(engine.get("/v1/customer-summaries", id=asked))
    return {one["customer_id"]: label for one in found.items if (label := one["name"] or one["email"])}
