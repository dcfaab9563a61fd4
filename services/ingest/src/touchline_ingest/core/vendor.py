"""What a source read out of a request, judged: what is published, what is kept as a dead letter, what is answered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from touchline_ingest.core.acceptance import NameItem, Rejected, Terms, Verdict, judge
from touchline_ingest.core.sources.interface import Understood, Unreadable

NOT_UNDERSTOOD = "not_understood"
INVALID_TOUCHPOINT = "invalid_touchpoint"


@dataclass(frozen=True, slots=True)
class Judged:
    """A genuine request, judged.

    Attributes:
        verdicts: one an event, in the sender's order.
        reason: of the dead letter; empty when everything was understood.
        error: what was wrong, for a person.
    """

    verdicts: Sequence[Verdict]
    reason: str = ""
    error: str = ""


def judge_reading(understood: Understood, terms: Terms, *, now: datetime, name_item: NameItem) -> Judged:
    """Judge what a source understood; what it could not read takes its place among the verdicts."""
    judged = judge(understood.touchpoints, terms, now=now, name_item=name_item)
    if not understood.unreadable and not any(type(verdict) is Rejected for verdict in judged):
        return Judged(judged)
    verdicts = _in_order(judged, understood.unreadable)
    errors = [f"{verdict.index}: {verdict.error}" for verdict in verdicts if type(verdict) is Rejected]
    reason = NOT_UNDERSTOOD if understood.unreadable else INVALID_TOUCHPOINT
    return Judged(verdicts, reason, "; ".join(errors))


def _in_order(judged: Sequence[Verdict], unreadable: Sequence[Unreadable]) -> list[Verdict]:
    """Verdicts at their places in the request: the unreadable parts where they say, the others between, in order."""
    at = {part.index: part for part in unreadable}
    beyond = [part for part in unreadable if at[part.index] is not part]
    rest = iter(judged)
    verdicts: list[Verdict] = []
    for place in range(len(judged) + len(unreadable)):
        part = at.pop(place, None)
        verdict = None if part else next(rest, None)
        if verdict is not None:
            verdicts.append(replace(verdict, index=len(verdicts)))
        elif part is not None:
            verdicts.append(Rejected(len(verdicts), None, part.reason))
    for part in (*at.values(), *beyond):
        verdicts.append(Rejected(len(verdicts), None, part.reason))
    return verdicts
