"""Records that can't be folded, of every kind: each becomes a dead letter, and its neighbours are folded meanwhile."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from touchline_schemas.cloudevents import to_headers
from touchline_schemas.identity import keys_of
from touchline_schemas.partitions import partition_of

from tests.support.engine.world import PARTITIONS, Process, World, key_of, touchpoint
from tests.support.raw_records import RawRecord, raw_batch, write_raw
from tests.support.waiting import wait_until

START = datetime(2026, 3, 1, tzinfo=UTC)


def wide(length: int, seed: int) -> str:
    """Characters of four bytes each that don't compress."""
    chosen = random.Random(seed)
    return "".join(chr(chosen.randrange(0x20000, 0x2A6D0)) for _ in range(length))


def bytes_of(data: dict[str, Any], **raw: str) -> bytes:
    """JSON of a touchpoint, with some properties as they are written."""
    properties = ", ".join(f'"{name}": {value}' for name, value in raw.items())
    return orjson.dumps(data).replace(b'"properties":{}', f'"properties":{{{properties}}}'.encode())


HUGE = "123456789012345678901234567890"
NUMBERS = {
    "an integer beyond 64 bits": {"n": HUGE},
    "the same beside a backslash": {"n": HUGE, "note": '"a\\nb"'},
    "the least that is too large": {"n": str(2**64)},
    "the same beside an escape": {"n": str(2**64), "note": '"\\u00e4"'},
    "one below the least signed": {"n": str(-(2**63) - 1), "note": '"a\\\\b"'},
    "deep down": {"deep": f'{{"list": [1, {{"n": -{HUGE}}}]}}', "note": '"a\\tb"'},
    "hundreds of digits": {"n": "9" * 300},
    "a number beyond floats": {"n": "1e400"},
    "not a number": {"n": "NaN"},
}
WHOLE = {"n": str(2**64 - 1), "least": str(-(2**63)), "float": "1e30", "note": '"a\\nb"'}


async def write(world: World, value: bytes, key: str, topic: str = "touchpoints", **more: Any) -> None:
    await world.producer.send_and_wait(world.topic(topic), value, key=key.encode(), **more)


async def assert_goes_on(world: World, process: Process, dead: int, reason: str | None = None) -> None:
    """One process has read everything: the good customers are there, the others are dead letters, once each."""
    for number in range(12):
        await world.post([touchpoint(f"good-{number}", START, customer_id=f"good-{number}")])

    async def all_folded() -> bool:
        rows = await world.sql("SELECT count(*) AS n FROM stages WHERE customer_id LIKE 'good-%'")
        return bool(rows[0]["n"] == 12)

    await wait_until(all_folded, "the neighbours are folded")

    async def all_buried() -> list[Any]:
        found = await world.records("dead-letters")
        return [found] if len(found) >= dead else []

    (letters,) = await wait_until(all_buried, "the dead letters are published")
    assert len(letters) == dead
    if reason is not None:
        assert {dict(letter.headers)["reason"].decode() for letter in letters} == {reason}
    assert process.popen.poll() is None
    await process.ready()
    assert "partition_failed" not in process.log.read_text()


async def test_numbers_that_can_not_be_kept_exactly_are_dead_letters_and_all_others_are_kept(world: World) -> None:
    process = await world.running()
    for index, raw in enumerate(NUMBERS.values()):
        data = touchpoint(f"bad-{index}", START, customer_id=f"good-{index}")
        await write(world, bytes_of(data, **raw), f"good-{index}")
    await write(world, bytes_of(touchpoint("whole", START, customer_id="whole"), **WHOLE), "whole")
    await assert_goes_on(world, process, len(NUMBERS))
    found = await world.get("/v1/customers/whole/touchpoints")
    assert found["items"][0]["properties"] == {"n": 2**64 - 1, "least": -(2**63), "float": 1e30, "note": "a\nb"}


HEADERS: list[list[tuple[str, bytes | None]]] = [
    [("x", None)],
    [("ce_id", None), ("ce_type", None), ("traceparent", None)],
    [("", b""), ("", None)],
    [("x", b"\xff\x00"), ("x", None), ("reason", None), ("error", b"forged"), ("truncated", None)],
]


