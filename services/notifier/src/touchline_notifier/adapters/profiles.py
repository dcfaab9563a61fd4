"""Touchpoints into profiles: what the notifier has to know of customers before it may act.

All functions run inside the caller's transaction.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import orjson
from touchline_schemas.touchpoint import Touchpoint
from touchline_schemas.touchpoint_types import PASSIVE_TYPES

from touchline_notifier.adapters import decision_sql as sql
from touchline_notifier.adapters.hashes import Hashes
from touchline_notifier.adapters.outbox import Connection
from touchline_notifier.core.play import Goal, Play
from touchline_notifier.core.profile import Profile, Suppression, is_activity, suppression_of

_WATCHED = timedelta(days=180)
"""How long after an action a customer's return and conversion are looked for."""


async def take_touchpoints(
    connection: Connection,
    touchpoints: Sequence[Touchpoint],
    *,
    hashes: Hashes,
    plays: Mapping[str, Play],
    now: datetime,
) -> None:
    """Fold touchpoints into their customers' profiles, and note what came of earlier actions."""
    by_customer = await _by_customer(connection, touchpoints, hashes)
    if not by_customer:
        return
    profiles = await lock_profiles(connection, by_customer, now)
    suppressions: list[Suppression] = []
    for customer_id, theirs in by_customer.items():
        profile = profiles[customer_id]
        for touchpoint in theirs:
            profile.take(touchpoint)
            suppression = suppression_of(touchpoint, profile.email)
            if suppression is not None:
                suppressions.append(suppression)
    await save_profiles(connection, profiles, now)
    await save_suppressions(connection, suppressions, hashes)
    await _observe(connection, by_customer, plays, now)


async def _by_customer(
    connection: Connection, touchpoints: Sequence[Touchpoint], hashes: Hashes
) -> dict[str, list[Touchpoint]]:
    """Touchpoints by the customer they belong to by now, without those from before an erasure."""
    keys = {touchpoint.key for touchpoint in touchpoints}
    aliases = {row["old_key"]: row["customer_id"] for row in await connection.fetch(sql.ALIASES, list(keys))}
    hashed = {hashes.customer(key): key for key in keys | set(aliases.values())}
    erased = {hashed[row["key_hash"]]: row["erased_at"] for row in await connection.fetch(sql.ERASURES, list(hashed))}
    found: dict[str, list[Touchpoint]] = defaultdict(list)
    for touchpoint in touchpoints:
        customer_id = aliases.get(touchpoint.key, touchpoint.key)
        gone = [erased[key] for key in (touchpoint.key, customer_id) if key in erased]
        if not gone or touchpoint.occurred_at > max(gone):
            found[customer_id].append(touchpoint)
    return found


async def lock_profiles(connection: Connection, customer_ids: Iterable[str], now: datetime) -> dict[str, Profile]:
    """Profiles, made where missing, that nobody else changes until the transaction ends."""
    ordered = sorted(customer_ids)
    await connection.execute(sql.NEW_PROFILES, ordered, now)
    rows = await connection.fetch(sql.LOCK_PROFILES, ordered)
    return {row["customer_id"]: Profile.from_row(orjson.loads(row["profile"])) for row in rows}


async def save_profiles(connection: Connection, profiles: Mapping[str, Profile], now: datetime) -> None:
    """Write profiles that were locked before."""
    texts = [orjson.dumps(profile.to_row()).decode() for profile in profiles.values()]
    await connection.execute(sql.SAVE_PROFILES, list(profiles), texts, now)


async def save_suppressions(connection: Connection, suppressions: Sequence[Suppression], hashes: Hashes) -> None:
    """Write suppressions; of several of one address in one batch, in order of time."""
    latest: dict[tuple[bytes, bool], Suppression] = {}
    for one in sorted(suppressions, key=lambda suppression: suppression.at):
        latest[hashes.address(one.address), one.lifted] = one
    for lifted in (False, True):
        # One statement can't touch a row twice.
        chosen = sorted((key[0], one) for key, one in latest.items() if key[1] == lifted)
        if chosen:
            await connection.execute(
                sql.SAVE_SUPPRESSIONS,
                [key for key, _ in chosen],
                [one.reason for _, one in chosen],
                [one.at for _, one in chosen],
                [lifted] * len(chosen),
            )


async def suppressed(connection: Connection, addresses: Iterable[str], hashes: Hashes) -> dict[str, str]:
    """address → why nothing may be sent to it, for those of which that is so."""
    by_hash = {hashes.address(address): address for address in addresses}
    rows = await connection.fetch(sql.SUPPRESSIONS, list(by_hash)) if by_hash else []
    return {by_hash[row["address_hash"]]: row["reason"] for row in rows}


async def _observe(
    connection: Connection,
    by_customer: Mapping[str, Sequence[Touchpoint]],
    plays: Mapping[str, Play],
    now: datetime,
) -> None:
    """Note the first return and the first conversion after each action."""
    rows = await connection.fetch(sql.OBSERVED, list(by_customer), now - _WATCHED)
    observed: list[tuple[str, datetime | None, datetime | None]] = []
    for row in rows:
        play = plays.get(row["play"])
        goal = play.goal if play is not None else Goal()
        theirs = [one for one in by_customer[row["customer_id"]] if one.occurred_at > row["decided_at"]]
        returned = [one.occurred_at for one in theirs if is_activity(one, PASSIVE_TYPES)]
        converted = [
            one.occurred_at
            for one in theirs
            if one.type in goal.when and not one.machine and one.occurred_at <= row["decided_at"] + goal.within
        ]
        if returned or converted:
            observed.append((row["action_id"], min(returned, default=None), min(converted, default=None)))
    if observed:
        ids, returns, conversions = (list(column) for column in zip(*observed, strict=True))
        await connection.execute(sql.SAVE_OBSERVED, ids, returns, conversions)
