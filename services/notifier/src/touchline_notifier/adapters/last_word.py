"""Asked just before every attempt: has the customer, or their address, said no since it was decided?

A retry may come days after the decision, and an unsubscribe may come by another partition than the customer's: under
the address alone, before the engine has linked the two. Suppressions are kept by address, whoever said it.
"""

from collections.abc import Sequence

import orjson

from touchline_notifier.adapters import decision_sql as sql
from touchline_notifier.adapters.hashes import Hashes
from touchline_notifier.adapters.outbox import Connection
from touchline_notifier.adapters.profiles import suppressed
from touchline_notifier.core.channel import Delivery
from touchline_notifier.core.delivery.conclusion import Withheld
from touchline_notifier.core.limits import refused, suppressed_address
from touchline_notifier.core.profile import Profile


async def objections(connection: Connection, deliveries: Sequence[Delivery], hashes: Hashes) -> dict[str, Withheld]:
    """Delivery id → why it must not be sent any more, for those of which that is so."""
    addresses = {one.message.to for one in deliveries if one.message.to_customer and one.message.to is not None}
    reasons = await suppressed(connection, addresses, hashes)
    asked = sorted({one.customer_id for one in deliveries if one.message.consent is not None})
    rows = await connection.fetch(sql.PROFILES, asked) if asked else []
    profiles = {row["customer_id"]: Profile.from_row(orjson.loads(row["profile"])) for row in rows}
    found: dict[str, Withheld] = {}
    for one in deliveries:
        message, profile = one.message, profiles.get(one.customer_id)
        if message.to_customer and message.to in reasons:
            hold = suppressed_address(reasons[message.to])
        elif message.consent is not None and profile is not None and profile.consent(message.consent) is False:
            hold = refused(message.consent)
        else:
            continue
        found[one.id] = Withheld(hold.code, hold.text)
    return found
