"""A finished simulation, as the table, the JSON and the page tell it."""

from dataclasses import dataclass, field
from typing import Any

from touchline_stage_engine.adapters.recorded_history import BadLine
from touchline_stage_engine.core.analysis import FunnelStep
from touchline_stage_engine.core.simulation import Outcome, Report


@dataclass
class Simulated:
    """A report, and where its history came from.

    bad: lines of the file that were no touchpoints; bad_lines: the first of them. refused: pairs of known customers
    that a link would have joined. until: the instant up to which timers fired.
    """

    report: Report
    history: str
    until: str
    bad: int = 0
    bad_lines: list[BadLine] = field(default_factory=list)
    refused: int = 0

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "history": self.history,
            "until": self.until,
            **self.report.as_json(),
            "bad_lines": {"count": self.bad, "first": [line._asdict() for line in self.bad_lines]},
            "identity_conflicts": self.refused,
        }

    @property
    def stages(self) -> list[str]:
        """Every stage of either version: the candidate's path first, then what is only beside it or in the other."""
        found = dict.fromkeys(self.report.candidate.path)
        for outcome in self.outcomes:
            found |= dict.fromkeys(outcome.path) | dict.fromkeys(sorted(outcome.now_in))
        return list(found)

    @property
    def outcomes(self) -> list[Outcome]:
        """The running version's, if there is one, and the candidate's."""
        return [one for one in (self.report.running, self.report.candidate) if one is not None]


def funnel_of(outcome: Outcome) -> dict[str, FunnelStep]:
    """A funnel by stage."""
    return {step.stage: step for step in outcome.funnel}


def title_of(outcome: Outcome) -> str:
    """What an outcome is headed by."""
    return f"{outcome.lifecycle} {outcome.version}"
