"""Let a deployment come to rest, collect the evidence, and let the checker judge it."""

import asyncio
import time
from datetime import datetime
from pathlib import Path

import orjson
from aiokafka import AIOKafkaConsumer
from touchline_checker.check import check
from touchline_checker.checks.folded import Tolerance
from touchline_checker.collect.kafka import read_topics
from touchline_checker.collect.postgres import read_tables, unfinished
from touchline_checker.evidence import Evidence, Received, read_lines, read_plays
from touchline_checker.findings import Report

from tests.campaign.deployment import PARTITIONS, Deployment
from tests.support.waiting import patience

LATE = 150_000_000
"""Timers fire late while everybody who could fire them is away: that long at most (microseconds)."""


async def settle(deployment: Deployment, seconds: float = 240) -> list[str]:
    """Wait until everything is read, published and delivered; what is left when time is up."""
    deadline = time.monotonic() + seconds * patience()
    left = ["it was not asked yet"]
    while left and time.monotonic() < deadline:
        left = await unfinished(deployment.database_url, deployment.prefix, await _ends(deployment))
        if left:
            await asyncio.sleep(1)
    return left


async def _ends(deployment: Deployment) -> dict[str, dict[int, int]]:
    """The offset after the last record of each partition: positions do not count the markers of transactions."""
    found: dict[str, dict[int, int]] = {}
    for name in ("touchpoints", "identity", "stage-changes"):
        consumer = AIOKafkaConsumer(
            f"{deployment.prefix}.{name}.v1",
            bootstrap_servers=deployment.stack.kafka_bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            pairs = sorted(consumer.assignment())
            assert len(pairs) == PARTITIONS, pairs
            ends = await consumer.end_offsets(pairs)
            found[name] = {}
            for pair in pairs:
                # Markers follow the last record; a transaction has one, and aborted ones may follow each other.
                consumer.seek(pair, max(0, ends[pair] - 50))
                last = 0
                while await consumer.position(pair) < ends[pair]:
                    for records in (await consumer.getmany(pair, timeout_ms=200)).values():
                        last = records[-1].offset + 1
                found[name][pair.partition] = last
        finally:
            await consumer.stop()
    return found


def received(deployment: Deployment) -> list[Received]:
    """What the receivers got, as the checker reads it."""
    found = []
    for arrived in deployment.receiver.arrived:
        data = orjson.loads(arrived.body)["data"]
        found.append(
            Received(
                "webhook", _micros(arrived.at), arrived.webhook_id, data.get("action_id"), None, data["customer_id"]
            )
        )
    for mail in deployment.mails.mails:
        message = mail.message
        found.append(
            Received(
                "mail", _micros(mail.at), str(message["Message-ID"]), str(message["X-Action-Id"]), None,
                str(message["X-Customer"]), mail.envelope_to[0],
            )
        )  # fmt: skip
    return found


def _micros(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000)


async def judge(deployment: Deployment, accepted: Path, folder: Path) -> Report:
    """Collect everything into a folder and check it."""
    collected_at = time.time_ns() // 1000
    tables = await read_tables(deployment.database_url, deployment.prefix)
    topics = await read_topics(deployment.stack.kafka_bootstrap, deployment.prefix)
    evidence = Evidence(
        collected_at, read_lines(accepted), topics, received(deployment), tables, read_plays(deployment.plays)
    )
    evidence.write(folder)
    return await asyncio.to_thread(check, Evidence.read(folder), Tolerance(late_timer=LATE))
