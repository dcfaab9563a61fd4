"""Kind: personal data that outlives the erasure of its person, in tables, topics or logs; and what the erasure says."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from touchline_schemas.times import to_wire

from tests.support.engine.expected import now_micros, utc_now
from tests.support.engine.world import World, key_of, touchpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

SECRETS = ("erika", "+49 170 555")
"""What the person's values have in common; nothing else in a run holds these letters."""


def persons_touchpoints() -> list[dict[str, Any]]:
    """A person under four keys, with values in every place a touchpoint has for them."""
    at = utc_now() - timedelta(days=9)
    words = {"name": "Erika Mustermann", "phone": "+49 170 555", "nested": {"mail": "Erika@Example.org"}}
    return [
        touchpoint("e1", at, customer_id="erika-1", properties=words),
        touchpoint("e2", at + timedelta(hours=1), customer_id="erika-1", email="erika@example.org"),
        touchpoint("e3", at + timedelta(hours=2), customer_id="erika-1", anonymous_id="erika-phone", properties=words),
        touchpoint("e4", at + timedelta(hours=3), anonymous_id="erika-phone", properties=words),
        touchpoint("e5", at + timedelta(hours=4), external_id="erika-crm", customer_id="erika-1"),
        touchpoint("e6", at + timedelta(hours=5), external_id="erika-crm", type="purchased"),
        # Twice with contents that differ, and twice the same.
        touchpoint("e6", at + timedelta(hours=6), external_id="erika-crm", type="purchased", properties=words),
        touchpoint("e1", at, customer_id="erika-1", properties=words),
        # Dated ahead of the clock, as ingest allows.
        touchpoint(
            "ahead", utc_now() + timedelta(minutes=4), customer_id="erika-1", received_at=to_wire(utc_now()),
            properties=words,
        ),
        touchpoint(
            "ahead2", utc_now() + timedelta(minutes=3), email="erika@example.org", received_at=to_wire(utc_now()),
            anonymous_id="erika-phone",
        ),
        # A link that is refused: it would join two known customers.
        touchpoint("o1", at, customer_id="other", anonymous_id="shared"),
        touchpoint("o2", at + timedelta(hours=9), customer_id="erika-1", anonymous_id="shared"),
    ]  # fmt: skip


async def left_in_tables(world: World) -> dict[str, list[str]]:
    """Table → rows that hold one of the person's values, in whatever column and encoding."""
    tables = await world.sql(
        "SELECT c.relname FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = to_regnamespace($1)",
        f"stage_engine_{world.prefix}",
    )
    found: dict[str, list[str]] = {}
    for (table,) in tables:
        for row in await world.sql(f'SELECT * FROM "{table}"'):
            text = " ".join(
                bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)
                for value in row.values()
            )
            if any(secret in text.lower() for secret in SECRETS):
                found.setdefault(table, []).append(text[:300])
    return found


async def nothing_left(world: World) -> None:
    """Wait until no table holds anything of the person; what was just published leaves the outbox a moment later."""
    left: dict[str, list[str]] = {}

    async def none() -> bool:
        left.clear()
        left.update(await left_in_tables(world))
        return not left

    await wait_until(none, "no table holds anything of them", seen=lambda: left)


