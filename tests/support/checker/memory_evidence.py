"""Evidence of a run of the engine's own code in memory, with the actions and messages of a faultless notifier."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
from touchline_checker.evidence import Evidence, Received, Record
from touchline_schemas.ids import action_id
from touchline_schemas.partitions import partition_of
from touchline_schemas.times import parse_micros
from touchline_stage_engine.application.outbox_records import CUSTOMER_STAGES, DEAD_LETTERS, STAGE_CHANGES

from tests.support.engine.memory_engine import MemoryEngine, definition_of
from tests.support.engine.world import LIFECYCLE

MINUTE = 60 * 10**6
_TOPICS = {STAGE_CHANGES: "stage-changes", CUSTOMER_STAGES: "customer-stages", DEAD_LETTERS: "dead-letters"}
_HISTORY = (
    "customer_id", "lifecycle", "no", "fact", "sequence", "occurred_at", "version", "stage", "from_stage", "move",
    "reason_kind", "reason_text", "touchpoint_id", "previous_stage_seconds", "level", "since", "stalled_seconds",
    "backfill",
)  # fmt: skip
_STAGES = ("version", "stage", "entered_at", "sequence", "stalled_level", "stalled_since")

PLAYS: list[dict[str, Any]] = [
    {"play": "call", "when": {"fact": "customer-stalled", "lifecycle": "trial"}, "action": {"channel": "email"}},
    {"play": "thank", "when": {"fact": "stage-changed", "move": ["advance"]}, "action": {"channel": "webhook"}},
]
_KINDS = {"customer-stalled": "touchline.customer-stalled", "stage-changed": "touchline.stage-changed"}


async def fold_in_order(engine: MemoryEngine, posted: Sequence[dict[str, Any]], now: int) -> None:
    """Fold everything in the order in which it was posted, then fire the timers."""
    for data in posted:
        engine.topics.post(data)
    for partition in range(engine.settings.partitions):
        await engine.take(partition)
    while unread := engine.unread():
        for partition in unread:
            await engine.fold(partition, 1000, 1000)
    for partition in range(engine.settings.partitions):
        while await engine.fire(partition, now):
            pass


def evidence_of(engine: MemoryEngine, now: int, arrived_at: int, definitions: Sequence[str] = (LIFECYCLE,)) -> Evidence:
    """What the engine has read, published and stored; every touchpoint was accepted, at `arrived_at`."""
    evidence = Evidence(now, shared_key_limit=engine.settings.shared_key_limit)
    for partition in range(engine.settings.partitions):
        for record in engine.topics.touchpoints[partition]:
            data = orjson.loads(record.value or b"null")
            key = (record.key or b"").decode()
            evidence.topics["touchpoints"].append(Record(partition, record.offset, key, {}, data, arrived_at))
            evidence.accepted.append(data)
    offsets: dict[tuple[str, int], int] = {}
    for outgoing in engine.topics.published:
        topic, key = _TOPICS[outgoing.topic], (outgoing.key or b"").decode()
        chosen = outgoing.partition
        number = partition_of(key, engine.settings.partitions) if chosen is None else chosen
        offset = offsets[topic, number] = offsets.get((topic, number), -1) + 1
        value = None if outgoing.value is None else orjson.loads(outgoing.value)
        headers = {name: text.decode() for name, text in outgoing.headers}
        evidence.topics[topic].append(Record(number, offset, key, headers, value, now))
    for text in definitions:
        definition = definition_of(text)
        data = {"definition": text, "effective_from": definition.effective_from}
        key = f"{definition.lifecycle}/{definition.version}"
        evidence.topics["lifecycles"].append(Record(0, 0, key, {}, data, now))
    database = engine.database
    evidence.tables = {
        "touchpoints": [
            {"customer_id": customer, "source": row["source"], "id": row["id"], "occurred_at": row["occurred_at"]}
            for (customer, _), row in database.touchpoints.items()
        ],
        "stages": [
            {"customer_id": customer, "lifecycle": lifecycle, **dict(zip(_STAGES, row, strict=True))}
            for (customer, lifecycle), row in database.stages.items()
        ],
        "history": [dict(zip(_HISTORY, row, strict=True)) for row in database.history.values()],
    }
    return evidence


def add_actions(evidence: Evidence, plays: Sequence[dict[str, Any]] = tuple(PLAYS)) -> None:
    """Let a notifier without mistakes act on every fact, and its messages arrive."""
    evidence.plays, evidence.received, evidence.tables["actions"] = list(plays), [], []
    for record in evidence.topics["stage-changes"]:
        data = record.data
        for play in plays:
            when = play["when"]
            if record.headers["ce_type"] != _KINDS[when["fact"]] or data.get("backfill"):
                continue
            if data.get("reason", {}).get("kind") in ("late_touchpoint", "merge", "definition"):
                continue
            if "move" in when and data["move"] not in when["move"]:
                continue
            _act(evidence, play, record)


def _act(evidence: Evidence, play: dict[str, Any], fact: Record) -> None:
    identifier = str(action_id(play["play"], fact.headers["ce_id"]))
    channel, at = play["action"]["channel"], fact.data["decided_at"]
    for sequence, outcome in enumerate(("decided", "sent"), 1):
        evidence.topics["retention-actions"].append(
            Record(
                fact.partition,
                len(evidence.topics["retention-actions"]),
                fact.data["customer_id"],
                {"ce_id": f"{identifier}-{sequence}"},
                {
                    "action_id": identifier, "play": play["play"], "fact_id": fact.headers["ce_id"],
                    "customer_id": fact.data["customer_id"], "lifecycle": fact.data["lifecycle"], "channel": channel,
                    "outcome": outcome, "reason": None, "decided_at": at, "sequence": sequence,
                },
            )
        )  # fmt: skip
    customer = fact.data["customer_id"]
    evidence.tables["actions"].append(
        {"action_id": identifier, "play": play["play"], "fact_id": fact.headers["ce_id"], "outcome": "sent"}
    )
    kind, to = ("mail", f"{customer}@example.org") if channel == "email" else ("webhook", None)
    assert evidence.received is not None
    evidence.received.append(
        Received(kind, parse_micros(at) + 10**6, f"msg_{identifier}", identifier, None, customer, to)
    )


def clean_evidence(posted: Sequence[dict[str, Any]], now: int, *, partitions: int = 3) -> Evidence:
    """A run without faults: touchpoints folded in the order given, timers fired through `now`, actions taken."""
    engine = MemoryEngine(partitions=partitions)
    asyncio.run(fold_in_order(engine, posted, now))
    # What came a minute before it was folded has certainly overtaken no timer.
    evidence = evidence_of(engine, now, now - 2 * MINUTE)
    # What was decided right before the collection is judged less strictly.
    evidence.collected_at += MINUTE
    add_actions(evidence)
    return evidence
