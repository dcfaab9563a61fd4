"""Preview one play over the facts of the last days, next to the other plays in force. Nothing is sent or written.

A preview reads and decides as much as it takes, so it runs in a process of its own: this one may be deciding. What it
takes is limited: one preview at a time, so many facts, so many seconds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from touchline_runtime.errors import Unavailable
from touchline_schemas.times import to_wire

from touchline_notifier.application.plays_in_force import PlaySource
from touchline_notifier.core.plays.parse import read_plays
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.preview import WOULD_BE_SENT, Conclusion, Previewed, RecordedFact, conclusions

MOST_DAYS = 31
MOST_FACTS = 10_000
MOST_SECONDS = 25.0


class PreviewBusyError(Exception):
    """Another preview is running in this process."""


class PreviewTooLongError(Unavailable):
    """It did not end within :data:`MOST_SECONDS`."""


@dataclass(frozen=True)
class PreviewOrder:
    """What to preview.

    Attributes:
        texts: (YAML, whether it is switched on) of each play in force, the previewed one's replaced by the draft.
        examples: how many actions to return that would be sent, and how many others.
        ignore_backfill: take facts of imported history as if each had just happened.
    """

    play: str
    texts: Sequence[tuple[str, bool]]
    days: int
    customer: str | None = None
    ignore_backfill: bool = False
    examples: int = 50

    def as_json(self) -> dict[str, Any]:
        """For the preview's process."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "PreviewOrder":
        """What :meth:`as_json` made."""
        return cls(**{**given, "texts": [(text, on) for text, on in given["texts"]]})

    def plays(self) -> dict[str, Play]:
        """The plays to decide by. The previewed one counts as switched on."""
        on = {str(number): switched_on for number, (_, switched_on) in enumerate(self.texts)}
        parsed = read_plays([(str(number), text) for number, (text, _) in enumerate(self.texts)])
        plays = {}
        for name, play in parsed.plays.items():
            enabled = name == self.play or (play.enabled and on[parsed.positions[name].file])
            plays[name] = play.model_copy(update={"enabled": enabled})
        return plays


def order_texts(sources: Mapping[str, PlaySource], play: str, text: str) -> list[tuple[str, bool]]:
    """The texts of a preview: those in force, with a play's replaced."""
    others = [(source.text, source.switched_on) for name, source in sources.items() if name != play]
    return [*others, (text, True)]


class RecordedSample(NamedTuple):
    """Facts of the last days, of all customers or of a part of them.

    Attributes:
        since: from when on the facts are whole.
        share: of the customers, between 0 and 1: each customer's facts are all in it, or none.
    """

    facts: Sequence[RecordedFact]
    since: datetime
    until: datetime
    share: float


class PreviewProcesses(Protocol):
    """Runs previews in processes of their own."""

    async def run(self, order: PreviewOrder) -> dict[str, Any]:
        """What :func:`report` made there.

        Raises:
            PreviewBusyError, PreviewTooLongError: see there.
            Unavailable: Kafka or PostgreSQL did not answer it.
        """


def report(order: PreviewOrder, sample: RecordedSample, found: Iterable[Previewed]) -> dict[str, Any]:
    """A preview as the API reports it."""
    concluded = conclusions(one for one in found if one.play == order.play)
    counts = Counter((one.last.outcome, one.last.reason_code) for one in concluded)
    newest = concluded[::-1]
    sent = [one for one in newest if one.last.outcome == WOULD_BE_SENT][: order.examples]
    others = [one for one in newest if one.last.outcome != WOULD_BE_SENT][: order.examples]
    return {
        "play": order.play,
        "since": to_wire(sample.since),
        "until": to_wire(sample.until),
        "share": round(sample.share, 4),
        "facts": len(sample.facts),
        "customers": len({one.fact.customer_id for one in sample.facts}),
        "actions": len(concluded),
        "outcomes": [
            {"outcome": outcome, "reason": code, "actions": count} for (outcome, code), count in counts.most_common()
        ],
        "items": [_item(one) for one in (*sent, *others)],
    }


def _item(one: Conclusion) -> dict[str, Any]:
    last = one.last
    return {
        "customer_id": last.customer_id,
        "at": to_wire(last.at),
        "lifecycle": last.lifecycle,
        "stage": last.stage,
        "channel": last.channel,
        "outcome": last.outcome,
        "reason": last.reason,
        "limits": [{"code": hold.code, "text": hold.text} for hold in last.limits],
        "waited": [{"at": to_wire(step.at), "reason": step.reason} for step in one.waited],
        "subject": last.subject,
        "body": last.text,
        "locale": last.locale,
        "step": last.step,
    }