async def test_no_table_or_log_holds_anything_of_an_erased_person(world: World) -> None:
    engine = await world.running()
    posted = persons_touchpoints()
    await world.post(posted)
    # Dead letters that name them: a wrong field, a wrong key, a wrong partition.
    wrong = touchpoint("w1", utc_now(), customer_id="erika-1") | {
        "type": "no type of erika@example.org",
        "email": "erika",
    }
    producer, topic = world.producer, world.topic("touchpoints")
    await producer.send_and_wait(topic, json.dumps(wrong).encode(), key=b"erika-1")
    right = json.dumps(touchpoint("w2", utc_now(), customer_id="erika-1")).encode()
    await producer.send_and_wait(topic, right, key=b"erika-2")
    for partition in range(4):
        await producer.send_and_wait(topic, right, key=b"erika-1", partition=partition)
    await world.folded(len(posted) + 6)

    async def merged() -> bool:
        found = await world.get("/v1/customers/email:erika@example.org")
        return found is not None and found["customer_id"] == "erika-1" and len(found["aliases"]) >= 3

    await wait_until(merged, "the keys have become one person")
    assert await left_in_tables(world)
    done = world.command("erase", "email:erika@example.org", "--wait")
    assert done.returncode == 0, done.stderr

    await nothing_left(world)
    (wrong_ones,) = await world.sql("SELECT count(*) AS n FROM touchpoint_outcomes WHERE outcome = 'refused'")
    assert wrong_ones["n"] >= 3, "what became of their records is still told"
    # What comes late is dropped, and named nowhere either; the one dated ahead too.
    await world.post(posted[:10])
    await world.folded(len(posted) + 6 + 10)
    await nothing_left(world)
    logged = engine.log.read_text().lower()
    assert not any(secret in logged for secret in SECRETS)
    assert all(stage is None for key, stage in (await world.latest_stages()).items() if "erika" in key)
    facts = [json.dumps(fact).lower() for fact in await world.facts()]
    assert not any("@" in fact.replace("email:erika@example.org", "") for fact in facts)
    assert (await world.get("/v1/customers/other"))["touchpoints"] == 1


async def test_an_erasure_gives_a_receipt_waits_and_counts_what_went(world: World) -> None:
    await world.running()
    posted = persons_touchpoints()[:6]
    await world.post(posted)
    await world.folded(len(posted))

    async def merged() -> bool:
        return len((await world.get("/v1/customers/erika-1"))["aliases"]) == 3

    await wait_until(merged, "the keys have become one person")
    done = world.command("erase", "anon:erika-phone", "--wait", "--timeout", "150")
    assert done.returncode == 0, done.stderr
    receipt = re.search(r"^receipt ([0-9a-f-]{36})$", done.stdout, re.MULTILINE)
    assert receipt is not None
    assert "complete: 4 keys erased" in done.stdout
    counts = {name: int(number) for name, number in re.findall(r"^  (\w+) +(\d+)$", done.stdout, re.MULTILINE)}
    assert counts["touchpoints"] == len({one["id"] for one in posted})
    assert (counts["customers"], counts["aliases"], counts["stages"]) == (4, 3, 1)
    assert counts["history"] >= 1
    again = world.command("erasure", receipt[1])
    assert (again.returncode, again.stdout.splitlines()) == (0, done.stdout.splitlines()[1:])
    twice = world.command("erase", "erika-1", "--wait")
    assert twice.returncode == 0
    assert "was erased before" in twice.stderr
    assert world.command("erasure", "00000000-0000-0000-0000-000000000000").returncode == 3


@pytest.mark.parametrize("unknown", ["nobody", "email:nobody@example.org", "ext:crm:1"])
async def test_erasing_an_unknown_id_says_so(world: World, unknown: str) -> None:
    await world.running()
    await world.post([touchpoint("e1", utc_now() - timedelta(days=1), customer_id="erika-1")])
    await world.folded(1)
    done = world.command("erase", unknown)
    assert done.returncode == 1
    assert f"nobody is known by {unknown!r}" in done.stderr
    assert (await world.get("/v1/customers/erika-1"))["touchpoints"] == 1


async def test_a_request_without_an_engine_is_not_called_done(world: World) -> None:
    assert world.command("migrate").returncode == 0
    done = world.command("erase", "erika-1", "--wait", "--timeout", "0.5")
    assert done.returncode in (1, 3)
    assert "nothing erased yet" in done.stdout


