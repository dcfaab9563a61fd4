"""Customers as a whole: two that turned out to be one, and one to be forgotten. Inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime

from touchline_schemas.facts import CustomerErased, CustomerMerged
from touchline_schemas.partitions import partition_of

from touchline_notifier.adapters import decision_sql as sql
from touchline_notifier.adapters.hashes import Hashes
from touchline_notifier.adapters.outbox import Connection
from touchline_notifier.adapters.profiles import lock_profiles, save_profiles


async def merge(connection: Connection, news: Sequence[CustomerMerged], partitions: int, now: datetime) -> None:
    """Give customers all that was known of old keys, and what comes later under them.

    No old key may be there twice, or be what another is merged into.
    """
    rows = await connection.fetch(sql.ALIASES, [one.into for one in news])
    onward = {row["old_key"]: str(row["customer_id"]) for row in rows}
    merged = {one.customer_id: onward.get(one.into, one.into) for one in news}
    merged = {old: into for old, into in merged.items() if old != into}
    if not merged:
        return
    old, into = list(merged), list(merged.values())
    places = [partition_of(customer_id, partitions) for customer_id in into]
    await connection.execute(sql.MERGE_ALIASES, old, into)
    await connection.execute(sql.NEW_ALIASES, old, into)
    profiles = await lock_profiles(connection, {*old, *into}, now)
    for old_key, customer_id in merged.items():
        profiles[customer_id].merge(profiles[old_key])
    await save_profiles(connection, {customer_id: profiles[customer_id] for customer_id in into}, now)
    await connection.execute(sql.FORGET_PROFILE, old)
    await connection.execute(sql.FORGET_STANDING, old)
    # What they were sent counts against the caps of the customer they are.
    await connection.execute(sql.MERGE_ACTIONS, old, into, places)
    await connection.execute(sql.MERGE_DELIVERIES, old, into, places)


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
