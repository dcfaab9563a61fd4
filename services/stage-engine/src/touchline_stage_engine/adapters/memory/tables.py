"""One partition's tables in memory: implements `ports.PartitionTables`."""

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from touchline_stage_engine.adapters.memory.audiences import MemoryAudiences
from touchline_stage_engine.adapters.memory.database import MemoryDatabase, Row
from touchline_stage_engine.adapters.memory.touchpoints import MemoryTouchpoints
from touchline_stage_engine.application.batches.changes import (
    CUSTOMER_COLUMNS,
    Changes,
    CustomerRows,
    customer_rows,
)
from touchline_stage_engine.application.batches.customers import Customer
from touchline_stage_engine.application.batches.folding import END, Checkpoint, CheckpointStates
from touchline_stage_engine.application.values import (
    CheckpointSpan,
    ErasureReceipt,
    ErasureRecord,
    HistoryCut,
)
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.generation import Generation
from touchline_stage_engine.core.identity.links import KeyIdentity, Link
from touchline_stage_engine.core.touchpoint import Order


class MemoryCustomers:
    """Implements `ports.CustomerTable`."""

    def __init__(self, database: MemoryDatabase, partition: int) -> None:
        self._database = database
        self._partition = partition

    async def load(
        self, keys: Sequence[str], folds: Sequence[Fold], generation: int, generations: Sequence[Generation]
    ) -> dict[str, Customer]:
        rows = self._database.customers
        return {
            key: Customer.load(rows[self._partition, key], folds, generation, generations)
            for key in keys
            if (self._partition, key) in rows
        }

    async def aliases_of(self, customer_ids: Sequence[str]) -> list[tuple[str, str]]:
        return [pair for pair in self._database.aliases if pair[0] in customer_ids]

    def _own(self) -> list[Row]:
        return [row for (partition, _), row in self._database.customers.items() if partition == self._partition]

    def _wakes(self) -> list[tuple[int, str, bool]]:
        """(wake_at, customer, whether it has links), in order."""
        return sorted(
            (row["wake_at"], row["customer_id"], row["identity"] is not None)
            for row in self._own()
            if row["wake_at"] is not None
        )

    async def with_timers_due(
        self, until: int, settled: int, after: tuple[int, str], limit: int
    ) -> list[tuple[str, int]]:
        return [
            (customer_id, at)
            for at, customer_id, linked in self._wakes()
            if at <= (min(until, settled) if linked else until) and (at, customer_id) > after
        ][:limit]

    async def next_wake(self, after: int | None = None) -> int | None:
        return next((at for at, _, _ in self._wakes() if after is None or at > after), None)

    async def postpone_wake(self, customer_id: str, until: int) -> None:
        key = (self._partition, customer_id)
        if key in self._database.customers:
            self._database.customers[key] = {**self._database.customers[key], "wake_at": until}

    async def generations_after(self, customer_id: str, limit: int) -> list[tuple[str, int]]:
        found = sorted((row["customer_id"], row["generation"]) for row in self._own())
        return [pair for pair in found if pair[0] > customer_id][:limit]

    async def save(self, rows: CustomerRows) -> None:
        """Insert and update rows."""
        for row in (*rows.added, *rows.changed):
            self._database.customers[self._partition, row[0]] = dict(zip(CUSTOMER_COLUMNS, row, strict=True))


