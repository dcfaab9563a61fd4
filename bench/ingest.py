"""Ingest by HTTP against the smallest FastAPI and aiokafka service with acks=all, in turns, in the same run.

Both are one process on the same broker, the load comes from the same machine. Ours has everything on that it has in
production: keys, limits, a judgement and a result for each item, ids, CloudEvents headers.
"""

import hashlib
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import psutil
from rich.console import Console
from rich.table import Table
from touchline_devstack.processes import Service, command
from touchline_devstack.settings import DevstackSettings
from touchline_devstack.stack import Stack

from bench import load

KEY = "bench-key"
console = Console()


@dataclass(frozen=True)
class Shape:
    """A kind of request."""

    name: str
    items: int
    connections: int
    floor_path: str
    aim: float


SHAPES = (Shape("single", 1, 32, "/one", 0.8), Shape("batch of 100", 100, 16, "/many", 1.0))


def run(*, quick: bool) -> dict[str, Any]:
    """Run everything; figures by name."""
    rounds, seconds = (1, 2.0) if quick else (5, 5.0)
    with tempfile.TemporaryDirectory(prefix="touchline-bench-") as folder:
        stack = Stack(replace(DevstackSettings.from_environment(), folder=Path(folder) / "stack"))
        stack.up()
        try:
            with _services(stack, Path(folder)) as (floor, ours):
                return {shape.name: _measure(shape, floor, ours, rounds, seconds) for shape in SHAPES}
        finally:
            stack.down()


def _measure(shape: Shape, floor: Service, ours: Service, rounds: int, seconds: float) -> dict[str, Any]:
    bodies = [_body(shape.items, random.Random(seed)) for seed in range(50)]
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    loads = {
        "floor": load.Load(floor.url + shape.floor_path, bodies, headers),
        "ingest": load.Load(ours.url + "/v1/touchpoints", bodies, headers),
    }
    processes = {"floor": psutil.Process(floor.pid), "ingest": psutil.Process(ours.pid)}
    rates: dict[str, list[float]] = {name: [] for name in loads}
    costs: dict[str, list[float]] = {name: [] for name in loads}
    for warming in (True, *([False] * rounds)):
        # In turns, so that whatever else the machine does meets both.
        for name, what in loads.items():
            before = _cpu(processes[name])
            rate = load.most(what, connections=shape.connections, seconds=1 if warming else seconds)
            if not warming:
                rates[name].append(rate * shape.items)
                costs[name].append((_cpu(processes[name]) - before) / (rate * seconds * shape.items))
    ratios = [mine / other for mine, other in zip(rates["ingest"], rates["floor"], strict=True)]
    half = median(rates["ingest"]) / shape.items / 2
    took = load.latency(loads["ingest"], per_second=half, seconds=seconds)
    figures = {
        "floor_per_second": round(median(rates["floor"])),
        "ingest_per_second": round(median(rates["ingest"])),
        "ratio": round(median(ratios), 2),
        "aim": shape.aim,
        "floor_cpu_us": round(median(costs["floor"]) * 1e6, 1),
        "ingest_cpu_us": round(median(costs["ingest"]) * 1e6, 1),
        "half_load_requests_per_second": round(half),
        "half_load_p50_ms": round(took[len(took) // 2] * 1000, 1),
        "half_load_p99_ms": round(took[int(len(took) * 0.99)] * 1000, 1),
    }
    table = Table("touchpoints", "a second", "CPU each", title=f"{shape.name}, {shape.connections} connections")
    table.add_row("floor", f"{figures['floor_per_second']:,}", f"{figures['floor_cpu_us']} µs")
    table.add_row("ingest", f"{figures['ingest_per_second']:,}", f"{figures['ingest_cpu_us']} µs")
    console.print(table)
    console.print(
        f"ratio {figures['ratio']} (aim {shape.aim}); at half load, {figures['half_load_requests_per_second']} "
        f"requests a second: p50 {figures['half_load_p50_ms']} ms, p99 {figures['half_load_p99_ms']} ms"
    )
    return figures


@contextmanager
def _services(stack: Stack, folder: Path) -> Iterator[tuple[Service, Service]]:
    sources = folder / "sources.yaml"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    sources.write_text(f'sources:\n  - {{name: bench, kind: api, key_sha256: "{digest}"}}\n')
    environment = {
        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap,
        "TOUCHLINE_TOPIC_PREFIX": "bench",
        "TOUCHLINE_SOURCES_FILE": str(sources),
        "FLOOR_TOPIC": "floor.touchpoints.v1",
    }
    ours = Service("ingest", [command("touchline-ingest"), "serve"], environment=environment, logs=folder)
    # The floor's topic: the same count of partitions, made by the same hands.
    maker = Service(
        "maker", [command("touchline-ingest"), "serve"], environment=environment | {"TOUCHLINE_TOPIC_PREFIX": "floor"},
        logs=folder,
    )  # fmt: skip
    with maker:
        maker.wait_ready()
    floor = Service("floor", [], environment=environment, logs=folder)
    arguments = ["-m", "uvicorn", "bench.ingest_floor:app", "--no-access-log", "--port", str(floor.port)]
    floor = Service(
        "floor", [sys.executable, *arguments], environment=environment, logs=folder, port=floor.port,
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    with ours, floor:
        yield floor.wait_ready(), ours.wait_ready()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _body(items: int, chance: random.Random) -> bytes:
    touchpoints = [
        {
            "type": "page_viewed",
            "customer_id": f"customer-{chance.randrange(20_000)}",
            "occurred_at": "2026-03-01T12:00:00.123Z",
            "properties": {"url": "https://example.org/pricing", "referrer": "https://example.org/", "score": 3},
        }
        for _ in range(items)
    ]
    return orjson.dumps(touchpoints if items > 1 else touchpoints[0])
