"""Reads generated posts, erase requests and reads of owners on the in-memory engine, in batches of any size."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import orjson
import time_machine
from touchline_schemas.cloudevents import to_headers
from touchline_schemas.times import to_wire
from touchline_stage_engine.application.identities.messages import ERASE_REQUESTED
from touchline_stage_engine.application.outbox_records import CUSTOMER_STAGES

from tests.support.engine.expected import now_micros
from tests.support.engine.memory_sessions import MemorySessions
from tests.support.engine.world import touchpoint

BEGIN = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
MOST = 300
"""Rounds of reading and publishing until everything must have come to an end."""


class Post(NamedTuple):
    """A touchpoint that occurred some minutes ago, and was received ``delay`` seconds later at most."""

    number: int
    minutes: int
    type: str
    delay: int
    identifiers: dict[str, str]


class Erase(NamedTuple):
    """A request to erase a person, made some seconds ago: by other ways than the touchpoints."""

    key: str
    seconds: int = 0


class Read(NamedTuple):
    """An owner reads everything that is there, and publishes what comes of it."""

    partition: int


Action = Post | Erase | Read
Ends = Callable[[int], list[int]]
"""Number of records → the sizes of the batches that they are read in."""


class Reader:
    """One run over a list of actions."""

    def __init__(self, partitions: int, limit: int, cached: int, ends: Ends) -> None:
        self.engine = MemorySessions(partitions=partitions, limit=limit, cached=cached)
        self._ends = ends

    async def run(self, actions: list[Action], clock: Any) -> None:
        for partition in self.engine.partitions:
            await self.engine.take(partition)
        for action in actions:
            clock.shift(timedelta(seconds=1))
            if isinstance(action, Post):
                self.post(action)
            elif isinstance(action, Erase):
                self.erase(action)
            else:
                await self.read(action.partition % len(self.engine.partitions))
        for _ in range(MOST):
            if self.engine.idle:
                return
            for partition in self.engine.partitions:
                await self.read(partition)
        raise AssertionError("messages between partitions do not come to an end")

    def post(self, made: Post) -> None:
        now = datetime.now(UTC)
        at = now - timedelta(minutes=made.minutes)
        received_at = min(now, at + timedelta(seconds=made.delay))
        named = {"previous_id": made.identifiers.get("anonymous_id")} if made.type == "aliased" else {}
        self.engine.topics.post(
            touchpoint(
                f"t{made.number}", at, type=made.type, received_at=to_wire(received_at), properties=named,
                **made.identifiers,
            )
        )  # fmt: skip

    def erase(self, made: Erase) -> None:
        now, topics = datetime.now(UTC), self.engine.topics
        headers = to_headers(id="e", type=ERASE_REQUESTED, source="/test", time=now, subject=made.key)
        receipt = f"00000000-0000-0000-0000-{len(topics.identity):012}"
        data = {"erased_at": now_micros() - made.seconds * 1_000_000, "by": None, "receipt": receipt}
        topics.append(topics.identity, "identity", made.key, orjson.dumps(data), headers)

    async def read(self, partition: int) -> None:
        touchpoints, messages = self.engine.topics.unread(partition)
        for size in self._ends(touchpoints + messages):
            own = min(touchpoints, size)
            await self.engine.step(partition, own, size - own)
            touchpoints -= own
        self.engine.publish(partition)

    def remains(self) -> dict[str, Any]:
        """Everything that is kept of everybody, and what subscribers of the compacted topic see."""
        database = self.engine.database
        compacted = {
            record.key: None if record.value is None else orjson.loads(record.value)["stage"]
            for record in self.engine.topics.published
            if record.topic == CUSTOMER_STAGES
        }
        linked = {key for key, _ in database.links}
        return {
            "touchpoints": {
                place: (row["occurred_at"], row["received_at"], row["type"], row["identifiers"], row["original_key"])
                for place, row in database.touchpoints.items()
            },
            "ids": {row["id"] for row in database.touchpoints.values()},
            # One content alone may be kept as a copy or not.
            "copies": {
                place
                for place in database.copies
                if any(place[:2] == another[:2] for another in database.copies if another != place)
            },
            "customers": {
                key: (row["touchpoints"], row["erased_before"], row["merged_into"])
                for (_, key), row in database.customers.items()
                # Who had touchpoints or links for a moment only may have a row that says nothing, unless erased before.
                if row["touchpoints"] or key in linked or row["erased_before"] is not None
            },
            "stages": {place: row[1:3] for place, row in database.stages.items()},
            "history": database.history.keys(),
            "aliases": database.aliases.keys(),
            "links": database.links.keys(),
            "conflicts": {(conflict.customer_a, conflict.customer_b) for conflict in database.conflicts.values()},
            "shared": database.shared_keys,
            "erasures": {place: one.erased_at for place, one in database.erasures.items()},
            "receipts": {
                place: (one.asked, one.removed.get("touchpoints")) for place, one in database.receipts.items()
            },
            "compacted": {key: stage for key, stage in compacted.items() if stage is not None},
        }  # fmt: skip


def at_once(records: int) -> list[int]:
    return [records] if records else []


def one_by_one(records: int) -> list[int]:
    return [1] * records


def at_random(seed: int) -> Ends:
    random = Random(seed)

    def sizes(records: int) -> list[int]:
        found = []
        while records:
            found.append(random.randint(1, records))
            records -= found[-1]
        return found

    return sizes


def remains(
    actions: list[Action], ends: Ends, partitions: int, limit: int, cached: int, kind: type[Reader] = Reader
) -> dict[str, Any]:
    with time_machine.travel(BEGIN, tick=False) as clock:
        reader = kind(partitions, limit, cached, ends)
        asyncio.run(reader.run(actions, clock))
        return reader.remains()
