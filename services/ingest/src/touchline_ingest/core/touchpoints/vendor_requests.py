"""Judges what a source read in a request: what is published, and what becomes a dead letter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from touchline_ingest.core.sources.interface import Understood, Unreadable
from touchline_ingest.core.touchpoints.acceptance import NameItem, Rejected, Terms, Verdict, judge

NOT_UNDERSTOOD = "not_understood"
INVALID_TOUCHPOINT = "invalid_touchpoint"
DEAD_LETTER_REASONS = (NOT_UNDERSTOOD, INVALID_TOUCHPOINT)


@dataclass(frozen=True, slots=True)
class JudgedRequest:
    """A genuine request, judged.

    Attributes:
        verdicts: one an event, in the sender's order.
        reason: of the dead letter; empty when everything was understood.
        error: what was wrong, for a person.
    """

    verdicts: Sequence[Verdict]
    reason: str = ""
    error: str = ""


def judge_request(understood: Understood, terms: Terms, *, now: datetime, name_item: NameItem) -> JudgedRequest:
    """Judge what a source read. The parts it could not read are rejected verdicts at their index."""
    judged = judge(understood.touchpoints, terms, now=now, name_item=name_item)
    if not understood.unreadable and not any(type(verdict) is Rejected for verdict in judged):
        return JudgedRequest(judged)
    verdicts = _in_order(judged, understood.unreadable)
    errors = [f"{verdict.index}: {verdict.error}" for verdict in verdicts if type(verdict) is Rejected]
    reason = NOT_UNDERSTOOD if understood.unreadable else INVALID_TOUCHPOINT
    return JudgedRequest(verdicts, reason, "; ".join(errors))


def _in_order(judged: Sequence[Verdict], unreadable: Sequence[Unreadable]) -> list[Verdict]:
    """Verdicts in the request's order: unreadable parts at their index, the others between them."""
    at = {part.index: part for part in unreadable}
    beyond = [part for part in unreadable if at[part.index] is not part]
    rest = iter(judged)
    verdicts: list[Verdict] = []
    for index in range(len(judged) + len(unreadable)):
        part = at.pop(index, None)
        verdict = None if part else next(rest, None)
        if verdict is not None:
            verdicts.append(replace(verdict, index=len(verdicts)))
        elif part is not None:
            verdicts.append(Rejected(len(verdicts), None, part.reason))
    for part in (*at.values(), *beyond):
        verdicts.append(Rejected(len(verdicts), None, part.reason))
    return verdicts
