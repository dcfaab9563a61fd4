"""Tables of many customers: the engine folds some thousand lives, and SQL copies their rows for other customers.

A copy has the ids ``<id>-<number>`` and is otherwise what the engine wrote. `check` posts the touchpoints of some
copies to a second deployment, and compares what the engine writes for them with the copied rows.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
from aiokafka import AIOKafkaProducer
from rich.console import Console
from touchline_devstack.processes import Service, command
from touchline_schemas.times import from_micros, to_wire
from touchline_schemas.topics import TOUCHPOINTS
from touchline_schemas.touchpoint_types import meaning_of

from bench.console.copies import COMPARED, COPIES

EACH = 20
LIFECYCLES = "service-cycle,reach-to-loyalty"
CHECK_PREFIX = "benchcheck"
CHECKED = 50
TYPES = (
    "page_viewed", "page_viewed", "page_viewed", "page_viewed", "email_delivered", "email_delivered", "email_clicked",
    "content_downloaded", "demo_booked", "purchased", "purchased", "survey_answered", "ticket_opened",
    "ticket_resolved", "meeting_held", "contacted", "referral_made", "feature_used", "refunded", "complaint_made",
)  # fmt: skip
AT_ONCE = 20
"""Copies of everybody that one statement inserts. Their touchpoints are ordered by time, as they would have arrived."""
console = Console()


def lives(customers: int, now: datetime, seed: int = 7) -> Iterator[dict[str, Any]]:
    """About `EACH` touchpoints of every customer, spread over at most ten months; the first one tells their name."""
    dice = random.Random(seed)
    for number in range(customers):
        customer = f"c-{number:05d}"
        count = dice.randint(EACH // 2, EACH + EACH // 2)
        at = now - timedelta(days=dice.uniform(3, 300))
        pace = min(dice.choice((0.3, 2, 6, 15)), (now - at).days / count)
        for index in range(count):
            kind = "signed_up" if index == 0 else dice.choice(TYPES)
            more: dict[str, Any] = {}
            if kind == "signed_up":
                more = {
                    "name": f"Ada {number:05d}",
                    "email": f"ada.{number:05d}@example.org",
                    "plan": dice.choice("ab"),
                }
            elif kind == "survey_answered":
                more = {"score": dice.choice((2, 6, 7, 9, 10))}
            elif kind in ("purchased", "refunded"):
                more = {"value": dice.randint(10, 500)}
            elif kind in ("contacted", "meeting_held"):
                more = {"minutes": dice.choice((10, 20, 45))}
            meaning = meaning_of(kind)
            yield {
                "id": f"e-{number:05d}-{index}",
                "type": kind,
                "channel": meaning.channel,
                "direction": meaning.direction,
                "customer_id": customer,
                "occurred_at": to_wire(at),
                "received_at": to_wire(at + timedelta(seconds=1)),
                "source": "shop",
                "properties": more,
            }
            at += timedelta(days=dice.expovariate(1 / pace) if pace > 0 else 0.001)
            if at >= now:
                break


def fill(environment: dict[str, str], folder: Path, customers: int) -> int:
    """Fill empty tables; returns how many copies of the folded lives there are, the folded ones included."""
    folded = min(5000, customers // AT_ONCE)
    times = customers // folded
    began = time.monotonic()
    fold(environment, folder, lives(folded, datetime.now(UTC)))
    console.print(f"{folded:,} lives folded in {time.monotonic() - began:.0f} s")
    asyncio.run(_copy(environment["TOUCHLINE_DATABASE_URL"], times))
    return times


def fold(environment: dict[str, str], folder: Path, touchpoints: Iterator[dict[str, Any]]) -> None:
    """Post touchpoints, and run an engine until all of them are folded, timers have fired and facts are published."""
    posted = list(touchpoints)
    prefix = environment.get("TOUCHLINE_TOPIC_PREFIX", "touchline")
    with Service("fold", [command("touchline-stage-engine"), "run"], environment=environment, logs=folder) as engine:
        engine.wait_ready(120)
        asyncio.run(_post(environment["TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS"], TOUCHPOINTS.full_name(prefix), posted))

        def folded() -> bool:
            state = httpx.get(f"{engine.url}/v1/operations", timeout=60, trust_env=False)
            if state.status_code != 200:
                return False
            done = sum(one["folded"] for one in state.json()["partitions"])
            return done >= len(posted) and not any(
                state.json()[name] for name in ("lag", "timers_due", "outbox_waiting")
            )

        wait("everything is folded", folded)
        schema = "stage_engine" if prefix == "touchline" else f"stage_engine_{prefix}"
        wait("all summaries are written", lambda: summarised(environment["TOUCHLINE_DATABASE_URL"], schema))


def summarised(url: str, schema: str) -> bool:
    """Whether the summary of every customer is there and up to date."""

    async def missing() -> int:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(f"SET search_path TO {schema}")
            return int(
                await connection.fetchval(
                    "SELECT count(*) FROM customers c LEFT JOIN customer_summaries s USING (customer_id)"
                    " WHERE s.touchpoints IS DISTINCT FROM c.touchpoints"
                )
            )
        finally:
            await connection.close()

    return asyncio.run(missing()) == 0


def wait(what: str, holds: Callable[[], bool], seconds: float = 3600) -> None:
    """Return when a condition holds.

    Raises:
        RuntimeError: it does not within the time.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.5)


