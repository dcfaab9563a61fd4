"""Every fact is published once and in order, every timer fires once and in time."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from touchline_checker.checks.folded import Input, Tolerance
from touchline_checker.evidence import Evidence, Record
from touchline_checker.findings import Kind, Report
from touchline_checker.semantics.fold import Fact
from touchline_checker.semantics.ids import fact_id
from touchline_checker.semantics.times import instant, text_of

MOVED, STALLED, RECOVERED = (
    "touchline.stage-changed", "touchline.customer-stalled", "touchline.customer-recovered",
)  # fmt: skip
MERGED, ERASED = "touchline.customer-merged", "touchline.customer-erased"
CORRECTIONS = frozenset(("late_touchpoint", "merge", "definition"))


@dataclass
class Stream:
    """What was published of one customer in one lifecycle, as a subscriber has it."""

    records: list[Record] = field(default_factory=list)
    stage: str | None = None
    sequence: int = 0
    level: int = 0
    open_stall: tuple[str, int, str] | None = None
    corrected: bool = False
    gone: bool = False
    """Merged into another customer, or erased, after the last fact."""


Streams = dict[tuple[str, str], Stream]


def check_facts(evidence: Evidence, folded: Input, tolerance: Tolerance, report: Report) -> Streams:
    """Read the stage changes in order, and return what subscribers know at the end."""
    streams: Streams = defaultdict(Stream)
    seen: dict[str, Record] = {}
    numbers: dict[tuple[str, str, int, int], list[int]] = defaultdict(list)
    for record in evidence.topics["stage-changes"]:
        report.compared["facts"] += 1
        data, kind, ce_id = record.data, record.headers.get("ce_type"), record.headers.get("ce_id", "")
        if ce_id in seen:
            report.add(Kind.FACT_REPEATED, ce_id, f"published at {_place(seen[ce_id])} and again at {_place(record)}")
            continue
        seen[ce_id] = record
        if kind in (MERGED, ERASED):
            _end(streams, data["customer_id"], erased=kind == ERASED)
            continue
        line = (data["customer_id"], data["lifecycle"], data.get("incarnation", 0), data.get("era", 0))
        numbers[line].append(data["fact_no"])
        if ce_id != fact_id(line[0], line[1], line[2], line[3], data["fact_no"]):
            report.add(Kind.FACT_ID_WRONG, ce_id, f"is not the id of fact {data['fact_no']} of {line[0]} in {line[1]}")
        stream = streams[line[:2]]
        _follow(stream, record, report)
        _check_timer(record, folded, tolerance, report)
    for line, found in numbers.items():
        _check_numbers(line, found, report)
    return streams


def _place(record: Record) -> str:
    return f"{record.partition}/{record.offset}"


def _subject(data: dict[str, Any]) -> str:
    return f"{data['customer_id']} in {data['lifecycle']}"


def _end(streams: Streams, customer: str, *, erased: bool) -> None:
    for key in [key for key in streams if key[0] == customer]:
        stream = streams[key]
        stream.gone, stream.stage, stream.level, stream.open_stall = True, None, 0, None
        stream.corrected = True
        if erased:
            stream.sequence = 0


def _check_numbers(line: tuple[str, str, int, int], found: list[int], report: Report) -> None:
    subject = f"{line[0]} in {line[1]}"
    first = 1 if line[3] == 0 else min(found)
    if found == list(range(first, first + len(found))):
        return
    missing = sorted(set(range(first, max(found) + 1)) - set(found))
    if missing:
        report.add(Kind.FACT_GAP, subject, f"facts {missing[:10]} are missing before {max(found)}")
    if found != sorted(found):
        report.add(Kind.FACT_REORDERED, subject, f"facts came as {found[:20]}")
    if len(set(found)) < len(found):
        report.add(Kind.FACT_REPEATED, subject, f"one number names two facts: {found[:20]}")


def _follow(stream: Stream, record: Record, report: Report) -> None:
    data, kind = record.data, record.headers.get("ce_type")
    stream.records.append(record)
    stream.gone = False
    if kind == MOVED:
        if data["sequence"] != stream.sequence + 1 or data["from_stage"] != stream.stage:
            report.add(
                Kind.MOVE_CHAIN_BROKEN, _subject(data),
                f"move {data['sequence']} leaves {data['from_stage']} after move {stream.sequence} to {stream.stage}",
            )  # fmt: skip
        stream.sequence, stream.stage, stream.level, stream.open_stall = data["sequence"], data["to_stage"], 0, None
        stream.corrected = stream.corrected or data["reason"]["kind"] in CORRECTIONS
    elif kind == STALLED:
        stall = (data["stage"], data["level"], data["since"])
        if stall == stream.open_stall:
            report.add(Kind.TIMER_REPEATED, _subject(data), f"stall level {stall[1]} since {stall[2]} came twice")
        stream.level, stream.open_stall = data["level"], stall
    elif kind == RECOVERED:
        stream.level, stream.open_stall = 0, None
        stream.corrected = stream.corrected or data.get("touchpoint_id") is None


def _check_timer(record: Record, folded: Input, tolerance: Tolerance, report: Report) -> None:
    """A timer fires at its due time or later, and not much later than everything was there."""
    data, kind = record.data, record.headers.get("ce_type")
    if kind == STALLED:
        due = instant(data["due_at"])
    elif kind == MOVED and data["reason"]["kind"] == "lapse":
        due = instant(data["occurred_at"])
    else:
        return
    report.compared["timers"] += 1
    decided = instant(data["decided_at"])
    touchpoints = folded.identities.touchpoints.get(data["customer_id"], ())
    # A touchpoint from a clock that is ahead fires what is due before it.
    ahead = any(one.occurred_at >= due and one.arrived_at <= decided + tolerance.settling for one in touchpoints)
    if decided < due and not ahead:
        report.add(Kind.TIMER_EARLY, _subject(data), f"due {text_of(due)}, fired {text_of(decided)}")
        return
    if data["customer_id"] in folded.linked:
        # When the keys became one customer is not on these topics.
        return
    known = [one.arrived_at for one in touchpoints if one.occurred_at <= due and one.arrived_at <= decided]
    waited = decided - max(due, *known, 0)
    if waited > tolerance.late_timer:
        report.add(
            Kind.TIMER_LATE, _subject(data),
            f"due {text_of(due)}, fired {text_of(decided)}, {waited / 1e6:.0f} s after everything was there",
        )  # fmt: skip


def published_facts(stream: Stream) -> list[Fact]:
    """The published facts in the form of the reference fold."""
    found = []
    for record in stream.records:
        data, kind = record.data, record.headers.get("ce_type")
        at, backfill, version = instant(data["occurred_at"]), data.get("backfill", False), data["lifecycle_version"]
        if kind == MOVED:
            reason = data["reason"]
            found.append(
                Fact(
                    "move", at, data["to_stage"], backfill, version, move=data["move"], from_stage=data["from_stage"],
                    reason=reason["kind"], touchpoint_id=reason.get("touchpoint_id"),
                    seconds=data.get("previous_stage_seconds"),
                )
            )  # fmt: skip
        elif kind == STALLED:
            since = instant(data["since"])
            found.append(Fact("stall", at, data["stage"], backfill, version, level=data["level"], since=since))
        else:
            found.append(
                Fact(
                    "recovery", at, data["stage"], backfill, version, touchpoint_id=data.get("touchpoint_id"),
                    seconds=data.get("stalled_seconds"),
                )
            )  # fmt: skip
    return found