async def test_records_with_headers_of_every_kind_are_dead_letters_or_folded(world: World) -> None:
    world.environment["TOUCHLINE_TRACES_ENDPOINT"] = "http://127.0.0.1:1"
    process = await world.running()
    for number, headers in enumerate(HEADERS):
        key = f"good-{number}"
        data = orjson.dumps(touchpoint(f"h-{number}", START, customer_id=key))
        for value in (data, b"{", None):
            await write(world, value, key, headers=headers)  # type: ignore[arg-type]  # a record without a value
        # The owner of the key's partition reads the identity topic too.
        await write(world, b"{}", key, "identity", headers=headers, partition=partition_of(key, PARTITIONS))
    await assert_goes_on(world, process, 3 * len(HEADERS))
    assert "record_rejected" not in process.log.read_text()
    (row,) = await world.sql("SELECT count(*) AS n FROM touchpoints WHERE id LIKE 'h-%'")
    assert row["n"] == len(HEADERS)


NAMES = [b"\xff", b"caf\xe9", b"\xed\xa0\x80", b"traceparent\x80"]


@pytest.mark.parametrize("codec", ["none", "zstd"])
async def test_records_whose_header_names_are_not_utf_8_are_dead_letters_or_folded(world: World, codec: str) -> None:
    process = await world.running()
    for number, name in enumerate(NAMES):
        key = f"good-{number}".encode()
        data = orjson.dumps(touchpoint(f"n-{number}", START, customer_id=key.decode()))
        headers = [(b"ok", b"1"), (name, b"2"), (name, None)]
        # Valid records are before and after it in its batch.
        records = [RawRecord(key, value, headers) for value in (data, b"{", None)]
        good = orjson.dumps(touchpoint(f"n-after-{number}", START, customer_id=key.decode()))
        for topic, values in (("touchpoints", [*records, RawRecord(key, good)]), ("identity", records[1:])):
            partition = partition_of(key.decode(), PARTITIONS)
            await write_raw(world.producer, world.topic(topic), partition, raw_batch(values, codec))
    await assert_goes_on(world, process, 4 * len(NAMES))
    assert "record_rejected" not in process.log.read_text()
    (row,) = await world.sql("SELECT count(*) AS n FROM touchpoints WHERE id LIKE 'n-%'")
    assert row["n"] == 2 * len(NAMES)
    kept = {name for letter in await world.records("dead-letters") for name, _ in letter.headers}
    assert {name.decode("utf-8", "replace") for name in NAMES} <= kept


