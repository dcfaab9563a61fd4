"""Reads the tables in one snapshot, and whether the services have read and published everything."""

import hashlib
import time
from typing import Any

import asyncpg

from touchline_checker.evidence import Row

_DEFAULT_PREFIX = "touchline"

TOUCHPOINTS = "SELECT customer_id, source, id, occurred_at, original_key FROM {engine}.touchpoints"
STAGES = """
SELECT customer_id, lifecycle, version, stage, entered_at, sequence, stalled_level, stalled_since FROM {engine}.stages
"""
HISTORY = """
SELECT customer_id, lifecycle, no, fact, sequence, occurred_at, version, stage, from_stage, move, reason_kind,
       touchpoint_id, previous_stage_seconds, level, since, stalled_seconds, backfill
FROM {engine}.history
"""
ACTIONS = """
SELECT action_id::text, play, fact_id, customer_id, outcome, reason_code,
       (extract(epoch FROM decided_at) * 1000000)::bigint AS decided_at
FROM {notifier}.actions
"""

OUTBOXES = """
SELECT (SELECT count(*) FROM {engine}.outbox) AS engine, (SELECT count(*) FROM {notifier}.outbox) AS notifier
"""
POSITIONS = "SELECT partition, next_offset, identity_offset FROM {engine}.partitions"
NOTIFIER_POSITIONS = "SELECT partition, next_touchpoint, next_fact FROM {notifier}.positions"
OVERDUE = "SELECT count(*) FROM {engine}.customers WHERE wake_at <= $1"
OVERDUE_AFTER = 20_000_000
"""Microseconds by which a timer may be late. It waits while a service reads records that arrived before."""
DELIVERIES = "SELECT count(*) FROM {notifier}.deliveries WHERE status IN ('pending', 'delivering')"


def schema(service: str, prefix: str) -> str:
    """The quoted schema of a service in a deployment with this topic prefix."""
    if prefix == _DEFAULT_PREFIX:
        return f'"{service}"'
    if len(prefix) > 40:
        prefix = prefix[:24] + hashlib.sha256(prefix.encode()).hexdigest()[:16]
    return f'"{service}_{prefix}"'


async def read_tables(database_url: str, prefix: str) -> dict[str, list[Row]]:
    """Table → its rows, of one snapshot. Without a notifier there is no table of actions."""
    names = {"engine": schema("stage_engine", prefix), "notifier": schema("notifier", prefix)}
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            found = {
                "touchpoints": await _rows(connection, TOUCHPOINTS.format(**names)),
                "stages": await _rows(connection, STAGES.format(**names)),
                "history": await _rows(connection, HISTORY.format(**names)),
            }
            if await connection.fetchval("SELECT to_regclass($1)", f"{names['notifier']}.actions") is not None:
                found["actions"] = await _rows(connection, ACTIONS.format(**names))
            return found
    finally:
        await connection.close()


async def _rows(connection: asyncpg.Connection, query: str) -> list[Row]:
    return [dict(row) for row in await connection.fetch(query)]


async def unfinished(database_url: str, prefix: str, ends: dict[str, dict[int, int]]) -> list[str]:
    """What is still to be read, published or delivered, given topic → partition → end offset; empty when at rest."""
    names = {"engine": schema("stage_engine", prefix), "notifier": schema("notifier", prefix)}
    connection = await asyncpg.connect(database_url)
    try:
        left = _behind(
            "the stage engine",
            await connection.fetch(POSITIONS.format(**names)),
            {"touchpoints": "next_offset", "identity": "identity_offset"},
            ends,
        )
        waiting = await connection.fetchrow(OUTBOXES.format(**names))
        left += [f"{count} rows of the outbox of {name}" for name, count in dict(waiting or {}).items() if count]
        left += _behind(
            "the notifier",
            await connection.fetch(NOTIFIER_POSITIONS.format(**names)),
            {"touchpoints": "next_touchpoint", "stage-changes": "next_fact"},
            ends,
        )
        if overdue := await connection.fetchval(OVERDUE.format(**names), time.time_ns() // 1000 - OVERDUE_AFTER):
            left.append(f"overdue timers of {overdue} customers")
        if deliveries := await connection.fetchval(DELIVERIES.format(**names)):
            left.append(f"{deliveries} deliveries")
        return left
    finally:
        await connection.close()


def _behind(service: str, rows: list[Any], columns: dict[str, str], ends: dict[str, dict[int, int]]) -> list[str]:
    positions = {row["partition"]: row for row in rows}
    found = []
    for topic, column in columns.items():
        for partition, end in ends.get(topic, {}).items():
            row = positions.get(partition)
            position = 0 if row is None else row[column]
            if position < end:
                found.append(f"{service} is at {position} of {end} on {topic}/{partition}")
    return found
