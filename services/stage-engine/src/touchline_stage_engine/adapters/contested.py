"""Touchpoints that several keys of one customer have brought under one (source, id), with contents that differ.

The least content counts. The others are kept as copies, so that the least of them takes its place when the key that
brought it is withdrawn, because it belongs to somebody else after all.
"""

from collections.abc import Iterable, Sequence

import asyncpg

from touchline_stage_engine.adapters import statements
from touchline_stage_engine.adapters.changes import read_arrival, touchpoint_row
from touchline_stage_engine.adapters.decoding import Arrival, content_digest


def content(arrival: Arrival) -> tuple[int, bytes]:
    """What decides between two contents: the smaller stays."""
    digest = content_digest(arrival.touchpoint, arrival.key, arrival.identifiers)
    return (arrival.touchpoint.occurred_at, digest)


class Contested:
    """One batch's withdrawals and copies. Withdrawals are looked up before the batch writes, and written first."""

    def __init__(self) -> None:
        self._withdrawn: dict[tuple[str, str], None] = {}
        self._gone: set[tuple[int, str]] = set()
        self._copies: dict[tuple[str, int, str], Arrival] = {}

    def withdraw(self, customer_id: str, alias: str) -> None:
        """Everything an alias had handed over to a customer until now goes."""
        self._withdrawn[customer_id, alias] = None

    def note(self, customer_id: str, arrivals: Iterable[Arrival]) -> None:
        """These claim to be the same touchpoint of a customer."""
        for arrival in arrivals:
            place = (customer_id, arrival.hash, arrival.key)
            if (known := self._copies.get(place)) is None or content(arrival) < content(known):
                self._copies[place] = arrival

    def is_gone(self, hash_: int, customer_id: str) -> bool:
        """Whether a stored touchpoint is one of those that are withdrawn."""
        return (hash_, customer_id) in self._gone

    async def look_up(self, connection: asyncpg.Connection) -> list[tuple[str, Arrival]]:
        """(customer, copy) of every copy of what is withdrawn that somebody else has brought."""
        if not self._withdrawn:
            return []
        customers, aliases = self._columns()
        rows = await connection.fetch(statements.FIND_TOUCHPOINTS_OF_KEYS, customers, aliases)
        self._gone = {(row["hash"], row["customer_id"]) for row in rows}
        if not rows:
            return []
        copies = await connection.fetch(
            statements.FIND_COPIES, [row["hash"] for row in rows], [row["customer_id"] for row in rows]
        )
        return [
            (row["customer_id"], read_arrival(row, row["customer_id"]))
            for row in copies
            if (row["customer_id"], row["original_key"]) not in self._withdrawn
        ]

    async def write_withdrawals(self, connection: asyncpg.Connection) -> dict[str, int]:
        """Take out what is withdrawn; how many touchpoints each customer loses."""
        lost = dict.fromkeys((customer_id for customer_id, _ in self._withdrawn), 0)
        if not lost:
            return lost
        customers, aliases = self._columns()
        for row in await connection.fetch(statements.DELETE_TOUCHPOINTS_OF_KEYS, customers, aliases):
            lost[row["customer_id"]] += 1
        await connection.execute(statements.DELETE_COPIES_OF_KEYS, customers, aliases)
        await connection.execute(statements.REMOVE_ALIASES, customers, aliases)
        return lost

    async def write_copies(self, connection: asyncpg.Connection) -> None:
        """Write each key's copy of what is contested."""
        if self._copies:
            rows = [
                (place[0], place[1], place[2], content(arrival)[1], *_columns_of(arrival))
                for place, arrival in self._copies.items()
            ]
            await connection.execute(statements.SAVE_COPIES, *map(list, zip(*rows, strict=True)))

    def _columns(self) -> tuple[list[str], list[str]]:
        return [customer_id for customer_id, _ in self._withdrawn], [alias for _, alias in self._withdrawn]


def _columns_of(arrival: Arrival) -> Sequence[object]:
    _, at, id_, source, _, type_, channel, flags, received_at, properties, identifiers, _ = touchpoint_row("", arrival)
    return (at, id_, source, type_, channel, flags, received_at, properties, identifiers)


async def own_copies(connection: asyncpg.Connection, key: str) -> list[Arrival]:
    """What a key has brought itself and what is not in its touchpoints, because another key's content counts there."""
    return [read_arrival(row, key) for row in await connection.fetch(statements.OWN_COPIES, key)]
