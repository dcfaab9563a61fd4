"""The demo's summary, and the check that its totals agree."""

from dataclasses import dataclass, field
from typing import Any

from touchline_demo.checks.ledgers import ActionLedger, FactLedger, StageLedger, TouchpointLedger


@dataclass(frozen=True)
class Counted:
    """Everything that was counted, each number by a different reader.

    Attributes:
        accepted: accepted items, counted from the responses that the company's systems got.
        rejected_by_endpoints: of these, what ingest took from a webhook and could not understand.
        dead_letters: all of them, read from their topic.
        folded: touchpoints in the engine's database, the notifier's reports apart.
        reports_folded: the notifier's reports in the engine's database.
        erased: touchpoints on the topic that must be gone, for their customer was erased.
        lag: records after the committed positions, by group.
        received: actions by id that arrived at the company's webhook and in its mailbox, with how often.
    """

    accepted: int
    rejected: int
    touchpoints: TouchpointLedger
    facts: FactLedger
    stages: StageLedger
    actions: ActionLedger
    folded: int
    reports_folded: int
    erased: int
    dead_letters: int
    rejected_by_endpoints: int
    lag: dict[str, int]
    received: dict[str, int]
    badly_signed: int
    inbox: dict[str, int]
    customers_known: int
    seconds: dict[str, float] = field(default_factory=dict)
    samples_wrong: list[str] = field(default_factory=list)


def summary(counted: Counted) -> dict[str, Any]:
    """What ``demo-summary.json`` holds."""
    facts, actions = counted.facts, counted.actions
    return {
        "touchpoints_accepted": counted.accepted,
        "touchpoints_rejected": counted.rejected,
        "touchpoints_folded": counted.folded,
        "duplicates": counted.touchpoints.duplicates,
        "dead_letters": counted.dead_letters,
        "erased": counted.erased,
        "customers": counted.customers_known,
        "moves": dict(sorted(facts.moves.items())),
        "corrections": facts.corrections,
        "stalls": facts.stalls,
        "recoveries": facts.recoveries,
        "merged": facts.merges,
        "erasures": facts.erasures,
        "facts": len(facts.ids),
        "facts_live": facts.live,
        "actions": dict(sorted(actions.outcomes.items())),
        "actions_reasons": dict(actions.reasons.most_common()),
        "reported_by_notifier": {"published": len(counted.touchpoints.reports), "folded": counted.reports_folded},
        "received": counted.inbox,
        "lag": sum(counted.lag.values()),
        "lag_by_group": counted.lag,
        "seconds": {name: round(value, 1) for name, value in counted.seconds.items()},
    }


def discrepancies(counted: Counted) -> list[str]:
    """Why the totals do not agree; empty when they do."""
    found = []
    ledger = counted.touchpoints
    accounted = counted.folded + ledger.duplicates + counted.dead_letters + counted.erased
    if counted.accepted != accounted:
        found.append(
            f"{counted.accepted} touchpoints were accepted, but {counted.folded} folded + {ledger.duplicates} "
            f"duplicates + {counted.dead_letters} dead-lettered + {counted.erased} dropped as erased are {accounted}"
        )
    if counted.accepted != ledger.published + counted.rejected_by_endpoints:
        found.append(
            f"{counted.accepted} touchpoints were accepted, but the topic holds {ledger.published}, and "
            f"{counted.rejected_by_endpoints} were dead-lettered by ingest's endpoints"
        )
    if len(ledger.reports) != counted.reports_folded:
        found.append(
            f"the notifier reported {len(ledger.reports)} deliveries, but {counted.reports_folded} were stored"
        )
    found += [f"lag: {group} has {behind} records to go" for group, behind in counted.lag.items() if behind]
    found += counted.facts.complaints
    found += counted.stages.disagreements(counted.facts)
    found += counted.actions.disagreements(counted.facts)
    sent = {identifier for identifier, times in counted.actions.sent.items() if times}
    arrived = set(counted.received)
    for identifier in sorted(sent - arrived)[:5]:
        found.append(f"action {identifier} is said to be sent, but nothing arrived")
    for identifier in sorted(arrived - counted.actions.last.keys())[:5]:
        found.append(f"a message of action {identifier} arrived, but no such action was published")
    if counted.badly_signed:
        found.append(f"{counted.badly_signed} webhooks arrived with a signature that doesn't verify")
    return found + counted.samples_wrong
