"""What a check can find, and the report of one run."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """Every kind of finding. The value is the name in reports."""

    TOUCHPOINT_LOST = "touchpoint_lost"
    TOUCHPOINT_ALTERED = "touchpoint_altered"
    TOUCHPOINT_MISFILED = "touchpoint_misfiled"
    TOUCHPOINT_NOT_FOLDED = "touchpoint_not_folded"
    TOUCHPOINT_FOLDED_TWICE = "touchpoint_folded_twice"
    TOUCHPOINT_UNKNOWN = "touchpoint_unknown"
    TOUCHPOINT_DEAD_LETTERED = "touchpoint_dead_lettered"
    RECORD_UNACCOUNTED = "record_unaccounted"
    FACT_REPEATED = "fact_repeated"
    FACT_REORDERED = "fact_reordered"
    FACT_GAP = "fact_gap"
    FACT_ID_WRONG = "fact_id_wrong"
    FACT_WRONG = "fact_wrong"
    MOVE_CHAIN_BROKEN = "move_chain_broken"
    STAGE_WRONG = "stage_wrong"
    ENTRY_TIME_WRONG = "entry_time_wrong"
    STALL_WRONG = "stall_wrong"
    HISTORY_WRONG = "history_wrong"
    TIMER_EARLY = "timer_early"
    TIMER_LATE = "timer_late"
    TIMER_REPEATED = "timer_repeated"
    TIMER_MISSING = "timer_missing"
    ACTION_WITHOUT_FACT = "action_without_fact"
    ACTION_REPEATED = "action_repeated"
    ACTION_MISSING = "action_missing"
    ACTION_EVENTS_WRONG = "action_events_wrong"
    ACTION_NOT_PUBLISHED = "action_not_published"
    ACTION_UNFINISHED = "action_unfinished"
    MESSAGE_NOT_RECEIVED = "message_not_received"
    MESSAGE_WITHOUT_ACTION = "message_without_action"
    MESSAGE_REPEATED = "message_repeated"
    MESSAGE_AFTER_UNSUBSCRIBE = "message_after_unsubscribe"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        subject: the touchpoint (source/id), customer, fact, action or message that it is about.
        text: what was found and what was expected.
    """

    kind: Kind
    subject: str
    text: str

    def as_json(self) -> dict[str, Any]:
        return {"kind": str(self.kind), "subject": self.subject, "text": self.text}


@dataclass
class Report:
    """All findings, and how much was compared: a check of nothing finds nothing."""

    findings: list[Finding] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    """What a check could not judge, by reason."""

    def add(self, kind: Kind, subject: str, text: str) -> None:
        self.findings.append(Finding(kind, subject, text))

    @property
    def by_kind(self) -> Counter[Kind]:
        return Counter(finding.kind for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "ok": not self.findings,
            "findings_by_kind": {str(kind): number for kind, number in sorted(self.by_kind.items())},
            "compared": dict(sorted(self.compared.items())),
            "left_out": dict(sorted(self.left_out.items())),
            "findings": [finding.as_json() for finding in self.findings],
        }

    def as_text(self, examples: int = 10) -> str:
        """The report for people: by kind, with a few examples of each."""
        return "\n".join(self._lines(examples)) + "\n"

    def _lines(self, examples: int) -> Iterable[str]:
        yield "compared: " + (", ".join(f"{n} {what}" for what, n in sorted(self.compared.items())) or "nothing")
        if self.left_out:
            yield "left out: " + ", ".join(f"{number} {reason}" for reason, number in sorted(self.left_out.items()))
        for kind, number in sorted(self.by_kind.items()):
            yield f"{kind}: {number}"
            chosen = [finding for finding in self.findings if finding.kind == kind]
            yield from (f"  {finding.subject}: {finding.text}" for finding in chosen[:examples])
            if number > examples:
                yield f"  … and {number - examples} more"
        yield f"{len(self.findings)} findings" if self.findings else "no findings"
