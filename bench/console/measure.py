"""Server time of the console's pages and of the API behind them, with many customers of twenty touchpoints each.

The engine folds some thousand lives, and SQL copies their rows (`bench.console.rows`); a sample of the copies is
compared with what the engine writes for the same touchpoints. Then the real engine (``serve``), notifier and console
answer. Reported is the time to the whole answer, one request at a time, over loopback: the first request after a start
(cold), then p50, p95 and the longest of the rest. Answers that are computed first (202) are reported with the seconds
until they are there (docs/query-api.md, How fresh).

    python -m bench.console --customers 1000000 --folder /tmp/large    # keeps the tables, and uses them when they exist
"""

import asyncio
import contextlib
import json
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from typing import Any

import asyncpg
import httpx
from rich.console import Console
from rich.table import Table
from touchline_devstack.processes import Service, command
from touchline_devstack.settings import DevstackSettings
from touchline_devstack.stack import Stack

from bench.console import actions, questions, rows

CUSTOMERS = 1_000_000
AIM_MILLISECONDS = 300
console = Console()
Kinds = dict[str, tuple[str, ...]]
ASKED: Kinds = {
    "engine": questions.ENGINE,
    "computed": questions.COMPUTED,
    "notifier": questions.NOTIFIER,
    "pages": questions.PAGES,
}


def run(*, quick: bool) -> dict[str, Any]:
    """Fill the tables, ask everything, and report the percentiles."""
    with tempfile.TemporaryDirectory(prefix="touchline-bench-") as name:
        return measured(Path(name), 50_000 if quick else CUSTOMERS, 10 if quick else 40)


def measured(folder: Path, customers: int, rounds: int, kinds: Kinds = ASKED) -> dict[str, Any]:
    """The figures at a size. Tables that a former run left in the folder are used as they are."""
    stack = Stack(replace(DevstackSettings.from_environment(), folder=folder / "stack"))
    stack.up()
    try:
        environment = {
            "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap,
            "TOUCHLINE_DATABASE_URL": stack.database_url,
            "TOUCHLINE_PARTITIONS": "1",
            "TOUCHLINE_LIFECYCLES": rows.LIFECYCLES,
        }
        notifier = environment | actions.configuration(folder)
        filled = folder / "filled.json"
        if not filled.exists():
            times = rows.fill(environment, folder, customers)
            compared = rows.check(environment, folder, times)
            console.print(f"the rows of {compared} copies are those that the engine writes")
            _migrate(folder, "touchline-notifier", notifier)
            asyncio.run(actions.fill(stack.database_url))
            filled.write_text(json.dumps({"customers": customers, "times": times}))
        times = json.loads(filled.read_text())["times"]
        return _asked(environment, notifier, folder, times, rounds, kinds)
    finally:
        stack.down()


def _migrate(folder: Path, program: str, environment: dict[str, str]) -> None:
    migrate = Service("migrate", [command(program), "migrate"], environment=environment, logs=folder)
    migrate.start().wait_ended(600)


def _asked(
    environment: dict[str, str], notifier: dict[str, str], folder: Path, times: int, rounds: int, kinds: Kinds
) -> dict[str, Any]:
    sample = asyncio.run(_sample(environment["TOUCHLINE_DATABASE_URL"], times))
    with contextlib.ExitStack() as services:

        def started(name: str, program: str, environment: dict[str, str]) -> Service:
            return services.enter_context(
                Service(name, [command(program), "serve"], environment=environment, logs=folder)
            ).wait_ready(120)

        _migrate(folder, "touchline-stage-engine", environment)
        engine = started("engine", "touchline-stage-engine", environment)
        urls = {"engine": engine.url, "computed": engine.url}
        figures: dict[str, Any] = {}
        urls["notifier"] = started("notifier", "touchline-notifier", notifier).url
        sources = folder / "sources.yaml"
        sources.write_text(json.dumps({"sources": [{"name": "shop", "kind": "api", "key_sha256": "0" * 64}]}))
        ingest = started("ingest", "touchline-ingest", environment | {"TOUCHLINE_SOURCES_FILE": str(sources)})
        urls["pages"] = started("console", "touchline-console", {
            "TOUCHLINE_ENGINE_URL": engine.url, "TOUCHLINE_NOTIFIER_URL": urls["notifier"],
            "TOUCHLINE_INGEST_URL": ingest.url,
        }).url  # fmt: skip
        for kind, paths in kinds.items():
            figures[kind] = _measure(kind, urls[kind], paths, sample, rounds)
    return figures


