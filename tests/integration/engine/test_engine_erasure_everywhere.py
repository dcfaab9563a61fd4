"""Kind: personal data that outlives its person in the notifier's tables or on topics; links that meet an erasure."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from touchline_devstack.receivers import WebhookReceiver
from touchline_schemas.partitions import partition_of
from touchline_schemas.topics import TOPICS

from tests.support.engine.expected import utc_now
from tests.support.engine.world import PARTITIONS, World, touchpoint
from tests.support.notifier import world as notifier_world
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

WORDS = {"name": "Erika Mustermann", "phone": "+49 170 555", "address": "Heidestr. 17"}
VALUES = ("mustermann", "+49 170 555", "heidestr")
PLAY = """
play: hello
when: {fact: stage-changed, lifecycle: trial, move: [enter, advance, regress]}
action: {channel: webhook, endpoint: crm, subject: "{{ traits.name }}", body: "{{ traits.phone }}"}
limits: {max_age: 400d}
"""


async def rows_with(world: World, schema: str, words: tuple[str, ...]) -> dict[str, list[str]]:
    """Table → rows of a schema that hold one of the words, in whatever column and encoding."""
    tables = await world.sql(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace($1)", schema
    )
    assert tables, f"schema {schema} has tables"
    found: dict[str, list[str]] = {}
    for (table,) in tables:
        for row in await world.sql(f'SELECT * FROM {schema}."{table}"'):
            text = " ".join(
                bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)
                for value in row.values()
            ).lower()
            if any(word in text for word in words):
                found.setdefault(table, []).append(text[:300])
    return found


async def on_topics(world: World) -> dict[str, list[Any]]:
    return {topic.name: await world.records(topic.name) for topic in TOPICS}


async def test_an_erased_person_is_in_no_table_of_the_notifier_and_nothing_published_later_holds_their_values(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_world, "PARTITIONS", PARTITIONS)
    await world.running()
    at = utc_now() - timedelta(days=3)
    posted = [
        touchpoint("e1", at, customer_id="erika-1", email="erika@example.org", type="identified", properties=WORDS),
        touchpoint("e2", at + timedelta(hours=1), customer_id="erika-1", anonymous_id="erika-phone", properties=WORDS),
        *(touchpoint(f"v{n}", at + timedelta(hours=2 + n), anonymous_id="erika-phone") for n in range(4)),
        touchpoint("o1", at, customer_id="other", email="other@example.org"),
    ]
    with WebhookReceiver([notifier_world.SECRET]) as receiver:
        async with notifier_world.World.open(
            world.bootstrap, world.database_url, world.prefix, tmp_path / "notifier"
        ) as company:
            company.crm(receiver)
            company.play(PLAY)
            notifier = await company.start().ready()
            await world.post(posted[:1])
            schema = company.settings.schema_name
            words = ("erika", *VALUES)

            def sent() -> bool:
                return any("555" in one.body.decode() for one in receiver.arrived)

            await wait_until(sent, "a webhook with their values was sent")
            # The others only now: an action is cancelled when the customer has moved on before it is sent.
            await world.post(posted[1:])
            await world.folded(len(posted))
            assert await rows_with(world, schema, words)
            before = {topic: len(records) for topic, records in (await on_topics(world)).items()}
            done = world.command("erase", "erika-1", "--wait")
            assert done.returncode == 0, done.stderr

            async def gone() -> bool:
                return not await rows_with(world, schema, words)

            try:
                await wait_until(gone, "no table of the notifier holds anything of them")
            except AssertionError as error:
                raise AssertionError(f"{error}: {await rows_with(world, schema, words)}") from None
            # What comes late is dropped, and nothing is published of it.
            await world.post(posted[:-1])
            await world.folded(2 * len(posted) - 1)
            await company.settled()
            assert await gone()
            await world.published()
            for topic, records in (await on_topics(world)).items():
                if topic == "touchpoints":
                    continue
                assert len(records) >= before[topic]
                for record in sorted(records, key=lambda record: record.timestamp)[before[topic] :]:
                    text = json.dumps([str(record.value), str(record.headers)]).lower()
                    assert not any(value in text for value in VALUES), (topic, text)
            assert all(stage is None for key, stage in (await world.latest_stages()).items() if "erika" in key)
            assert not any(value in notifier.log.read_text().lower() for value in words)


@pytest.mark.parametrize("erased", ["customer", "alias"])
async def test_a_link_request_in_flight_when_its_person_is_erased_brings_nothing_back(
    world: World, erased: str
) -> None:
    own = partition_of("erika-1", PARTITIONS)
    alias = next(f"erika-a{n}" for n in range(99) if partition_of(f"anon:erika-a{n}", PARTITIONS) != own)
    engine = await world.running()
    await world.post([touchpoint("o1", utc_now(), customer_id="other")])
    await world.folded(1)
    engine.popen.terminate()
    await engine.ended()
    # All of it waits when the engine starts: the request is read when the link is not yet exchanged, or just then.
    at = utc_now() - timedelta(days=2)
    posted = [
        touchpoint("e1", at, customer_id="erika-1", properties=WORDS),
        touchpoint("e2", at + timedelta(hours=1), customer_id="erika-1", anonymous_id=alias, properties=WORDS),
        touchpoint("e3", at + timedelta(hours=2), anonymous_id=alias, properties={"seen": "yes"}),
    ]
    await world.post(posted)
    key = "erika-1" if erased == "customer" else f"anon:{alias}"
    world.command("erase", key)
    await world.running()
    await world.folded(1 + len(posted))

    async def erased_everywhere() -> bool:
        facts = [fact for fact in await world.facts() if fact["ce_type"] == "touchline.customer-erased"]
        return bool(facts)

    await wait_until(erased_everywhere, "the erasure is published")

    async def no_link_left() -> bool:
        links = await world.sql("SELECT key, other FROM links")
        aliases = await world.sql("SELECT customer_id, alias FROM aliases")
        return not links and not aliases

    await wait_until(no_link_left, "no link names the erased key")
    if erased == "customer":
        assert await world.get("/v1/customers/erika-1") is None
        assert not await rows_with(world, f"stage_engine_{world.prefix}", VALUES)
    else:
        found = await world.get("/v1/customers/erika-1")
        if found is None:
            # The owner of the alias read the link before the erasure, so the alias belonged to the customer, and the
            # whole person is erased.
            assert not await rows_with(world, f"stage_engine_{world.prefix}", VALUES)
        else:
            assert found["aliases"] == []
        assert await world.get(f"/v1/customers/anon:{alias}") is None
