"""Customers as a whole: two that turned out to be one, and one to be forgotten. Inside the caller's transaction."""

from datetime import datetime

from touchline_schemas.facts import CustomerErased, CustomerMerged
from touchline_schemas.partitions import partition_of

from touchline_notifier.adapters import decision_sql as sql
from touchline_notifier.adapters.hashes import Hashes
from touchline_notifier.adapters.outbox import Connection
from touchline_notifier.adapters.profiles import lock_profiles, save_profiles


async def merge(connection: Connection, news: CustomerMerged, partitions: int, now: datetime) -> None:
    """Give the customer all that was known of the old key, and what comes later under it."""
    old = news.customer_id
    onward = await connection.fetch(sql.ALIASES, [news.into])
    into = str(onward[0]["customer_id"]) if onward else news.into
    if into == old:
        return
    await connection.execute(sql.MERGE_ALIASES, old, into)
    await connection.execute(sql.NEW_ALIAS, old, into)
    profiles = await lock_profiles(connection, [old, into], now)
    profiles[into].merge(profiles[old])
    await save_profiles(connection, {into: profiles[into]}, now)
    await connection.execute(sql.FORGET_PROFILE, [old])
    await connection.execute(sql.FORGET_STANDING, [old])
    # What they were sent counts against the caps of the customer they are.
    await connection.execute(sql.MERGE_ACTIONS, old, into, partition_of(into, partitions))
    await connection.execute(sql.MERGE_DELIVERIES, old, into, partition_of(into, partitions))


async def erase(connection: Connection, news: CustomerErased, hashes: Hashes) -> None:
    """Forget a customer and every key that was part of them; only keyed hashes stay, with the time."""
    rows = await connection.fetch(sql.KEYS_OF, news.customer_id)
    keys = [news.customer_id, *(row["old_key"] for row in rows)]
    await connection.execute(sql.FORGET_DELIVERIES, keys)
    await connection.execute(sql.FORGET_ACTIONS, keys)
    await connection.execute(sql.FORGET_STANDING, keys)
    await connection.execute(sql.FORGET_PROFILE, keys)
    await connection.execute(sql.FORGET_ALIASES, news.customer_id)
    await connection.execute(sql.REMEMBER_ERASURE, [hashes.customer(key) for key in keys], news.occurred_at)