class MemoryHistory:
    """Implements `ports.HistoryTable`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def cut(self, cuts: Sequence[HistoryCut]) -> None:
        for key in await self.stored(cuts):
            del self._database.history[key]

    async def stored(self, cuts: Sequence[HistoryCut]) -> dict[tuple[str, str, int], tuple[Any, ...]]:
        return {
            key: row
            for cut in cuts
            for key, row in self._database.history.items()
            if key[:2] == cut[:2] and key[2] > cut.kept and (cut.through is None or key[2] <= cut.through)
        }

    async def delete(self, facts: Sequence[tuple[str, str, int]]) -> None:
        for key in facts:
            del self._database.history[key]

    async def delete_of(self, customer_ids: Sequence[str]) -> None:
        for key in [key for key in self._database.history if key[0] in customer_ids]:
            del self._database.history[key]
        for checkpoint in [key for key in self._database.checkpoints if key[0] in customer_ids]:
            del self._database.checkpoints[checkpoint]

    async def delete_checkpoints(self, spans: Sequence[CheckpointSpan]) -> None:
        for span in spans:
            for customer_id, order in list(self._database.checkpoints):
                if customer_id == span.customer_id and span.after < order < (span.before or END):
                    del self._database.checkpoints[customer_id, order]

    async def checkpoints_before(self, orders: Sequence[tuple[str, Order]]) -> dict[str, CheckpointStates]:
        found = {}
        for customer_id, before in orders:
            earlier = [order for owner, order in self._database.checkpoints if owner == customer_id and order < before]
            if earlier:
                last = max(earlier)
                found[customer_id] = CheckpointStates(last, self._database.checkpoints[customer_id, last])
        return found

    async def checkpoints_after(self, orders: Sequence[tuple[str, Order]]) -> dict[str, list[Checkpoint]]:
        found = {}
        for customer_id, after in orders:
            stored = sorted(
                (order, states)
                for (owner, order), states in self._database.checkpoints.items()
                if owner == customer_id and order > after
            )
            if stored:
                found[customer_id] = [Checkpoint(order, hashlib.sha256(states).digest()) for order, states in stored]
        return found

    async def add(self, facts: Sequence[tuple[Any, ...]], checkpoints: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows of facts and of checkpoints."""
        for fact in facts:
            assert fact[:3] not in self._database.history, f"{fact[:3]} is stored already"
            self._database.history[fact[:3]] = fact
        for customer_id, *order, states in checkpoints:
            key = (customer_id, (order[0], order[1], order[2]))
            assert key not in self._database.checkpoints, f"{key} is stored already"
            self._database.checkpoints[key] = states


class MemoryLinks:
    """Implements `ports.LinkTable`."""

    def __init__(self, database: MemoryDatabase, partition: int) -> None:
        self._database = database
        self._partition = partition

    async def load(self, all_of: Sequence[KeyIdentity], some_of: Sequence[tuple[KeyIdentity, str]] = ()) -> None:
        wanted = [
            (standing, other) for standing in all_of for key, other in self._database.links if key == standing.key
        ]
        for standing, other in [*wanted, *some_of]:
            stored = self._database.links.get((standing.key, other))
            if stored is not None and other not in standing.links and other not in standing.touched:
                standing.links[other] = Link.load(standing.key, other, orjson.loads(stored[1]))
        for standing in all_of:
            standing.complete = True

    async def shared_keys(self) -> set[str]:
        return {key for key, (partition, _) in self._database.shared_keys.items() if partition == self._partition}

    async def shared_key_limit(self) -> int | None:
        return self._database.shared_key_limits.get(self._partition)

    async def record_shared_key_limit(self, limit: int) -> None:
        self._database.shared_key_limits[self._partition] = limit

    async def keys_over(self, limit: int) -> list[str]:
        numbers: dict[str, int] = {}
        for (key, _), (partition, _) in self._database.links.items():
            if partition == self._partition:
                numbers[key] = numbers.get(key, 0) + 1
        return sorted(key for key, number in numbers.items() if number > limit)

    async def write(self, changes: Changes) -> None:
        """Write what a transaction has changed of links, shared keys and conflicts."""
        for pair, link in changes.links.items():
            if link is None:
                self._database.links.pop(pair, None)
            else:
                self._database.links[pair] = (self._partition, orjson.dumps(link.dump()))
        for key, number in changes.shared.items():
            if number is None:
                self._database.shared_keys.pop(key, None)
            else:
                self._database.shared_keys[key] = (self._partition, number)
        for pair, conflict in changes.conflicts.items():
            if conflict is None:
                self._database.conflicts.pop(pair, None)
            else:
                self._database.conflicts[pair] = conflict


