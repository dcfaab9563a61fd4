"""Customers in PostgreSQL: profiles, aliases, suppressions, erasures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import orjson
from touchline_schemas.events.facts import CustomerErased, CustomerMerged
from touchline_schemas.mail_events import UNSUBSCRIBED
from touchline_schemas.partitions import partition_of

from touchline_notifier.adapters.postgres import decision_statements as sql
from touchline_notifier.adapters.postgres.audiences.statements import FORGET_MEMBER
from touchline_notifier.adapters.postgres.outbox import Connection
from touchline_notifier.adapters.postgres.sequences.runs import Runs
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_notifier.core.profiles.address_suppressions import AddressSuppressions
from touchline_notifier.core.profiles.profile import Profile, Suppression


class Customers:
    """Implements :class:`~touchline_notifier.application.ports.CustomerRepository` on one connection."""

    def __init__(self, connection: Connection, hashes: Hashes, partitions: int, runs: Runs | None = None) -> None:
        self._connection = connection
        self._runs = runs or Runs(connection)
        self._hashes = hashes
        self._partitions = partitions

    async def aliases(self, keys: Iterable[str]) -> dict[str, str]:
        rows = await self._connection.fetch(sql.ALIASES, list(keys))
        return {row["old_key"]: str(row["customer_id"]) for row in rows}

    async def erasures(self, keys: Iterable[str]) -> dict[str, datetime]:
        hashed = {self._hashes.customer(key): key for key in keys}
        rows = await self._connection.fetch(sql.ERASURES, list(hashed))
        return {hashed[row["key_hash"]]: row["erased_at"] for row in rows}

    async def profiles(self, customer_ids: Iterable[str]) -> dict[str, Profile]:
        ids = sorted(customer_ids)
        return _profiles(await self._connection.fetch(sql.PROFILES, ids)) if ids else {}

    async def lock_profiles(self, customer_ids: Iterable[str], now: datetime) -> dict[str, Profile]:
        ordered = sorted(customer_ids)
        await self._connection.execute(sql.NEW_PROFILES, ordered, now)
        return _profiles(await self._connection.fetch(sql.LOCK_PROFILES, ordered))

    async def save_profiles(self, profiles: Mapping[str, Profile], now: datetime) -> None:
        texts = [orjson.dumps(profile.to_row()).decode() for profile in profiles.values()]
        await self._connection.execute(sql.SAVE_PROFILES, list(profiles), texts, now)

    async def suppressions(self, addresses: Iterable[str]) -> dict[str, AddressSuppressions]:
        hashed = {address: self._hashes.address(address) for address in addresses}
        rows = await self._connection.fetch(sql.SUPPRESSIONS, list(set(hashed.values()))) if hashed else []
        found = {row["address_hash"]: AddressSuppressions(*row[1:]) for row in rows}
        # Two spellings of one mailbox have one hash.
        return {address: found[key] for address, key in hashed.items() if key in found}

    async def save_suppressions(self, suppressions: Sequence[Suppression]) -> None:
        reports: dict[bytes, _Reports] = {}
        for suppression in suppressions:
            reports.setdefault(self._hashes.address(suppression.address), _Reports()).add(suppression)
        if reports:
            keys = sorted(reports)
            rows = [reports[key] for key in keys]
            await self._connection.execute(
                sql.SAVE_SUPPRESSIONS,
                keys,
                [row.block[1] if row.block is not None else None for row in rows],
                [row.block[0] if row.block is not None else None for row in rows],
                [row.lifted_at for row in rows],
                [row.opted_out_at for row in rows],
                [row.opted_in_at for row in rows],
            )

    async def merge(self, merges: Sequence[CustomerMerged], now: datetime) -> None:
        """Move all data of old keys to the customers they are merged into.

        No old key may occur twice, or be a target of another merge.
        """
        onward = await self.aliases(merge.into for merge in merges)
        merged = {merge.customer_id: onward.get(merge.into, merge.into) for merge in merges}
        merged = {old: into for old, into in merged.items() if old != into}
        if not merged:
            return
        execute = self._connection.execute
        old, into = list(merged), list(merged.values())
        partitions = [partition_of(customer_id, self._partitions) for customer_id in into]
        await execute(sql.MERGE_ALIASES, old, into)
        await execute(sql.NEW_ALIASES, old, into)
        profiles = await self.lock_profiles({*old, *into}, now)
        for old_key, customer_id in merged.items():
            profiles[customer_id].merge(profiles[old_key])
        await self.save_profiles({customer_id: profiles[customer_id] for customer_id in into}, now)
        await execute(sql.FORGET_PROFILE, old)
        await execute(sql.FORGET_STANDING, old)
        # What the old key was sent counts against the caps of the customer.
        await execute(sql.MERGE_ACTIONS, old, into, partitions)
        await execute(sql.MERGE_DELIVERIES, old, into, partitions)
        await self._runs.merge(old, into, partitions, now)
        await execute(sql.MERGE_ASSIGNMENTS, old, into)
        await execute(sql.FORGET_ASSIGNMENTS, old)

    async def erase(self, erasure: CustomerErased) -> None:
        execute = self._connection.execute
        rows = await self._connection.fetch(sql.KEYS_OF, erasure.customer_id)
        keys = [erasure.customer_id, *(row["old_key"] for row in rows)]
        await execute(sql.FORGET_DELIVERIES, keys)
        await execute(sql.FORGET_ACTIONS, keys)
        await self._runs.forget(keys)
        await execute(FORGET_MEMBER, keys)
        await execute(sql.FORGET_STANDING, keys)
        await execute(sql.FORGET_ASSIGNMENTS, keys)
        await execute(sql.FORGET_PROFILE, keys)
        await execute(sql.FORGET_ALIASES, erasure.customer_id)
        await execute(sql.REMEMBER_ERASURE, [self._hashes.customer(key) for key in keys], erasure.occurred_at)

    async def long_keys(self, digest: bytes) -> list[str]:
        """Customers, present or former, whose long id has this SHA-256."""
        return [str(row["key"]) for row in await self._connection.fetch(sql.LONG_KEYS_OF, digest)]


@dataclass(slots=True)
class _Reports:
    """The latest reports about one address, as one statement writes them: it can't write a row twice."""

    block: tuple[datetime, str] | None = None
    lifted_at: datetime | None = None
    opted_out_at: datetime | None = None
    opted_in_at: datetime | None = None

    def add(self, report: Suppression) -> None:
        if report.lifted and report.by_page:
            self.opted_in_at = max(self.opted_in_at or report.at, report.at)
        elif report.lifted:
            self.lifted_at = max(self.lifted_at or report.at, report.at)
        elif report.reason == UNSUBSCRIBED:
            self.opted_out_at = max(self.opted_out_at or report.at, report.at)
        else:
            block = report.at, report.reason
            self.block = max(self.block or block, block)


def _profiles(rows: Iterable[asyncpg.Record]) -> dict[str, Profile]:
    return {row["customer_id"]: Profile.from_row(orjson.loads(row["profile"]), row["customer_id"]) for row in rows}
