"""Kafka Streams on the engine's load: the same topic, the rules of one lifecycle, exactly-once, states in RocksDB.

Its jars come by Maven and are kept in the user's cache; `javac` compiles `kafka_streams_app/StageCounter.java`.
"""

import asyncio
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
from aiokafka import TopicPartition
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.kafka.clients import Admin, WantedTopic

_SOURCE = Path(__file__).parent / "kafka_streams_app"
_THREADS = 2
_DEADLINE_SECONDS = 600.0
_TICK = 0.05


def missing() -> str | None:
    """What the comparison lacks on this machine; None: nothing."""
    names = [name for name in ("java", "javac", "mvn") if shutil.which(name) is None]
    return f"{' and '.join(names)} not found" if names else None


def build(cache: Path) -> str:
    """The class path of the compiled program.

    Raises:
        subprocess.CalledProcessError: Maven or javac failed.
    """
    jars, classes = cache / "jars", cache / "classes"
    if not jars.is_dir():
        command = ["mvn", "-q", "-B", "-f", str(_SOURCE / "pom.xml"), "dependency:copy-dependencies"]
        subprocess.run(
            [*command, f"-DoutputDirectory={jars}.new", "-DincludeScope=runtime"],
            check=True, capture_output=True, timeout=900,
        )  # fmt: skip
        Path(f"{jars}.new").rename(jars)
    subprocess.run(
        ["javac", "-nowarn", "-cp", f"{jars}/*", "-d", str(classes), str(_SOURCE / "StageCounter.java")],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return f"{jars}/*:{classes}"


async def measure(
    settings: ServiceSettings, class_path: str, topic: str, partitions: int, count: int
) -> dict[str, float]:
    """Touchpoints a second from the first seen progress to the last record, and processor time for each.

    The progress is what the application has committed, in its transactions, to its consumer group.
    """
    bootstrap = settings.kafka_bootstrap_servers
    assert bootstrap is not None, "the stack is up"
    name = f"bench-kafka-streams-{time.time_ns()}"
    output = f"{name}-facts"
    pairs = [TopicPartition(topic, partition) for partition in range(partitions)]
    with tempfile.TemporaryDirectory(prefix="touchline-bench-streams-") as folder:
        arguments = [bootstrap, name, topic, output, folder, str(_THREADS)]
        async with Admin(settings, "bench-kafka-streams") as admin:
            await admin.ensure_topics([WantedTopic(output, partitions, {})])
            process = await asyncio.create_subprocess_exec(
                "java", "-Xmx1g", "-cp", class_path, "StageCounter", *arguments,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                return await _watch(admin, psutil.Process(process.pid), name, pairs, count)
            finally:
                process.terminate()
                await process.wait()


async def _watch(
    admin: Admin, process: psutil.Process, group: str, pairs: list[TopicPartition], count: int
) -> dict[str, float]:
    first: tuple[float, int, float] | None = None
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        offsets = await admin.client.list_consumer_group_offsets(group, partitions=pairs)
        done = sum(max(0, found.offset) for found in offsets.values())
        now, spent = time.perf_counter(), sum(process.cpu_times()[:2])
        if first is None and done:
            first = now, done, spent
        if first is not None and done >= count:
            folded = max(1, done - first[1])
            return {
                "Kafka Streams, one lifecycle, two threads, /s": folded / (now - first[0]),
                "… µs of the JVM for a touchpoint": 1e6 * (spent - first[2]) / folded,
            }
        if time.monotonic() > deadline:
            raise TimeoutError(f"Kafka Streams: {done} of {count} in {_DEADLINE_SECONDS:.0f} s")
        await asyncio.sleep(_TICK)
