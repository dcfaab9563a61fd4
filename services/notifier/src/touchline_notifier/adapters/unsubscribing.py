"""A customer's own word, by the link in a mail: it counts at once, and becomes a touchpoint on their timeline."""

from datetime import datetime

import asyncpg
from touchline_schemas.ids import uuid7
from touchline_schemas.partitions import partition_of
from touchline_schemas.touchpoint import Touchpoint

from touchline_notifier.adapters import decision_sql as sql
from touchline_notifier.adapters import outbox
from touchline_notifier.adapters.hashes import Hashes
from touchline_notifier.adapters.profiles import lock_profiles, save_profiles, save_suppressions
from touchline_notifier.core.outgoing import touchpoint_event
from touchline_notifier.core.profile import Suppression

SOURCE = "unsubscribe-link"


class UnsubscribeLinks:
    """The notifier's side of the links."""

    def __init__(self, pool: asyncpg.Pool, hashes: Hashes, partitions: int) -> None:
        self._pool = pool
        self._hashes = hashes
        self._partitions = partitions

    async def __call__(self, customer_id: str, channel: str, now: datetime) -> None:
        """Refuse consent for a channel; of somebody who was erased nothing is kept, and nothing is sent."""
        async with self._pool.acquire() as connection, connection.transaction():
            onward = await connection.fetchval("SELECT customer_id FROM aliases WHERE old_key = $1", customer_id)
            who = str(onward or customer_id)
            hashed = [self._hashes.customer(key) for key in {customer_id, who}]
            if await connection.fetch(sql.ERASURES, hashed):
                return
            touchpoint = Touchpoint(
                id=str(uuid7()),
                type="unsubscribed",
                channel=channel,
                direction="inbound",
                customer_id=who,
                occurred_at=now,
                received_at=now,
                source=SOURCE,
                properties={"channel": channel},
            )
            profiles = await lock_profiles(connection, [who], now)
            profiles[who].take(touchpoint)
            await save_profiles(connection, profiles, now)
            address = profiles[who].email
            if channel == "email" and address is not None:
                await save_suppressions(connection, [Suppression(address, "unsubscribed", now)], self._hashes)
            await outbox.append(connection, partition_of(who, self._partitions), [touchpoint_event(touchpoint)])
