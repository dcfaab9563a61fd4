"""Stored touchpoints, copies of conflicting contents, and outcomes in memory."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any

import orjson

from touchline_stage_engine.adapters.memory.database import MemoryDatabase, Row
from touchline_stage_engine.application.batches.changes import (
    MACHINE,
    TOUCHPOINT_COLUMNS,
    read_arrival,
    read_touchpoint,
    touchpoint_row,
)
from touchline_stage_engine.application.batches.conflicting_contents import content
from touchline_stage_engine.application.batches.folding import END, START
from touchline_stage_engine.application.batches.touchpoint_outcomes import NotedOutcome, Outcome
from touchline_stage_engine.application.values import (
    READ_AT_ONCE,
    LinkingTouchpoint,
    TouchpointRange,
)
from touchline_stage_engine.core.decoding import Arrival
from touchline_stage_engine.core.touchpoint import Order, Touchpoint


def _order(row: Row) -> Order:
    return (row["occurred_at"], row["id"], row["source"])


class MemoryTouchpoints:
    """Implements `ports.TouchpointTable`."""

    def __init__(self, database: MemoryDatabase, partition: int) -> None:
        self._database = database
        self._partition = partition

    def _of(self, customer_id: str) -> list[Row]:
        rows = [row for row in self._database.touchpoints.values() if row["customer_id"] == customer_id]
        return sorted(rows, key=_order)

    async def find(self, pairs: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Arrival]:
        rows = self._database.touchpoints
        return {
            (hash_, customer_id): read_arrival(rows[customer_id, hash_], customer_id)
            for hash_, customer_id in pairs
            if (customer_id, hash_) in rows
        }

    async def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        for values in rows:
            row = dict(zip(TOUCHPOINT_COLUMNS, values, strict=True))
            key = (row["customer_id"], row["hash"])
            assert key not in self._database.touchpoints, f"{key} is stored already"
            self._database.touchpoints[key] = row

    async def delete(self, pairs: Sequence[tuple[int, str]]) -> None:
        for hash_, customer_id in pairs:
            self._database.touchpoints.pop((customer_id, hash_), None)

    async def count(self, customer_id: str) -> tuple[int, int | None]:
        rows = self._of(customer_id)
        return len(rows), max((row["occurred_at"] for row in rows), default=None)

    async def last_order(self, customer_id: str) -> Order | None:
        return max((_order(row) for row in self._of(customer_id) if not row["flags"] & MACHINE), default=None)

    def _range(self, asked: TouchpointRange) -> list[Row]:
        return [row for row in self._of(asked.customer_id) if asked.after < _order(row) <= asked.through]

    async def first_of(self, ranges: Sequence[TouchpointRange]) -> dict[str, list[Touchpoint]]:
        found = {}
        for asked in ranges:
            if rows := self._range(asked)[:READ_AT_ONCE]:
                found[asked.customer_id] = [read_touchpoint(row) for row in rows]
        return found

    async def between(self, asked: TouchpointRange) -> AsyncGenerator[list[Touchpoint], None]:
        rows = self._range(asked)
        for begin in range(0, len(rows), READ_AT_ONCE):
            yield [read_touchpoint(row) for row in rows[begin : begin + READ_AT_ONCE]]

    async def filed_under(self, key: str) -> AsyncGenerator[list[Arrival], None]:
        rows = self._range(TouchpointRange(key, START, END))
        for begin in range(0, len(rows), READ_AT_ONCE):
            chunk = rows[begin : begin + READ_AT_ONCE]
            yield [read_arrival(row, key) for row in chunk if row["original_key"] is None]

    async def linking(self, key: str) -> list[LinkingTouchpoint]:
        own = [row for row in self._of(key) if row["original_key"] is None]
        return [
            LinkingTouchpoint(
                *_order(row),
                row["identifiers"],
                row["received_at"],
                orjson.loads(row["properties"]).get("previous_id") if row["type"] == "aliased" else None,
            )
            for row in [*own, *self._own_copies(key)]
            if row["identifiers"] is not None and not row["flags"] & MACHINE
        ]

    async def find_transferred(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[int, str]]:
        wanted = set(pairs)
        return [
            (row["hash"], row["customer_id"])
            for row in self._database.touchpoints.values()
            if (row["customer_id"], row["original_key"]) in wanted
        ]

    async def find_copies(self, touchpoints: Iterable[tuple[int, str]]) -> list[tuple[str, Arrival]]:
        wanted = set(touchpoints)
        return [
            (customer_id, read_arrival(row, customer_id))
            for (customer_id, hash_, _), row in self._database.copies.items()
            if (hash_, customer_id) in wanted
        ]

    async def delete_transferred(self, pairs: Iterable[tuple[str, str]]) -> list[str]:
        wanted = set(pairs)
        deleted = await self.find_transferred(wanted)
        await self.delete(deleted)
        for customer_id, hash_, key in list(self._database.copies):
            if (customer_id, key) in wanted:
                del self._database.copies[customer_id, hash_, key]
        for pair in wanted:
            self._database.aliases.pop(pair, None)
        return [customer_id for _, customer_id in deleted]

    async def save_copies(self, copies: Mapping[tuple[str, int, str], Arrival]) -> None:
        for key, arrival in copies.items():
            stored = self._database.copies.get(key)
            if stored is None or content(arrival) < content(read_arrival(stored, key[0])):
                row = dict(zip(TOUCHPOINT_COLUMNS, touchpoint_row(key[0], arrival), strict=True))
                self._database.copies[key] = {**row, "original_key": key[2]}

    def _own_copies(self, key: str) -> list[Row]:
        found = []
        for (customer_id, hash_, original_key), row in self._database.copies.items():
            if customer_id == key == original_key:
                stored = self._database.touchpoints.get((key, hash_))
                if stored is None or stored["original_key"] is not None:
                    found.append(row)
        return found

    async def own_copies(self, key: str) -> list[Arrival]:
        return [read_arrival(row, key) for row in self._own_copies(key)]

    async def save_outcomes(self, outcomes: Mapping[tuple[int, Outcome], NotedOutcome], now: int) -> None:
        for (hash_, outcome), noted in outcomes.items():
            key = (hash_, outcome, self._partition)
            before = self._database.outcomes.get(key)
            times = noted.times + (0 if before is None else before[1].times)
            self._database.outcomes[key] = (now, noted._replace(times=times))

    async def trim_outcomes(self, before: int, limit: int) -> int:
        old = sorted(
            (at, key) for key, (at, _) in self._database.outcomes.items() if key[2] == self._partition and at < before
        )[:limit]
        for _, key in old:
            del self._database.outcomes[key]
        return len(old)
