"""Every accepted touchpoint is on the topic as it was accepted, and folded once."""

from collections import Counter, defaultdict
from typing import Any

from touchline_checker.checks.folded import Input
from touchline_checker.evidence import Evidence
from touchline_checker.findings import Kind, Report
from touchline_checker.semantics.times import instant
from touchline_checker.semantics.touchpoints import NotATouchpointError, Touchpoint, read_touchpoint


def check_touchpoints(evidence: Evidence, folded: Input, report: Report) -> None:
    """Compare what was accepted, what is on the topic, and what is stored."""
    published: dict[tuple[str, str], list[Touchpoint]] = defaultdict(list)
    for touchpoint in folded.touchpoints:
        published[touchpoint.name].append(touchpoint)
    dead = _names_of_dead_letters(evidence, folded)
    _check_accepted(evidence, published, dead, report)
    for record, why in folded.broken:
        report.add(
            Kind.RECORD_UNACCOUNTED,
            f"touchpoints/{record.partition}/{record.offset}",
            f"no touchpoint ({why}), and no dead letter names it as its origin",
        )
    for touchpoint in folded.touchpoints:
        _check_key(touchpoint, report)
    if "touchpoints" in evidence.tables:
        _check_stored(evidence, folded, published, report)
    else:
        report.left_out["checks of stored touchpoints, without the table"] += 1


def _names_of_dead_letters(evidence: Evidence, folded: Input) -> dict[tuple[str, str], str]:
    found = {}
    for record in evidence.topics["touchpoints"]:
        letter = folded.dead.get((record.partition, record.offset))
        if letter is not None and "id" in record.data and "source" in record.data:
            name = (record.data["source"], record.data["id"])
            found[name] = letter.headers.get("error") or letter.headers.get("reason", "")
    return found


def _check_accepted(
    evidence: Evidence,
    published: dict[tuple[str, str], list[Touchpoint]],
    dead: dict[tuple[str, str], str],
    report: Report,
) -> None:
    for accepted in evidence.accepted:
        report.compared["accepted touchpoints"] += 1
        name = (accepted["source"], accepted["id"])
        subject = "/".join(name)
        if name in dead:
            report.add(Kind.TOUCHPOINT_DEAD_LETTERED, subject, f"accepted, and then a dead letter: {dead[name]}")
        elif name not in published:
            report.add(Kind.TOUCHPOINT_LOST, subject, "accepted, and not on the touchpoints topic")
        elif not any(_agrees(accepted, touchpoint) for touchpoint in published[name]):
            report.add(Kind.TOUCHPOINT_ALTERED, subject, "on the topic with another content than was accepted")


def _agrees(accepted: Any, touchpoint: Touchpoint) -> bool:
    """Whether the posted fields are those on the topic. Fields that were left out agree with anything."""
    pairs: list[tuple[Any, Any]] = [
        (accepted[name], getattr(touchpoint, name)) for name in ("type", "channel", "direction") if accepted.get(name)
    ]
    if accepted.get("properties") is not None:
        pairs.append((accepted["properties"], touchpoint.properties))
    if accepted.get("occurred_at"):
        pairs.append((instant(accepted["occurred_at"]), touchpoint.occurred_at))
    if accepted.get("customer_id") and touchpoint.identifiers.get("customer_id"):
        pairs.append((accepted["customer_id"], touchpoint.identifiers["customer_id"]))
    return all(one == other for one, other in pairs)


def _check_key(touchpoint: Touchpoint, report: Report) -> None:
    data: dict[str, Any] = {
        "occurred_at": "2000-01-01T00:00:00Z", "received_at": "2000-01-01T00:00:00Z", "id": touchpoint.id,
        "source": touchpoint.source, "type": touchpoint.type, "channel": touchpoint.channel,
        "direction": touchpoint.direction, **touchpoint.identifiers,
    }  # fmt: skip
    try:
        key = read_touchpoint(data).key
    except NotATouchpointError:
        return
    # The list of placeholders is open: a later key is right where the first named one may be a placeholder.
    if touchpoint.key not in {key, *read_touchpoint(data).other_keys}:
        report.add(
            Kind.TOUCHPOINT_MISFILED, "/".join(touchpoint.name), f"filed under {touchpoint.key}, not under {key}"
        )


def _check_stored(
    evidence: Evidence, folded: Input, published: dict[tuple[str, str], list[Touchpoint]], report: Report
) -> None:
    stored = Counter((row["customer_id"], row["source"], row["id"]) for row in evidence.tables["touchpoints"])
    by_name: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (customer, source, identifier), rows in stored.items():
        report.compared["stored touchpoints"] += 1
        by_name[source, identifier].add(customer)
        if rows > 1:
            report.add(Kind.TOUCHPOINT_FOLDED_TWICE, f"{source}/{identifier}", f"{rows} rows under customer {customer}")
        if (source, identifier) not in published:
            report.add(
                Kind.TOUCHPOINT_UNKNOWN, f"{source}/{identifier}", f"stored under {customer}, and not on the topic"
            )
    expected: dict[tuple[str, str], set[str]] = defaultdict(set)
    for customer, touchpoints in folded.identities.touchpoints.items():
        if folded.involves_erased(customer):
            report.left_out["customers who were erased"] += 1
            for touchpoint in touchpoints:
                by_name.pop(touchpoint.name, None)
            continue
        for touchpoint in touchpoints:
            expected[touchpoint.name].add(customer)
    for name, customers in expected.items():
        found, subject = by_name.get(name, set()), "/".join(name)
        for customer in sorted(customers - found):
            text = f"not stored under customer {customer}" + (f", but under {sorted(found)}" if found else "")
            report.add(Kind.TOUCHPOINT_NOT_FOLDED, subject, text)
        # An alias keeps the touchpoints that were filed under it.
        allowed = customers | {one.key for one in published[name]}
        for customer in sorted(found - allowed):
            report.add(
                Kind.TOUCHPOINT_FOLDED_TWICE,
                subject,
                f"also stored under {customer}; it belongs to {sorted(customers)}",
            )
