"""What every implementation of `ports.PartitionLease` and its tables has to do: run on memory and on PostgreSQL."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from touchline_stage_engine.application.batches.changes import Changes, touchpoint_row
from touchline_stage_engine.application.batches.customers import Customer
from touchline_stage_engine.application.batches.folding import END, START
from touchline_stage_engine.application.batches.touchpoint_outcomes import NotedOutcome, Outcome
from touchline_stage_engine.application.errors import FencedError
from touchline_stage_engine.application.outbox_records import identity_message
from touchline_stage_engine.application.ports import PartitionLease
from touchline_stage_engine.application.values import (
    CheckpointSpan,
    ErasureReceipt,
    ErasureRecord,
    HistoryCut,
    TouchpointRange,
)
from touchline_stage_engine.core.decoding import Arrival, touchpoint_hash
from touchline_stage_engine.core.identity.labels import weigh
from touchline_stage_engine.core.identity.links import KeyIdentity
from touchline_stage_engine.core.touchpoint import Touchpoint

Acquire = Callable[[int], Awaitable[PartitionLease]]
RECEIPT = "6f2c1e1e-6f83-4a51-9d0a-0d8a3f6a9d10"


def arrival(at: int, id_: str = "", *, key: str = "ada", machine: bool = False, **properties: Any) -> Arrival:
    id_ = id_ or f"t{at}"
    touchpoint = Touchpoint(
        at, id_, "shop", "page_viewed", "web", "inbound", properties, machine=machine, received_at=at + 1
    )
    return Arrival(touchpoint, key, (), {"email": "ada@example.org"}, touchpoint_hash("shop", id_))


def fact(customer_id: str, number: int) -> tuple[Any, ...]:
    return (
        customer_id, "trial", number, "move", number, number, 1, "try", None, "enter", "rule", "", "t", None, None,
        None, None, False,
    )  # fmt: skip


def customer(customer_id: str, *, wake_at: int | None = None, generation: int = 7) -> Customer:
    made = Customer(customer_id, 0, generation)
    made.touchpoints, made.wake_at = 1, wake_at
    return made


class PartitionLeaseSuite:
    """Subclasses provide the fixture ``acquire``."""

    async def test_a_successor_fences_every_later_transaction_of_its_predecessor(self, acquire: Acquire) -> None:
        first = await acquire(0)
        second = await acquire(0)
        with pytest.raises(FencedError):
            async with first.fenced_transaction(5, 5) as tables:
                await tables.touchpoints.add([touchpoint_row("ada", arrival(1))])
        assert first.position.touchpoints == 0
        async with second.fenced_transaction(3, 2) as tables:
            await tables.touchpoints.add([touchpoint_row("ada", arrival(1))])
        third = await acquire(0)
        assert (third.position.touchpoints, third.position.identity) == (3, 2)
        assert third.position.epoch > second.position.epoch > first.position.epoch

    async def test_a_failed_transaction_leaves_rows_and_position_as_they_were(self, acquire: Acquire) -> None:
        lease = await acquire(0)

        async def fail() -> None:
            async with lease.fenced_transaction(5, 5) as tables:
                await tables.touchpoints.add([touchpoint_row("ada", arrival(1))])
                await tables.links.record_shared_key_limit(9)
                raise KeyError

        with pytest.raises(KeyError):
            await fail()
        async with lease.reading() as tables:
            assert await tables.touchpoints.count("ada") == (0, None)
            assert await tables.links.shared_key_limit() is None
        async with lease.fenced_transaction(1) as tables:
            assert (await acquire(1)).position.touchpoints == 0
        assert lease.position.touchpoints == 1

    async def test_touchpoints_are_read_in_order_of_time_id_and_source(self, acquire: Acquire) -> None:
        lease = await acquire(0)
        made = [arrival(3), arrival(1, "b"), arrival(1, "a"), arrival(9, machine=True)]
        async with lease.fenced_transaction() as tables:
            await tables.touchpoints.add([touchpoint_row("ada", one) for one in made])
            await tables.touchpoints.add([touchpoint_row("bob", arrival(2))])
        async with lease.reading() as tables:
            found = [one.id async for chunk in tables.touchpoints.between(TouchpointRange("ada", START, END))
                     for one in chunk]  # fmt: skip
            assert found == ["a", "b", "t3", "t9"]
            some = await tables.touchpoints.first_of(
                [TouchpointRange("ada", (1, "a", "shop"), (3, "t3", "shop")), TouchpointRange("eve", START, END)]
            )
            assert {key: [one.id for one in several] for key, several in some.items()} == {"ada": ["b", "t3"]}
            assert await tables.touchpoints.count("ada") == (4, 9)
            assert await tables.touchpoints.last_order("ada") == (3, "t3", "shop"), "machine ones do not count"
            pairs = [(made[0].hash, "ada"), (made[0].hash, "bob")]
            assert await tables.touchpoints.find(pairs) == {pairs[0]: made[0]}
        async with lease.fenced_transaction() as tables:
            await tables.touchpoints.delete([(made[0].hash, "ada")])
            assert await tables.touchpoints.count("ada") == (3, 9)

    async def test_what_an_alias_transferred_is_told_apart_and_withdrawn_alone(self, acquire: Acquire) -> None:
        lease = await acquire(0)
        own, given = arrival(1), arrival(2, key="anon:a")
        async with lease.fenced_transaction() as tables:
            await tables.touchpoints.add([touchpoint_row("ada", own), touchpoint_row("ada", given)])
            await tables.touchpoints.save_copies(
                {("ada", given.hash, "anon:a"): given, ("ada", given.hash, "ada"): arrival(2, n=1)}
            )
        async with lease.reading() as tables:
            assert [one async for chunk in tables.touchpoints.filed_under("ada") for one in chunk] == [own]
            assert [one.id for one in await tables.touchpoints.linking("ada")] == ["t1", "t2"]
            assert [one.touchpoint.id for one in await tables.touchpoints.own_copies("ada")] == ["t2"]
            assert len(await tables.touchpoints.find_copies([(given.hash, "ada")])) == 2
            assert await tables.touchpoints.find_transferred([("ada", "anon:a")]) == [(given.hash, "ada")]
        async with lease.fenced_transaction() as tables:
            assert await tables.touchpoints.delete_transferred([("ada", "anon:a")]) == ["ada"]
            assert await tables.touchpoints.count("ada") == (1, 1)
            assert [key for key, _ in await tables.touchpoints.find_copies([(given.hash, "ada")])] == ["ada"]

    async def test_checkpoints_and_history_are_cut_where_asked(self, acquire: Acquire) -> None:
        lease = await acquire(0)
        changes = Changes()
        changes.history = [fact("ada", number) for number in (1, 2, 3, 4)] + [fact("bob", 1)]
        changes.checkpoints = [("ada", at, "t", "s", b"states%d" % at) for at in (10, 20, 30)]
        async with lease.fenced_transaction() as tables:
            await tables.write(changes, [], 0)
        async with lease.fenced_transaction() as tables:
            before = await tables.history.checkpoints_before([("ada", (20, "t", "s")), ("bob", END)])
            assert {key: (found.order, bytes(found.states)) for key, found in before.items()} == {
                "ada": ((10, "t", "s"), b"states10")
            }
            after = await tables.history.checkpoints_after([("ada", (10, "t", "s"))])
            assert [one.order[0] for one in after["ada"]] == [20, 30]
            await tables.history.delete_checkpoints([CheckpointSpan("ada", (10, "t", "s"), (30, "t", "s"))])
            left = await tables.history.checkpoints_after([("ada", START)])
            assert [one.order[0] for one in left["ada"]] == [10, 30]
            stored = await tables.history.stored(
                [HistoryCut("ada", "trial", 2, None), HistoryCut("bob", "trial", 0, 1)]
            )
            assert stored == {row[:3]: row for row in (fact("ada", 3), fact("ada", 4), fact("bob", 1))}
            await tables.history.delete([("ada", "trial", 4), ("bob", "trial", 1)])
            assert list(await tables.history.stored([HistoryCut("ada", "trial", 2, None)])) == [("ada", "trial", 3)]
            await tables.history.cut([HistoryCut("ada", "trial", 1, 3)])
        again = Changes()
        again.history = [fact("ada", number) for number in (2, 3)]
        async with lease.fenced_transaction() as tables:
            await tables.write(again, [], 0)
            await tables.history.delete_of(["ada"])
            assert await tables.history.checkpoints_after([("ada", START)]) == {}

    async def test_customers_are_found_by_timer_and_by_generation(self, acquire: Acquire) -> None:
        lease, other = await acquire(0), await acquire(1)
        for target, keys in ((lease, {"a": 5, "b": 5, "c": 9, "d": None}), (other, {"e": 1})):
            changes = Changes()
            changes.customers = {key: customer(key, wake_at=at) for key, at in keys.items()}
            async with target.fenced_transaction() as tables:
                await tables.write(changes, [], 0)
                for key, at in keys.items():
                    if at is not None:
                        await tables.customers.postpone_wake(key, at)
        async with lease.reading() as tables:
            assert await tables.customers.with_timers_due(8, 8, (0, ""), 10) == [("a", 5), ("b", 5)]
            assert await tables.customers.with_timers_due(9, 9, (5, "a"), 10) == [("b", 5), ("c", 9)]
            assert await tables.customers.with_timers_due(9, 9, (0, ""), 1) == [("a", 5)]
            assert await tables.customers.with_timers_due(9, 5, (0, ""), 10) == [("a", 5), ("b", 5), ("c", 9)]
            assert await tables.customers.next_wake() == 5
            assert await tables.customers.next_wake(5) == 9
            assert await tables.customers.next_wake(9) is None
            assert await tables.customers.generations_after("a", 2) == [("b", 7), ("c", 7)]
            assert set(await tables.customers.load(["a", "e", "z"], [], 7, [])) == {"a"}

    async def test_many_customers_are_written_as_few_are(self, acquire: Acquire) -> None:
        lease = await acquire(0)
        keys = [f"c{number:04}" for number in range(1000)]
        made = {key: customer(key) for key in keys}

        async def save(changed: dict[str, Customer]) -> None:
            changes = Changes()
            changes.customers = changed
            async with lease.fenced_transaction() as tables:
                await tables.write(changes, [], 0)

        async def stored() -> dict[str, tuple[Any, ...]]:
            async with lease.reading() as tables:
                found = await tables.customers.load(keys, [], 7, [])
            return {key: (one.touchpoints, one.last, one.seen_at, one.merged_into) for key, one in found.items()}

        def expected() -> dict[str, tuple[Any, ...]]:
            return {key: (one.touchpoints, one.last, one.seen_at, one.merged_into) for key, one in made.items()}

        # At first all are new; then most have a row, and some are new.
        some = dict(list(made.items())[:700])
        await save(some)
        assert (await stored()) == {key: value for key, value in expected().items() if key in some}
        for number, one in enumerate(made.values()):
            one.touchpoints, one.last, one.seen_at = number + 2, (number, f"t{number}", "shop"), number
            one.merged_into = "c0000" if number % 3 else None
        await save(made)
        assert await stored() == expected()
        # What an earlier transaction wrote is not written again.
        for one in list(made.values())[:300]:
            one.touchpoints += 1
        await save(dict(list(made.items())[:300]))
        assert await stored() == expected()

    async def test_the_outbox_is_numbered_from_the_position_on(self, acquire: Acquire) -> None:
        lease = await acquire(0)
        for number in (2, 3):
            changes = Changes()
            changes.outbox = [
                identity_message("ada", "touchline.rebuild-requested", {}, "2026-01-01T00:00:00Z")
            ] * number
            async with lease.fenced_transaction() as tables:
                await tables.write(changes, [], 0)
            lease.position.last_outbox_id += number
        assert (await acquire(0)).position.last_outbox_id == 5

    async def test_links_and_shared_keys_are_of_the_partition_that_wrote_them(self, acquire: Acquire) -> None:
        lease = await acquire(0)
        standing, changes = KeyIdentity("email:x@example.org"), Changes()
        for number in range(4):
            other = f"c{number}"
            standing.link(other, weigh(number, f"t{number}", "s", standing.key, other))
            changes.links[standing.key, other] = standing.links[other]
        changes.shared = {standing.key: 4}
        changes.aliases = [("c1", "anon:a")]
        async with lease.fenced_transaction() as tables:
            await tables.write(changes, [], 0)
            await tables.links.record_shared_key_limit(3)
        async with lease.reading() as tables:
            read = KeyIdentity(standing.key)
            await tables.links.load([], [(read, "c2"), (read, "c9")])
            assert list(read.links) == ["c2"]
            await tables.links.load([read])
            assert read.complete
            assert {other: link.mine for other, link in read.links.items()} == {
                other: link.mine for other, link in standing.links.items()
            }
            assert await tables.links.shared_keys() == {standing.key}
            assert await tables.links.shared_key_limit() == 3
            assert (await tables.links.keys_over(3), await tables.links.keys_over(4)) == ([standing.key], [])
            assert await tables.customers.aliases_of(["c1", "c2"]) == [("c1", "anon:a")]
        async with (await acquire(1)).reading() as tables:
            assert await tables.links.shared_keys() == set()
            assert await tables.links.keys_over(3) == []

    async def test_an_erasure_removes_what_is_stored_of_a_key_and_is_remembered(self, acquire: Acquire) -> None:
        lease = await acquire(0)
        changes = Changes()
        changes.customers = {"ada": customer("ada")}
        changes.history = [fact("ada", 1)]
        changes.aliases = [("ada", "anon:a")]
        kept = Touchpoint(90, "later", "shop", "page_viewed", "web", "inbound", {}, received_at=91)
        rows = [arrival(1), arrival(2, key="anon:a"), Arrival(kept, "ada", (), None, touchpoint_hash("shop", "later"))]
        async with lease.fenced_transaction() as tables:
            await tables.touchpoints.add([touchpoint_row("ada", one) for one in rows])
            await tables.write(changes, [], 0)
            assert not await tables.erasures.has_any()
        async with lease.fenced_transaction() as tables:
            removed = await tables.erasures.delete_customer("ada", 50)
            assert {table: number for table, number in removed.items() if number} == {
                "touchpoints": 1, "history": 1, "aliases": 1, "customers": 1,
            }  # fmt: skip
            await tables.erasures.remember(b"hash", ErasureRecord(50, 1, 2))
            await tables.erasures.remember(b"hash", ErasureRecord(40, 2, 0))
            await tables.erasures.save_receipt(ErasureReceipt(RECEIPT, b"hash", 1, 50, 60, removed))
            assert await tables.erasures.has_any()
            assert await tables.erasures.find([b"hash", b"other"]) == {b"hash": ErasureRecord(50, 2, 2)}
            assert await tables.touchpoints.count("ada") == (1, 90)

    async def test_outcomes_add_up_and_old_ones_are_trimmed(self, acquire: Acquire) -> None:
        lease = await acquire(0)
        noted: dict[tuple[int, Outcome], NotedOutcome] = {
            (hash_, "duplicate"): NotedOutcome(2, None, None, None) for hash_ in (1, 2, 3)
        }
        async with lease.fenced_transaction() as tables:
            await tables.touchpoints.save_outcomes(noted, 10)
            await tables.touchpoints.save_outcomes({(1, "duplicate"): NotedOutcome(1, None, None, None)}, 20)
            assert await tables.touchpoints.trim_outcomes(15, 1) == 1
            assert await tables.touchpoints.trim_outcomes(15, 9) == 1
            assert await tables.touchpoints.trim_outcomes(15, 9) == 0
            assert await tables.touchpoints.trim_outcomes(25, 9) == 1

    async def test_a_generation_is_read_by_the_successor(self, acquire: Acquire) -> None:
        lease = await acquire(0)
        await lease.record_generation(42)
        assert (await acquire(0)).position.generation == 42
