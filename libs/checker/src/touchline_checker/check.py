"""All checks over one body of evidence."""

from touchline_checker.checks.actions import check_actions
from touchline_checker.checks.facts import check_facts
from touchline_checker.checks.folded import Input, Tolerance
from touchline_checker.checks.messages import check_messages
from touchline_checker.checks.stages import check_stages
from touchline_checker.checks.touchpoints import check_touchpoints
from touchline_checker.evidence import Evidence
from touchline_checker.findings import Report


def check(evidence: Evidence, tolerance: Tolerance | None = None) -> Report:
    """Check the evidence of a deployment at rest: everything posted was read, every outbox is empty."""
    tolerance = tolerance or Tolerance()
    report = Report()
    folded = Input.of(evidence, tolerance)
    check_touchpoints(evidence, folded, report)
    streams = check_facts(evidence, folded, tolerance, report)
    check_stages(evidence, folded, streams, tolerance, report)
    actions = check_actions(evidence, folded, report)
    check_messages(evidence, folded, actions, tolerance, report)
    return report
