"""Replaying dead letters: each is published again, or read again by its source, and the outcome is reported."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from touchline_runtime.errors import Unavailable
from touchline_schemas.topics import TOUCHPOINTS

from touchline_ingest.application.ports import Fetcher, Publisher
from touchline_ingest.application.vendor_requests import read_with_certificates
from touchline_ingest.core.history.dead_letter_replay import CannotReplay, DeadLetter, PublishAgain, ReadAgain, Replay
from touchline_ingest.core.sources.interface import RequestRejection
from touchline_ingest.core.touchpoints.acceptance import Accepted, Rejected, named_by
from touchline_ingest.core.touchpoints.records import Record
from touchline_ingest.core.touchpoints.vendor_requests import judge_request


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one replay.

    Attributes:
        touchpoints: how many were published (or would be, in a dry run); 0: the dead letter was not replayed.
        problems: what could not be replayed, and why.
    """

    dead_letter: DeadLetter
    touchpoints: int = 0
    problems: Sequence[str] = ()

    @property
    def replayed(self) -> bool:
        """Whether anything was published."""
        return self.touchpoints > 0

    def __str__(self) -> str:
        problems = "; ".join(self.problems)
        if not self.replayed:
            return f"not replayed: {problems or 'it contains no valid touchpoint'}"
        return f"replayed: {self.touchpoints} touchpoints" + (f", not: {problems}" if problems else "")


async def replay_all(
    replays: Sequence[tuple[DeadLetter, Replay]],
    *,
    publisher: Publisher | None,
    fetcher: Fetcher,
    report: Callable[[Outcome], None],
) -> list[Outcome]:
    """Replay dead letters, one after the other.

    Args:
        publisher: None for a dry run.
        report: called with each outcome as soon as it is known.

    Raises:
        Unavailable: Kafka did not acknowledge a replay; running it again is safe, since ids stay the same.
    """
    outcomes = []
    for dead_letter, replay in replays:
        outcome = await _replay(dead_letter, replay, publisher, fetcher)
        report(outcome)
        outcomes.append(outcome)
    return outcomes


async def _replay(dead_letter: DeadLetter, replay: Replay, publisher: Publisher | None, fetcher: Fetcher) -> Outcome:
    records: list[Record] = []
    problems: list[str] = []
    match replay:
        case PublishAgain(record):
            records = [record]
        case ReadAgain():
            records, problems = await _read_again(replay, fetcher)
        case CannotReplay(reason):
            problems = [reason]
    if records and publisher is not None:
        delivery = await publisher.publish(TOUCHPOINTS, records)
        if not delivery.complete:
            raise Unavailable(f"{dead_letter.id}: {delivery.reason}; run it again: ids stay the same")
    return Outcome(dead_letter, len(records), problems)


async def _read_again(replay: ReadAgain, fetcher: Fetcher) -> tuple[list[Record], list[str]]:
    result = await read_with_certificates(
        replay.request, replay.source, replay.config, fetcher, lambda: replay.received_at
    )
    if isinstance(result, RequestRejection):
        return [], [f"{result.title}: {result.detail}"]
    name_item = named_by(replay.entry.name, replay.named_by)
    judged = judge_request(result, replay.entry.terms(), now=datetime.now(UTC), name_item=name_item)
    records = [verdict.record for verdict in judged.verdicts if type(verdict) is Accepted]
    return records, [f"{verdict.index}: {verdict.error}" for verdict in judged.verdicts if type(verdict) is Rejected]
