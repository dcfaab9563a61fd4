"""Ten times the sustainable rate on ingest: what is answered, what is on the topic, the memory, and the time after it.

The sustainable rate is measured first, by a few clients that post as fast as they are answered. Then requests are due
ten times as often, on as many connections as it takes, whatever is answered.
"""

import asyncio
import itertools
import sys
import time
from collections import Counter
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.load.client import PATIENCE, Answers, Connection, post
from tests.load.services import KEY, PARTITIONS, PREFIX, open_files, resident_mib, running

ITEMS = 100
CONNECTIONS = 1_000
CLIENTS_OF_THE_MEASURED_RATE = 8


_TEMPLATE = post(
    "/v1/touchpoints",
    orjson.dumps(
        [
            {
                "id": f"#######-{item}",
                "type": "page_viewed",
                "customer_id": f"c{item * 37 % 5000}-#######",
                "occurred_at": "2026-03-01T12:00:00Z",
                "properties": {"url": "https://example.org/pricing"},
            }
            for item in range(ITEMS)
        ]
    ),
    key=KEY,
)
_ALL_ACCEPTED = b'{"accepted":%d,"rejected":0' % ITEMS


class Posters:
    """Clients that post batches with ids of their own, and remember which ids a 2xx named as accepted."""

    def __init__(self, port: int) -> None:
        self.answers = Answers()
        self.accepted: list[str] = []
        self.without_retry_after = 0
        self._port = port
        self._numbers = itertools.count()

    def batch(self, number: int) -> bytes:
        """A request, whose ids have the number in them."""
        return _TEMPLATE.replace(b"#######", b"%07d" % number)

    async def one(self, connection: Connection) -> int:
        """Post one batch; the status, or 0."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE):
                number = next(self._numbers)
                status, headers, body = await connection.ask(self.batch(number))
        except (OSError, EOFError) as error:
            self.answers.statuses[type(error).__name__] += 1
            return 0
        self.answers.statuses[str(status)] += 1
        self.answers.seconds.append(time.perf_counter() - began)
        if status in (429, 503):
            self.without_retry_after += not headers.get("retry-after", "").isdigit()
        if body.startswith(_ALL_ACCEPTED):
            self.accepted += [f"{number:07d}-{item}" for item in range(ITEMS)]
        elif status != 429:
            # A 503 names what was accepted before, too.
            results = orjson.loads(body or b"{}").get("results", ())
            self.accepted += [one["id"] for one in results if one["status"] == "accepted"]
        return status

    async def steadily(self, clients: int, seconds: float) -> float:
        """Post as fast as it is answered. Returns accepted touchpoints a second."""
        before, began = len(self.accepted), time.monotonic()

        async def client() -> None:
            connection = Connection(self._port)
            while time.monotonic() < began + seconds:
                await self.one(connection)
            connection.close()

        await asyncio.gather(*(client() for _ in range(clients)))
        return (len(self.accepted) - before) / (time.monotonic() - began)

    async def at_a_rate(self, batches_a_second: float, seconds: float) -> int:
        """Post at that rate, whatever is answered. Returns how many batches were not begun for want of a connection."""
        free = [Connection(self._port) for _ in range(CONNECTIONS)]
        under_way: set[asyncio.Task[None]] = set()
        skipped = due = 0
        began = time.monotonic()

        async def one(connection: Connection) -> None:
            await self.one(connection)
            free.append(connection)

        while (now := time.monotonic() - began) < seconds:
            while due < now * batches_a_second:
                due += 1
                if free:
                    task = asyncio.create_task(one(free.pop()))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                else:
                    skipped += 1
            await asyncio.sleep(0.01)
        await asyncio.gather(*under_way)
        for connection in free:
            connection.close()
        return skipped


async def ids_on_the_topic(bootstrap: str) -> Counter[str]:
    """Every id on the touchpoints topic, and how often."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    found: Counter[str] = Counter()
    try:
        pairs = [TopicPartition(f"{PREFIX}.touchpoints.v1", partition) for partition in range(PARTITIONS)]
        consumer.assign(pairs)
        ends = await consumer.end_offsets(pairs)
        left = {pair for pair in pairs if ends[pair]}
        while left:
            for records in (await consumer.getmany(timeout_ms=500, max_records=20_000)).values():
                found.update(orjson.loads(record.value)["id"] for record in records)
            left = {pair for pair in left if await consumer.position(pair) < ends[pair]}
    finally:
        await consumer.stop()
    return found


def run(*, quick: bool, times: float = 10.0) -> list[dict[str, Any]]:
    """Measure, overload, and see what is left."""
    seconds = 6.0 if quick else 60.0
    # Small limits, so that a minute fills them; a production's machine is larger, and its limits with it.
    with running("ingest", max_in_flight_records="20000", max_reading_bytes="32000000") as started:
        service = started.services["ingest"]

        async def measured() -> dict[str, Any]:
            posters = Posters(service.port)
            await posters.steadily(CLIENTS_OF_THE_MEASURED_RATE, 2)
            rate = await posters.steadily(CLIENTS_OF_THE_MEASURED_RATE, seconds / 6)
            before, usual = resident_mib(service), posters.answers.as_json()
            posters.answers = Answers()
            stop = asyncio.Event()
            health = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.load.client", str(service.port), "/healthz", str(seconds),
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            memory: list[float] = []

            async def watch() -> None:
                while not stop.is_set():
                    memory.append(resident_mib(service))
                    await asyncio.sleep(0.25)

            watching = asyncio.create_task(watch())
            accepted_before = len(posters.accepted)
            began = time.monotonic()
            skipped = await posters.at_a_rate(times * rate / ITEMS, seconds)
            took = time.monotonic() - began
            accepted = len(posters.accepted) - accepted_before
            stop.set()
            await watching
            answers, posters.answers = posters.answers.as_json(), Answers()
            rate_after = await posters.steadily(CLIENTS_OF_THE_MEASURED_RATE, seconds / 6)
            after = posters.answers.as_json()
            published = await ids_on_the_topic(started.stack.kafka_bootstrap)
            return {
                "what": "overload",
                "sustainable_touchpoints_per_second": round(rate),
                "times": times,
                "seconds": round(took, 1),
                "accepted_touchpoints_per_second": round(accepted / took),
                "answers_before": usual,
                "answers": answers,
                "batches_without_a_free_connection": skipped,
                "without_retry_after": posters.without_retry_after,
                "healthz": orjson.loads((await health.communicate())[0]),
                "after_touchpoints_per_second": round(rate_after),
                "answers_after": after,
                "accepted": len(posters.accepted),
                "accepted_and_not_on_the_topic": sum(one not in published for one in posters.accepted),
                "accepted_and_twice_on_the_topic": sum(published[one] > 1 for one in posters.accepted),
                "on_the_topic_without_acceptance": len(published.keys() - set(posters.accepted)),
                "resident_mib": {"before": before, "most": max(memory), "after": resident_mib(service)},
                "open_files_after": open_files(service),
            }

        row = asyncio.run(measured())
        print(orjson.dumps(row).decode(), flush=True)
        return [row]