async def _post(bootstrap: str, topic: str, touchpoints: list[dict[str, Any]]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=10) as producer:
        waiting = [await producer.send(topic, orjson.dumps(one), one["customer_id"].encode()) for one in touchpoints]
        await asyncio.gather(*waiting)


async def _copy(url: str, times: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET search_path TO stage_engine")
        await connection.execute("SET synchronous_commit TO off")
        await connection.execute("SET work_mem TO '512MB'")
        await connection.execute("SET maintenance_work_mem TO '1GB'")
        for table, statement in COPIES.items():
            began = time.monotonic()
            # Indexes of rows that are there are made in a fraction of the time that it takes to add to them.
            indexes = await _dropped_indexes(connection, table)
            for first in range(1, times, AT_ONCE):
                await connection.execute(statement, first, min(first + AT_ONCE, times) - 1, timeout=3600)
            for statement_of_index in indexes:
                await connection.execute(statement_of_index, timeout=3600)
            rows = await connection.fetchval(f"SELECT count(*) FROM {table}")
            console.print(f"{table}: {rows:,} rows in {time.monotonic() - began:.0f} s")
        await connection.execute("VACUUM ANALYZE", timeout=3600)
    finally:
        await connection.close()


async def _dropped_indexes(connection: asyncpg.Connection, table: str) -> list[str]:
    """Drop the indexes of a table; the statements that make them again."""
    found = await connection.fetch(
        """
        SELECT i.relname AS name, pg_get_indexdef(x.indexrelid) AS definition, c.conname AS of_constraint,
               pg_get_constraintdef(c.oid) AS constraint_definition
        FROM pg_index x
        JOIN pg_class i ON i.oid = x.indexrelid
        LEFT JOIN pg_constraint c ON c.conindid = x.indexrelid AND c.contype = 'p'
        WHERE x.indrelid = CAST($1 AS regclass)
        """,
        table,
    )
    again = []
    for index in found:
        if index["of_constraint"]:
            await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {index['of_constraint']}")
            again.append(
                f"ALTER TABLE {table} ADD CONSTRAINT {index['of_constraint']} {index['constraint_definition']}"
            )
        else:
            await connection.execute(f"DROP INDEX {index['name']}")
            again.append(index["definition"])
    return again


def check(environment: dict[str, str], folder: Path, times: int) -> int:
    """Compare some copies with what the engine writes for the same touchpoints; returns how many were compared.

    Raises:
        RuntimeError: they differ.
    """
    dice = random.Random(11)
    url = environment["TOUCHLINE_DATABASE_URL"]
    copies = asyncio.run(_copies(url, dice, times))
    fold(environment | {"TOUCHLINE_TOPIC_PREFIX": CHECK_PREFIX}, folder, iter(copies))
    customers = sorted({one["customer_id"] for one in copies})
    asyncio.run(_compare(url, customers))
    return len(customers)


async def _copies(url: str, dice: random.Random, times: int) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(url)
    try:
        known = await connection.fetch(
            # No timer of theirs is due while the others are compared.
            "SELECT customer_id FROM stage_engine.customers"
            " WHERE customer_id LIKE 'c-_____' AND (wake_at IS NULL OR wake_at > $1) ORDER BY 1",
            time.time_ns() // 1000 + 3_600_000_000,
        )
        customers = [f"{row['customer_id']}-{dice.randrange(1, times)}" for row in dice.sample(known, CHECKED)]
        rows = await connection.fetch(
            "SELECT * FROM stage_engine.touchpoints WHERE customer_id = ANY ($1::text[])", customers
        )
    finally:
        await connection.close()
    return [
        {
            "id": row["id"],
            "type": row["type"],
            "channel": row["channel"],
            "direction": "outbound" if row["flags"] & 4 else "inbound",
            "customer_id": row["customer_id"],
            "occurred_at": to_wire(from_micros(row["occurred_at"])),
            "received_at": to_wire(from_micros(row["received_at"])),
            "source": row["source"],
            "properties": orjson.loads(row["properties"]),
        }
        for row in rows
    ]


async def _compare(url: str, customers: list[str]) -> None:
    connection = await asyncpg.connect(url)
    try:
        for customer in customers:
            for statement in COMPARED:
                found = []
                for schema in ("stage_engine", f"stage_engine_{CHECK_PREFIX}"):
                    await connection.execute(f"SET search_path TO {schema}")
                    found.append([_comparable(dict(row)) for row in await connection.fetch(statement, customer)])
                if found[0] != found[1] or not found[0]:
                    raise RuntimeError(f"copied rows of {customer} differ from the engine's: {found[0]} {found[1]}")
    finally:
        await connection.close()


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the numbers of what was published: the sequence and the number of the last fact."""
    if "states" in row:
        states = orjson.loads(row["states"])
        row["states"] = {name: [state, published[2:], *more] for name, (state, published, *more) in states.items()}
    return row