async def test_a_changed_erasure_secret_ends_the_start_and_the_former_one_works(world: World) -> None:
    """Kind: a secret that stored hashes depend on, changed unnoticed: erased people would come back."""
    engine = await world.running(TOUCHLINE_ERASURE_SECRET="first secret")
    old = touchpoint("e1", utc_now() - timedelta(days=1), customer_id="erika-1")
    await world.post([old])
    await world.folded(1)
    assert world.command("erase", "erika-1", "--wait", TOUCHLINE_ERASURE_SECRET="first secret").returncode == 0
    engine.popen.terminate()
    await engine.ended()
    for changed in ("second secret", ""):
        engine = world.start(TOUCHLINE_ERASURE_SECRET=changed)
        assert await engine.ended() == 2
        assert "TOUCHLINE_ERASURE_SECRET" in engine.log.read_text()
    await world.running(TOUCHLINE_ERASURE_SECRET="first secret")
    await world.post([old])
    await world.folded(2)
    assert await world.get("/v1/customers/erika-1") is None


async def test_the_secret_may_change_as_long_as_nobody_was_erased(world: World) -> None:
    for secret in ("", "first secret", "second secret"):
        engine = await world.running(TOUCHLINE_ERASURE_SECRET=secret)
        engine.popen.terminate()
        await engine.ended()


async def test_touchpoints_dated_ahead_go_with_their_person_wherever_they_are(world: World) -> None:
    """Kind: a time ahead of the clock that outlives the erasure: stored, unread on the topic, under an alias."""
    now = utc_now()
    ahead = [
        touchpoint(f"a{n}", now + timedelta(minutes=n), received_at=to_wire(now), **who)
        for n, who in enumerate(({"customer_id": "erika-1"}, {"anonymous_id": "erika-phone"}), 1)
    ]
    link = touchpoint(
        "link", now + timedelta(minutes=4), received_at=to_wire(now), customer_id="erika-1", anonymous_id="erika-phone"
    )
    await world.running()
    await world.post([*ahead, link])
    await world.folded(3)
    assert world.command("erase", "erika-1", "--wait").returncode == 0
    await world.post([*ahead, link])
    await world.folded(6)
    for key in ("erika-1", "anon:erika-phone"):
        assert await world.get(f"/v1/customers/{key}") is None
    await nothing_left(world)
    back = touchpoint("back", utc_now() + timedelta(seconds=1), customer_id="erika-1")
    await world.post([back])

    async def returned() -> Any:
        return await world.get("/v1/customers/erika-1")

    assert (await wait_until(returned, "a later touchpoint begins a new incarnation"))["touchpoints"] == 1


async def test_old_outcomes_are_trimmed_and_one_id_on_two_partitions_is_two_rows(world: World) -> None:
    """Kind: rows by the hash of an id, written by the owners of two partitions at once."""
    engine = await world.running()
    same = [touchpoint("same", utc_now() - timedelta(days=1), customer_id=f"c{n}") for n in range(8)]
    assert len({key_of(one) for one in same}) == 8
    await world.post(same * 3)
    await world.folded(24)
    rows = await world.sql("SELECT partition, outcome, times FROM touchpoint_outcomes")
    assert len({row["partition"] for row in rows}) > 1
    assert (await world.get("/v1/touchpoints/shop/same"))["duplicates"] == 16
    await world.sql("UPDATE touchpoint_outcomes SET at = at - 90 * 86400 * 1000000::bigint - 1")
    engine.popen.terminate()
    await engine.ended()
    await world.sql("INSERT INTO touchpoint_outcomes VALUES (1, 'duplicate', 0, 1, $1, NULL, NULL, NULL)", now_micros())
    await world.running(TOUCHLINE_OUTCOMES_KEPT_DAYS="90")

    async def trimmed() -> bool:
        return [row["hash"] for row in await world.sql("SELECT hash FROM touchpoint_outcomes")] == [1]

    await wait_until(trimmed, "old outcomes are gone, and the young one is kept")