async def _sample(url: str, times: int) -> list[dict[str, str]]:
    """Values for the paths, of customers taken at random."""
    dice = random.Random(7)
    connection = await asyncpg.connect(url)
    try:
        folded = await connection.fetch(
            "SELECT customer_id FROM stage_engine.customers WHERE customer_id LIKE 'c-_____'"
        )
        deliveries = await connection.fetch("SELECT id, action_id FROM notifier.deliveries LIMIT 200")
    finally:
        await connection.close()
    found = []
    for _ in range(200):
        number = dice.choice(folded)["customer_id"][2:]
        word = f"{number}-{dice.randrange(1, times)}" if times > 1 else number
        delivery = dice.choice(deliveries)
        found.append(
            {
                "customer": f"c-{word}",
                "name": word,
                "number": number,
                "action": str(delivery["action_id"]),
                "delivery": str(delivery["id"]),
            }
        )
    return found


def _days(count: int) -> Iterator[str]:
    """Beginnings of spans, each another one: answers about them are not in a cache."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=30)
    for number in range(count):
        yield (start - timedelta(minutes=number)).isoformat().replace("+00:00", "Z")


def _measure(kind: str, base: str, paths: tuple[str, ...], sample: list[dict[str, str]], rounds: int) -> dict[str, Any]:
    table = Table(kind, "cold ms", "computed s", "p50 ms", "p95 ms", "longest", "")
    figures: dict[str, Any] = {}
    with httpx.Client(base_url=base, timeout=120, trust_env=False) as client:
        day = next(iter(_days(1)))
        cursor = ""
        if "/v1/customers?limit=50&cursor={middle}" in paths:
            found = client.get("/v1/customers?limit=1000&max_value=500").json()
            cursor = found["next"] or ""
        for path in paths:
            first, computed, times = 0.0, 0.0, list[float]()
            for number in range(rounds + 1):
                values = sample[number % len(sample)] | {"day": day, "middle": cursor}
                took, waited = _ask(client, questions.filled(path, values))
                computed = max(computed, waited)
                if number:
                    times.append(took)
                else:
                    first = took
            cuts = quantiles(times, n=20)
            figures[path] = {
                "cold_ms": first, "computed_s": computed, "p50_ms": cuts[9], "p95_ms": cuts[18], "max_ms": max(times),
            }  # fmt: skip
            verdict = "" if max(first, cuts[18]) <= AIM_MILLISECONDS else f"above {AIM_MILLISECONDS}"
            shown = f"{computed:.1f}" if computed else ""
            table.add_row(
                path, f"{first:.0f}", shown, f"{cuts[9]:.1f}", f"{cuts[18]:.1f}", f"{max(times):.0f}", verdict
            )
    console.print(table)
    return figures


def _ask(client: httpx.Client, path: str) -> tuple[float, float]:
    """Milliseconds of the first answer, and seconds until it was computed (0: at once)."""
    began = time.perf_counter()
    answer = client.get(path)
    took = (time.perf_counter() - began) * 1000
    while _computing(answer):
        time.sleep(0.2)
        answer = client.get(path)
        if not _computing(answer):
            return took, time.perf_counter() - began
    if answer.status_code != 404:
        answer.raise_for_status()
    return took, 0.0


def _computing(answer: httpx.Response) -> bool:
    """Whether an answer, or a part of a page, is still being computed."""
    return answer.status_code == 202 or 'class="state computing"' in answer.text
