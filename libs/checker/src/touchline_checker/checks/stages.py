"""Every stage equals the reference fold: on the stage changes, on the compacted topic, in the tables."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from touchline_checker.checks.facts import MOVED, STALLED, Stream, Streams, published_facts
from touchline_checker.checks.folded import Input, Tolerance
from touchline_checker.evidence import Evidence, Row
from touchline_checker.findings import Kind, Report
from touchline_checker.semantics.fold import Fact, Position
from touchline_checker.semantics.times import instant, text_of
from touchline_checker.semantics.touchpoints import Touchpoint


class Stand(NamedTuple):
    """Where somebody says that a customer is; `entered_at` None: they do not say."""

    stage: str | None
    level: int = 0
    entered_at: int | None = None
    version: int | None = None
    sequence: int | None = None


NOWHERE = Stand(None)


def check_stages(evidence: Evidence, folded: Input, streams: Streams, tolerance: Tolerance, report: Report) -> None:
    """Compare every customer in every lifecycle."""
    compacted = _compacted(evidence)
    stored = _stored(evidence)
    history = _history(evidence)
    for customer, touchpoints in folded.identities.touchpoints.items():
        if folded.involves_erased(customer):
            continue
        for lifecycle in folded.versions:
            key = (customer, lifecycle)
            report.compared["stages"] += 1
            subject = f"{customer} in {lifecycle}"
            expected = folded.expected(customer, lifecycle)
            stream = streams.get(key, Stream())
            views = {"the stage changes": Stand(stream.stage, stream.level, sequence=stream.sequence)}
            views["the compacted topic"] = compacted.get(key, NOWHERE)
            if stored is not None:
                views["the table of stages"] = stored.get(key, NOWHERE)
            for view, stand in views.items():
                if not (view == "the stage changes" and expected[0].stage is None):
                    _compare(subject, view, stand, expected, report)
            _compare_sequences(subject, views, stream, evidence.collected_at - tolerance.settling, report)
            if history is not None:
                _compare_history(subject, history.get(key, []), expected, report)
            # A linked key may have had the touchpoints of another one for a while.
            if customer not in folded.linked and customer not in folded.identities.contested:
                _compare_facts(subject, stream, touchpoints, expected, tolerance, report)
    _check_nobody_else(folded, compacted, stored, report)


def _compare(subject: str, view: str, found: Stand, expected: Sequence[Position], report: Report) -> None:
    if any(_fits(found, position) for position in expected):
        return
    wanted = expected[0]
    if all(position.stage != found.stage for position in expected):
        report.add(Kind.STAGE_WRONG, subject, f"{view}: {found.stage}; the touchpoints give {wanted.stage}")
        return
    same = [position for position in expected if position.stage == found.stage]
    if all(found.level != position.level for position in same):
        missing = found.level < min(position.level for position in same)
        kind = Kind.TIMER_MISSING if missing else Kind.STALL_WRONG
        levels = sorted({position.level for position in same})
        report.add(kind, subject, f"{view}: stall level {found.level}; the touchpoints give {levels}")
    elif found.entered_at is not None and all(found.entered_at != position.entered_at for position in same):
        report.add(
            Kind.ENTRY_TIME_WRONG, subject,
            f"{view}: entered {text_of(found.entered_at)}; the touchpoints give {text_of(wanted.entered_at)}",
        )  # fmt: skip
    else:
        report.add(Kind.STAGE_WRONG, subject, f"{view}: {found}; the touchpoints give version {wanted.version}")


def _fits(found: Stand, position: Position) -> bool:
    if found.stage != position.stage or found.level != position.level:
        return False
    if found.stage is None:
        return True
    return found.entered_at in (None, position.entered_at) and found.version in (None, position.version)


def _compare_sequences(subject: str, views: dict[str, Stand], stream: Stream, settled: int, report: Report) -> None:
    """Everybody names the sequence of the last published move, unless a timer has just fired."""
    if stream.records and instant(stream.records[-1].data["decided_at"]) > settled:
        return
    for view, stand in views.items():
        if stand.stage is not None and stand.sequence != stream.sequence:
            report.add(
                Kind.MOVE_CHAIN_BROKEN, subject,
                f"{view}: sequence {stand.sequence}; the last published move has {stream.sequence}",
            )  # fmt: skip


def _compare_history(subject: str, rows: list[Fact], expected: Sequence[Position], report: Report) -> None:
    if any(rows == position.facts for position in expected):
        return
    wanted = expected[0].facts
    for number, (found, right) in enumerate(zip(rows, wanted, strict=False), 1):
        if found != right:
            report.add(Kind.HISTORY_WRONG, subject, f"fact {number} is {found}; the touchpoints give {right}")
            return
    report.add(Kind.HISTORY_WRONG, subject, f"{len(rows)} facts; the touchpoints give {len(wanted)}")


def _compare_facts(
    subject: str,
    stream: Stream,
    touchpoints: Sequence[Touchpoint],
    expected: Sequence[Position],
    tolerance: Tolerance,
    report: Report,
) -> None:
    """Where touchpoints came in order and nothing was corrected, the published facts are the canonical ones."""
    arrivals = sorted(touchpoints, key=lambda touchpoint: touchpoint.place)
    in_order = all(one.order < other.order for one, other in pairwise(arrivals))
    if not in_order or stream.corrected or _overtaken(stream, arrivals, tolerance):
        report.left_out["streams of facts with corrections or late touchpoints"] += 1
        return
    report.compared["streams of facts, fact by fact"] += 1
    found = [_without_backfill(fact) for fact in published_facts(stream)]
    if any(found == [_without_backfill(fact) for fact in position.facts] for position in expected):
        return
    wanted = [_without_backfill(fact) for fact in expected[0].facts]
    for number, (one, right) in enumerate(zip(found, wanted, strict=False), 1):
        if one != right:
            report.add(Kind.FACT_WRONG, subject, f"published fact {number} is {one}; the touchpoints give {right}")
            return
    if len(found) < len(wanted) and wanted[len(found)].kind == "stall":
        report.add(Kind.TIMER_MISSING, subject, f"not published: {wanted[len(found)]}")
    else:
        report.add(Kind.FACT_WRONG, subject, f"{len(found)} facts published; the touchpoints give {len(wanted)}")


def _without_backfill(fact: Fact) -> Fact:
    # A timer's fact is also marked as backfill when its lifecycle was first started after the timer was due.
    return fact._replace(backfill=False) if fact.reason == "lapse" or fact.kind == "stall" else fact


def _overtaken(stream: Stream, arrivals: Sequence[Touchpoint], tolerance: Tolerance) -> bool:
    """Whether a touchpoint may have come after the clock had fired a timer that was due after it."""
    for record in stream.records:
        data, kind = record.data, record.headers.get("ce_type")
        if kind == STALLED or (kind == MOVED and data["reason"]["kind"] == "lapse"):
            due, decided = instant(data["occurred_at"]), instant(data["decided_at"])
            if any(one.occurred_at <= due and one.arrived_at + tolerance.settling > decided for one in arrivals):
                return True
    return False


def _check_nobody_else(
    folded: Input,
    compacted: dict[tuple[str, str], Stand],
    stored: dict[tuple[str, str], Stand] | None,
    report: Report,
) -> None:
    """A key that is no customer (an alias, or erased) has no stage."""
    for view, stands in (("the compacted topic", compacted), ("the table of stages", stored or {})):
        for (customer, lifecycle), stand in stands.items():
            unknown = customer not in folded.identities.touchpoints and customer not in folded.erased_at
            if unknown and lifecycle in folded.versions:
                report.add(
                    Kind.STAGE_WRONG, f"{customer} in {lifecycle}",
                    f"{view}: {stand.stage}; no touchpoint belongs to this customer",
                )  # fmt: skip


def _compacted(evidence: Evidence) -> dict[tuple[str, str], Stand]:
    found: dict[tuple[str, str], Stand] = {}
    for record in evidence.topics["customer-stages"]:
        customer, _, lifecycle = (record.key or "").rpartition("/")
        data = record.data
        if not data:
            found.pop((customer, lifecycle), None)
            continue
        found[customer, lifecycle] = Stand(
            data["stage"], data["stalled_level"], instant(data["entered_at"]), data["lifecycle_version"],
            data["sequence"],
        )  # fmt: skip
    return found


def _stored(evidence: Evidence) -> dict[tuple[str, str], Stand] | None:
    rows = evidence.tables.get("stages")
    if rows is None:
        return None
    return {
        (row["customer_id"], row["lifecycle"]): Stand(
            row["stage"], row["stalled_level"], row["entered_at"], row["version"], row["sequence"]
        )
        for row in rows
    }


def _history(evidence: Evidence) -> dict[tuple[str, str], list[Fact]] | None:
    rows = evidence.tables.get("history")
    if rows is None:
        return None
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[row["customer_id"], row["lifecycle"]].append(row)
    return {key: [_fact(row) for row in sorted(rows, key=lambda row: row["no"])] for key, rows in found.items()}


def _fact(row: Row) -> Fact:
    spent = row["previous_stage_seconds"] if row["fact"] == "move" else row["stalled_seconds"]
    return Fact(
        row["fact"], row["occurred_at"], row["stage"], row["backfill"], row["version"], row["move"], row["from_stage"],
        row["reason_kind"], row["touchpoint_id"], row["level"], row["since"], spent,
    )  # fmt: skip