async def test_times_beyond_any_clock_are_dead_letters(world: World) -> None:
    process = await world.running()
    bad = ["9999-12-31T23:59:59.999999Z", "9999-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "1989-12-31T23:59:59Z"]
    for index, time in enumerate(bad):
        late = touchpoint(f"late-{index}", START, customer_id=f"good-{index}", occurred_at=time)
        received = touchpoint(f"received-{index}", START, customer_id=f"good-{index}", received_at=time)
        for data in (late, received):
            await write(world, orjson.dumps(data), f"good-{index}")
    await write(world, orjson.dumps(touchpoint("last", datetime(2099, 12, 31, tzinfo=UTC), customer_id="far")), "far")
    await assert_goes_on(world, process, 2 * len(bad))

    async def folded() -> Any:
        return await world.get("/v1/customers/far")

    assert (await wait_until(folded, "the farthest is folded"))["touchpoints"] == 1


async def test_keys_and_ids_as_long_as_they_may_be_are_folded_and_longer_ones_are_dead_letters(world: World) -> None:
    process = await world.running()
    longest = {"customer_id": wide(256, 1), "anonymous_id": wide(256, 2), "external_id": wide(256, 3)}
    posted = [
        touchpoint(wide(128, 10 + n), START + timedelta(days=n), source=source, **names)
        for n, names in enumerate(
            ({name: value} for name, value in (*longest.items(), ("customer_id", wide(256, 4)))),
        )
        for source in (wide(10, 5), "shop")
    ]
    # Each is linked to the others, late, and often enough for a checkpoint.
    posted.append(touchpoint(wide(128, 30), START - timedelta(days=30), source="shop", **longest))
    posted += [
        touchpoint(wide(128, 100 + n), START + timedelta(hours=n), source="shop", customer_id=longest["customer_id"])
        for n in range(30)
    ]
    too_long = touchpoint("t", START, source=wide(250, 6), external_id=wide(256, 7))
    for data in (*posted, too_long):
        await write(world, orjson.dumps(data), _key(data))
    await assert_goes_on(world, process, 1, "invalid_touchpoint")

    async def folded() -> bool:
        (row,) = await world.sql("SELECT count(DISTINCT (source, id)) AS n FROM touchpoints WHERE id NOT LIKE 'good-%'")
        return bool(row["n"] == len(posted))

    await wait_until(folded, "the longest are folded")


def _key(data: dict[str, Any]) -> str:
    names = ("customer_id", "anonymous_id", "email", "external_id")
    return keys_of(**{name: data.get(name) for name in names}, source=data["source"])[0]


GOOD_MESSAGES: dict[str, dict[str, Any]] = {
    "touchline.link-requested": {
        "other": "anon:1", "weight": [1, "t", "shop", "anon:1", "good-1"], "label": [None, 0, "anon:1", []],
    },
    "touchline.links-requested": {"links": [["anon:1", [1, "t", "shop"], [None, 0, "anon:1", []]]]},
    "touchline.link-removed": {"other": "anon:1", "before": 1},
    "touchline.touchpoints-transferred": {
        "alias": "anon:1", "touchpoints": [[1, "t", "shop", 5, "page_viewed", "web", 0, 1, "{}", None]],
        "bulk": True,
    },
    "touchline.touchpoints-withdrawn": {"alias": "anon:1"},
    "touchline.erase-requested": {"erased_at": 1, "by": None},
}  # fmt: skip
TRANSFERRED = GOOD_MESSAGES["touchline.touchpoints-transferred"]
BEFORE_ANY_CLOCK = [-1, -(2**62), -62_135_596_800_000_001]


def out_of_range() -> list[tuple[str, bytes]]:
    """Messages whose values are of the right types, and none that a touchpoint or an erasure can have."""
    (row,) = TRANSFERRED["touchpoints"]

    def transfer(place: int, value: Any) -> dict[str, Any]:
        return TRANSFERRED | {"touchpoints": [[*row[:place], value, *row[place + 1 :]]]}

    found: list[tuple[str, dict[str, Any]]] = []
    for at in BEFORE_ANY_CLOCK:
        found += [("touchline.touchpoints-transferred", transfer(place, at)) for place in (0, 7)]
        found.append(("touchline.erase-requested", {"erased_at": at, "by": None}))
        found.append(("touchline.link-removed", {"other": "anon:1", "before": at}))
        link = GOOD_MESSAGES["touchline.link-requested"]
        found.append(("touchline.link-requested", link | {"weight": [at, *link["weight"][1:]]}))
        found.append(("touchline.links-requested", {"links": [["anon:1", [at, "t", "shop"], None]]}))
    for identifiers in ('{"customer_id":5}', '{"email":null}', '{"anonymous_id":["x"]}', '{"email":""}', "[]", "null"):
        found.append(("touchline.touchpoints-transferred", transfer(9, identifiers)))
    found += [("touchline.touchpoints-transferred", transfer(place, "")) for place in (1, 2, 4, 5)]
    return [(kind, orjson.dumps(data)) for kind, data in found]


WRONG: list[Any] = [None, "text", 2**70, -1.5, [], {}, [None], [[1, 2]], True, "a\x00b", "x" * 3000]


def malformed() -> list[tuple[str, bytes]]:
    """Messages of every kind with each field left out, or of every wrong type."""
    found: list[tuple[str, bytes]] = []
    for kind, good in GOOD_MESSAGES.items():
        for name in good:
            rest = {key: value for key, value in good.items() if key != name}
            if name != "by":
                found.append((kind, orjson.dumps(rest)))
            for value in WRONG:
                allowed = name in ("weight", "by", "label") and value is None
                allowed |= name == "touchpoints" and value == []
                allowed |= name in ("other", "alias", "by") and value == "text"
                if not (allowed or (name == "bulk" and value is True)):
                    number = b"1180591620717411303424"
                    found.append((kind, orjson.dumps(rest | {name: "@"}).replace(b'"@"', number)) if value == 2**70
                                 else (kind, orjson.dumps(rest | {name: value})))  # fmt: skip
        found += [(kind, b""), (kind, b"[]"), (kind, b"{"), (kind, b"\xff")]
    return found


async def test_malformed_messages_on_the_identity_topic_are_dead_letters_and_a_restart_goes_on(world: World) -> None:
    port_process = await world.running()
    messages = malformed() + out_of_range()
    for kind, value in messages:
        headers = to_headers(id="m", type=kind, source="/test", time=START, subject="good-1")
        await write(world, value, "good-1", "identity", headers=headers, partition=partition_of("good-1", PARTITIONS))
    other = next(number for number in range(PARTITIONS) if number != partition_of("good-1", PARTITIONS))
    for kind, data in GOOD_MESSAGES.items():
        headers = to_headers(id="m", type=kind, source="/test", time=START, subject="good-1")
        await write(world, orjson.dumps(data), "good-1", "identity", headers=headers, partition=other)
    await assert_goes_on(world, port_process, len(messages) + len(GOOD_MESSAGES))
    text = port_process.log.read_text()
    assert "record_rejected" not in text, "each was recognised for what it is"
    again = await world.running()
    await again.ready()


async def test_a_record_that_fails_only_in_the_database_is_found_among_its_neighbours(world: World) -> None:
    process = await world.running()
    await world.sql("ALTER TABLE touchpoints ADD CONSTRAINT none_explodes CHECK (type <> 'explode')")
    bad = {5, 6, 300, 777, 1999}
    posted = [
        touchpoint(f"t-{n}", START + timedelta(minutes=n), customer_id=f"good-{n % 12}")
        | ({"type": "explode"} if n in bad else {})
        for n in range(2000)
    ]
    await world.post(posted)
    await assert_goes_on(world, process, len(bad), "unprocessable")
    await world.folded(len(posted) - len(bad) + 12)
    letters = {orjson.loads(letter.value)["id"] for letter in await world.records("dead-letters")}
    assert letters == {f"t-{n}" for n in bad}
    (row,) = await world.sql("SELECT sum(folded) AS folded, sum(duplicates) AS twice FROM partitions")
    assert (row["folded"], row["twice"]) == (len(posted) - len(bad) + 12, 0)


async def test_timers_that_can_not_be_written_hold_nobody_else_up(world: World) -> None:
    process = await world.running()
    await world.sql("ALTER TABLE history ADD CONSTRAINT no_stall CHECK (customer_id <> 'good-3' OR fact <> 'stall')")
    await world.post([touchpoint("now", datetime.now(UTC), customer_id="other")])
    await assert_goes_on(world, process, 0)

    async def stalled() -> bool:
        rows = await world.sql("SELECT customer_id FROM stages WHERE stalled_level > 0")
        return {row["customer_id"] for row in rows} >= {f"good-{n}" for n in range(12) if n != 3}

    await wait_until(stalled, "the others have stalled")


async def test_large_records_are_published_in_transactions_bounded_in_bytes(world: World) -> None:
    world.environment["TOUCHLINE_BATCH_RECORDS"] = "5000"
    process = await world.running()
    headers = [("big", b"h" * 200_000)]
    for _ in range(40):
        await write(world, b"x" * 700_000, "good-1", headers=headers)
    await assert_goes_on(world, process, 40, "not_json")
    sizes = [len(letter.value) for letter in await world.records("dead-letters")]
    assert sizes == [700_000] * 40


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_records_compressed_by_any_codec_are_read(world: World, codec: str) -> None:
    from aiokafka import AIOKafkaProducer

    process = await world.running()
    producer = AIOKafkaProducer(bootstrap_servers=world.bootstrap, compression_type=codec)
    await producer.start()
    try:
        data = [touchpoint(f"{codec}-{n}", START + timedelta(days=n), customer_id="packed") for n in range(20)]
        await asyncio.gather(
            *[
                await producer.send(world.topic("touchpoints"), orjson.dumps(one), key=key_of(one).encode())
                for one in data
            ]
        )
    finally:
        await producer.stop()
    await world.folded(20)
    assert process.popen.poll() is None