class MemoryErasures:
    """Implements `ports.ErasureTable`."""

    def __init__(self, database: MemoryDatabase, partition: int) -> None:
        self._database = database
        self._partition = partition

    async def has_any(self) -> bool:
        return any(partition == self._partition for partition, _ in self._database.erasures)

    async def find(self, key_hashes: Sequence[bytes]) -> dict[bytes, ErasureRecord]:
        stored = self._database.erasures
        return {hash_: stored[self._partition, hash_] for hash_ in key_hashes if (self._partition, hash_) in stored}

    async def delete_customer(self, key: str, erased_at: int) -> dict[str, int]:
        database = self._database
        gone = [
            row
            for row in database.touchpoints.values()
            if row["customer_id"] == key and (row["occurred_at"] < erased_at or row["received_at"] < erased_at)
        ]
        for row in gone:
            del database.touchpoints[key, row["hash"]]
        removed = {"touchpoints": sum(row["original_key"] is None for row in gone)}
        tables: dict[str, dict[Any, Any]] = {
            "copies": database.copies, "history": database.history, "checkpoints": database.checkpoints,
            "stages": database.stages, "aliases": database.aliases, "links": database.links,
            "identity_conflicts": database.conflicts,
        }  # fmt: skip
        for name, table in tables.items():
            rows = [row_key for row_key in table if row_key[0] == key]
            for row_key in rows:
                del table[row_key]
            removed[name] = len(rows)
        memberships = [row_key for row_key in database.audience_members if row_key[0::2] == (self._partition, key)]
        for row_key in memberships:
            del database.audience_members[row_key]
        removed["audience_members"] = len(memberships)
        removed["shared_keys"] = int(database.shared_keys.pop(key, None) is not None)
        removed["customers"] = int(database.customers.pop((self._partition, key), None) is not None)
        return removed

    async def remember(self, key_hash: bytes, record: ErasureRecord) -> None:
        before = self._database.erasures.get((self._partition, key_hash), record)
        latest = ErasureRecord(*map(max, zip(before, record, strict=True)))
        self._database.erasures[self._partition, key_hash] = latest

    async def save_receipt(self, receipt: ErasureReceipt) -> None:
        key = (receipt.receipt, receipt.key_hash)
        before = self._database.receipts.get(key)
        if before is not None:
            asked, removed = before.asked + receipt.asked, before.removed or receipt.removed
            receipt = receipt._replace(asked=asked, removed=removed)
        self._database.receipts[key] = receipt


class MemoryTables:
    """Implements `ports.PartitionTables`."""

    def __init__(self, database: MemoryDatabase, row_key: tuple[str, str, int]) -> None:
        self._database = database
        self._row_key = row_key
        partition = row_key[2]
        self.customers = MemoryCustomers(database, partition)
        self.touchpoints = MemoryTouchpoints(database, partition)
        self.history = MemoryHistory(database)
        self.links = MemoryLinks(database, partition)
        self.erasures = MemoryErasures(database, partition)
        self.audiences = MemoryAudiences(database, partition)

    async def write(self, changes: Changes, names: Sequence[str], now: int) -> None:
        database, partition = self._database, self._row_key[2]
        position = database.partitions[self._row_key]
        await self.history.add(changes.history, changes.checkpoints)
        for key, published in changes.stages.items():
            if published is None:
                database.stages.pop(key, None)
            else:
                database.stages[key] = (
                    published.version, published.stage, published.entered_at, published.sequence, published.level,
                    published.since if published.level else None,
                )  # fmt: skip
        database.aliases |= dict.fromkeys(changes.aliases)
        await self.links.write(changes)
        await self.customers.save(await customer_rows(changes.customers.values(), names))
        for record in changes.outbox:
            position.last_outbox_id += 1
            database.outbox[partition, position.last_outbox_id] = record
        position.rebuilds += changes.rebuilds
