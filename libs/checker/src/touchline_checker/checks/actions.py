"""Every action has its fact and happens once, or says why not."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from touchline_checker.checks.facts import CORRECTIONS, MOVED, RECOVERED, STALLED
from touchline_checker.checks.folded import Input
from touchline_checker.evidence import Evidence, Record, Row
from touchline_checker.findings import Kind, Report
from touchline_checker.semantics.ids import action_id, step_action_id
from touchline_checker.semantics.times import instant

_FINAL = frozenset(("sent", "failed", "cancelled", "held_out"))
_FACT_TYPES = {"stage-changed": MOVED, "customer-stalled": STALLED, "customer-recovered": RECOVERED}


def check_actions(evidence: Evidence, folded: Input, report: Report) -> dict[str, dict[str, Any]]:
    """Compare actions with facts and plays; returns action id → its last event.

    What was decided right before the collection may be on one side alone, and is left out.
    """
    facts = {
        record.headers["ce_id"]: record for record in evidence.topics["stage-changes"] if "ce_id" in record.headers
    }
    events: dict[str, list[Record]] = defaultdict(list)
    seen: set[str] = set()
    for record in evidence.topics["retention-actions"]:
        ce_id = record.headers.get("ce_id", "")
        if ce_id in seen:
            report.add(Kind.ACTION_EVENTS_WRONG, record.data["action_id"], f"event {ce_id} was published twice")
            continue
        seen.add(ce_id)
        events[record.data["action_id"]].append(record)
    by_cause: dict[tuple[str, str], list[str]] = defaultdict(list)
    by_step: dict[tuple[str, str, str | None], list[str]] = defaultdict(list)
    last: dict[str, dict[str, Any]] = {}
    for identifier, records in events.items():
        report.compared["actions"] += 1
        if len({record.partition for record in records}) > 1:
            # The customer became another one: their events before and after that are on two partitions.
            records.sort(key=lambda record: record.data.get("sequence") or 0)
        data = records[-1].data
        last[identifier] = data
        by_cause[data["play"], data["fact_id"]].append(identifier)
        by_step[data["play"], data["fact_id"], data.get("step")].append(identifier)
        if data["fact_id"] not in facts:
            report.add(Kind.ACTION_WITHOUT_FACT, identifier, f"play {data['play']}: no fact {data['fact_id']}")
        if identifier != _expected_id(data):
            report.add(Kind.ACTION_EVENTS_WRONG, identifier, "the id is not that of its play, fact and step")
        _check_events(identifier, [record.data for record in records], report)
    for (play, fact, step), identifiers in by_step.items():
        if len(identifiers) > 1:
            where = play if step is None else f"{play}, step {step},"
            report.add(
                Kind.ACTION_REPEATED, fact, f"play {where} has {len(identifiers)} actions: {sorted(identifiers)}"
            )
    settled = {identifier: record for identifier, record in facts.items() if not _is_recent(record.data, folded)}
    _check_missing(evidence.plays, settled, by_cause, folded, report)
    recent = {identifier for identifier, data in last.items() if _is_recent(data, folded)}
    recent |= {identifier for identifier, data in last.items() if data["fact_id"] in facts.keys() - settled.keys()}
    report.left_out["actions of the last seconds"] += len(recent)
    _check_table(evidence, folded, last, recent, report)
    return last


def _expected_id(data: dict[str, Any]) -> str:
    of_fact = action_id(data["play"], data["fact_id"])
    return of_fact if data.get("step") is None else step_action_id(of_fact, data["step"])


def _is_recent(data: dict[str, Any], folded: Input) -> bool:
    return instant(data["decided_at"]) > folded.settled


def _check_events(identifier: str, events: list[dict[str, Any]], report: Report) -> None:
    numbers = [event.get("sequence") for event in events]
    if None not in numbers and numbers != list(range(1, len(numbers) + 1)):
        report.add(Kind.ACTION_EVENTS_WRONG, identifier, f"its events are numbered {numbers}")
    outcomes = [event["outcome"] for event in events]
    if outcomes.count("sent") > 1:
        report.add(Kind.ACTION_REPEATED, identifier, f"it was sent {outcomes.count('sent')} times: {outcomes}")
    # A failed action can be replayed; what was sent, or withdrawn, stays so.
    elif any(outcome in _FINAL - {"failed"} for outcome in outcomes[:-1]):
        report.add(Kind.ACTION_EVENTS_WRONG, identifier, f"it went on after its end: {outcomes}")


def _check_missing(
    plays: Sequence[Row],
    facts: dict[str, Record],
    by_cause: dict[tuple[str, str], list[str]],
    folded: Input,
    report: Report,
) -> None:
    for play in plays:
        when = play["when"]
        if "if" in play:
            # Conditions on the profile and the history decide whether there is an action at all.
            report.left_out["plays with conditions, for missing actions"] += 1
            continue
        if "steps" in play:
            # A fact begins no run of a customer who has one, and the first step may wait.
            report.left_out["plays of several steps, for missing actions"] += 1
            continue
        stalls: dict[Any, list[tuple[str, bool, dict[str, Any]]]] = {}
        for identifier, record in facts.items():
            if not _considers(play, when, record):
                continue
            data = record.data
            # A play acts once on a stall, however often the stall is published, and under which of the customer's keys.
            customer = folded.identities.roots.get(data["customer_id"], data["customer_id"])
            cause = (customer, data["lifecycle"], data.get("stage"), data.get("level"), data.get("since"))
            acted = (play["play"], identifier) in by_cause
            report.compared["facts that a play considers"] += 1
            if data.get("since") is not None:
                stalls.setdefault(cause, []).append((identifier, acted, data))
            elif not acted:
                _missing(play, identifier, data, report)
        for published in stalls.values():
            if not any(acted for _, acted, _ in published):
                identifier, _, data = published[0]
                _missing(play, identifier, data, report)


def _missing(play: Row, identifier: str, data: dict[str, Any], report: Report) -> None:
    text = f"play {play['play']} did not decide about {data['customer_id']} in {data['lifecycle']}"
    report.add(Kind.ACTION_MISSING, identifier, text)


def _considers(play: Row, when: Row, record: Record) -> bool:
    data, kind = record.data, record.headers.get("ce_type")
    if kind != _FACT_TYPES[when["fact"]] or data.get("backfill"):
        return False
    correction = kind == MOVED and data["reason"]["kind"] in CORRECTIONS
    correction = correction or (kind == RECOVERED and data.get("touchpoint_id") is None)
    if correction and not play.get("corrections", False):
        return False
    stage = data["to_stage"] if kind == MOVED else data["stage"]
    asked = (("lifecycle", data["lifecycle"]), ("stage", stage), ("move", data.get("move")),
             ("from_stage", data.get("from_stage")), ("level", data.get("level")))  # fmt: skip
    return all(value in _several(when[name]) for name, value in asked if name in when)


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_table(
    evidence: Evidence, folded: Input, last: dict[str, dict[str, Any]], recent: set[str], report: Report
) -> None:
    rows = evidence.tables.get("actions")
    if rows is None:
        report.left_out["checks of stored actions, without the table"] += 1
        return
    stored = {row["action_id"]: row for row in rows}
    for identifier, row in stored.items():
        if identifier in recent or row.get("decided_at", 0) > folded.settled:
            continue
        if identifier not in last:
            report.add(Kind.ACTION_NOT_PUBLISHED, identifier, f"{row['outcome']} in the table, and on no topic")
        elif last[identifier]["outcome"] != row["outcome"]:
            published = last[identifier]["outcome"]
            report.add(
                Kind.ACTION_NOT_PUBLISHED, identifier, f"{row['outcome']} in the table, published as {published}"
            )
        if row["outcome"] == "decided":
            report.add(Kind.ACTION_UNFINISHED, identifier, "decided, and neither sent nor failed")
    for identifier in last.keys() - stored.keys() - recent:
        data = last[identifier]
        report.add(Kind.ACTION_WITHOUT_FACT, identifier, f"{data['outcome']} on the topic, and not in the table")
