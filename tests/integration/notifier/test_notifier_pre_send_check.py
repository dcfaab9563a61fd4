"""A customer who opted out gets no mail, whichever key and partition the opt-out came under."""

import asyncio

import pytest
from touchline_devstack.receivers import MailCatcher
from touchline_schemas.partitions import partition_of

from tests.support.notifier.world import PARTITIONS, World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

MAILS = """
play: mails
when: {fact: stage-changed, move: advance}
action: {channel: email, subject: Hello, body: Hello}
"""
BACKLOG = 7000
"""Touchpoints in front of an unsubscribe: more than one fetch of them."""


def mail(world: World, catcher: MailCatcher) -> None:
    world.endpoints(
        f"endpoints: [{{name: mail, type: email, smtp: {{host: 127.0.0.1, port: {catcher.port}, tls: none}}, "
        "from: 'care@example.org'}]"
    )


def unknown_people(count: int) -> list[tuple[str, str]]:
    """Customers and their addresses, each address filed on another partition than its customer: 1 and 0."""
    customers = (one for n in range(10_000) if partition_of(one := f"c-{n}", PARTITIONS) == 1)
    addresses = (one for n in range(10_000) if partition_of(f"email:{(one := f'a{n}@example.org')}", PARTITIONS) == 0)
    return [pair for pair, _ in zip(zip(customers, addresses, strict=False), range(count), strict=False)]


async def unsubscribe(world: World, address: str) -> None:
    """As a mail service reports it: it knows the address alone."""
    await world.touchpoint(
        f"email:{address}", "unsubscribed", customer_id=None, email=address, channel="email", source="mailer"
    )


async def behind_a_backlog(world: World, people: list[tuple[str, str]]) -> None:
    """Unsubscribes by address on a partition with much to read, and facts on one with little."""
    busy = next(one for n in range(1000) if partition_of(one := f"busy-{n}", PARTITIONS) == 0)
    for customer, address in people:
        await world.touchpoint(customer, email=address)
    await asyncio.gather(*(world.touchpoint(busy) for _ in range(BACKLOG)))
    for _, address in people:
        await unsubscribe(world, address)
    for customer, _ in people:
        await world.moved(customer, "acquisition")


async def all_held_as_suppressed(world: World, people: list[tuple[str, str]], catcher: MailCatcher) -> None:
    held = await world.await_actions(len(people), "held")
    assert {one["customer_id"]: (one["reason"] or "").split(":")[0] for one in held} == {
        customer: "suppressed" for customer, _ in people
    }
    assert await world.actions("decided", "sent") == []
    assert catcher.mails == []


async def test_an_unsubscribe_under_the_address_alone_counts_though_it_lies_on_another_partition(world: World) -> None:
    people = unknown_people(3)
    with MailCatcher() as catcher:
        mail(world, catcher)
        world.play(MAILS)
        await behind_a_backlog(world, people)
        await world.start().ready()
        await all_held_as_suppressed(world, people, catcher)


async def test_it_counts_though_another_process_reads_that_partition_and_is_slow(world: World) -> None:
    people = unknown_people(20)
    with MailCatcher() as catcher:
        mail(world, catcher)
        world.play(MAILS)
        first, second = world.start(), world.start()
        await first.ready()
        await second.ready()
        pool = await world.database()

        async def shared() -> bool:
            return bool(await pool.fetchval("SELECT count(DISTINCT owner_pid) FROM positions") == PARTITIONS)

        await wait_until(shared)
        for customer, address in people:
            await world.touchpoint(customer, email=address)
        async with pool.acquire() as connection, connection.transaction():
            # The owner of the addresses' partition can't write, so it doesn't get on.
            await connection.execute("SELECT FROM positions WHERE partition = 0 FOR UPDATE")
            for customer, address in people:
                await unsubscribe(world, address)
                await world.moved(customer, "acquisition")

            async def waits() -> bool:
                asking = "SELECT true FROM pg_stat_activity WHERE query LIKE 'SELECT partition, next_touchpoint%'"
                return bool(await pool.fetchval(asking))

            await wait_until(waits)
        await all_held_as_suppressed(world, people, catcher)


async def test_a_mail_that_is_being_retried_ends_with_the_unsubscribe(world: World) -> None:
    ((customer, address),) = unknown_people(1)
    with MailCatcher(refuse=lambda _: "451 come back later") as catcher:
        mail(world, catcher)
        world.play(MAILS)
        await world.start().ready()
        await world.touchpoint(customer, email=address)
        await world.moved(customer, "acquisition")
        pool = await world.database()

        async def tried_twice() -> bool:
            return bool(await pool.fetchval("SELECT true FROM deliveries WHERE attempts = 2 AND status = 'pending'"))

        await wait_until(tried_twice)
        await unsubscribe(world, address)
        await world.settled()
        catcher.refuse = lambda _: None
        await pool.execute("UPDATE deliveries SET next_attempt_at = now()")
        (held,) = await world.await_actions(1, "held")
        assert held["reason"] == "suppressed: the address is suppressed: unsubscribed"
        assert held["sequence"] == 2
        assert catcher.mails == []
        assert await pool.fetchval("SELECT status FROM deliveries") == "cancelled"
