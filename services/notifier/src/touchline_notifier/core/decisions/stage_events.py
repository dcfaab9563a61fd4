"""Events of the stage-changes topic, and the position in a lifecycle that follows from them."""

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from touchline_schemas.events.facts import (
    CORRECTIONS,
    CustomerErased,
    CustomerMerged,
    CustomerRecovered,
    CustomerStalled,
    StageChanged,
)
from touchline_schemas.times import to_wire

from touchline_notifier.core.decisions.hold_reasons import CancelCode

FactType = Literal["stage-changed", "customer-stalled", "customer-recovered"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One move, stall or recovery.

    Attributes:
        id: its ``ce_id``.
        stage: the stage moved into, or the one stalled or recovered in.
        at: when it became true: a stall's due time, else when it occurred.
        correction: it corrects an earlier fact, and is not something that the customer just did.
        data: the JSON it came as.
        trace: the ``traceparent`` of the latest decision on it; empty when it has none. It is stored with the action:
            what is decided again and sent later belongs to the same trace.
    """

    id: str
    type: FactType
    customer_id: str
    lifecycle: str
    incarnation: int
    fact_no: int
    stage: str
    at: datetime
    backfill: bool
    correction: bool
    from_stage: str | None = None
    move: str | None = None
    level: int | None = None
    sequence: int | None = None
    era: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    trace: str = field(default="", compare=False)

    def to_row(self) -> dict[str, Any]:
        """JSON for the ``fact`` column."""
        row = {**asdict(self), "at": to_wire(self.at)}
        if not self.trace:
            del row["trace"]
        return row

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Fact":
        """Read back what :meth:`to_row` wrote."""
        return cls(**{**row, "at": datetime.fromisoformat(row["at"])})


@dataclass(frozen=True, slots=True)
class StageEvent:
    """One event of the stage-changes topic: a fact, a merge or an erasure.

    Attributes:
        type: its ``ce_type``.
        data: the JSON it came as.
        trace: its ``traceparent``; empty when it has none.
    """

    type: str
    event: Fact | CustomerMerged | CustomerErased
    ce_id: str
    data: dict[str, Any]
    trace: str = ""

    def traced(self, trace: str) -> "StageEvent":
        """The same event with a trace context."""
        event = replace(self.event, trace=trace) if isinstance(self.event, Fact) else self.event
        return replace(self, event=event, trace=trace)

    @property
    def urgent(self) -> bool:
        """Whether it is about the present. Facts about the past, and merges, may be collected for a moment."""
        match self.event:
            case Fact(backfill=backfill):
                return not backfill
            case CustomerErased():
                return True
        return False


def fact_of(ce_id: str, event: StageChanged | CustomerStalled | CustomerRecovered) -> Fact:
    """The fact in an event from the topic."""
    match event:
        case StageChanged():
            own: dict[str, Any] = {
                "type": "stage-changed",
                "stage": event.to_stage,
                "from_stage": event.from_stage,
                "move": event.move,
                "sequence": event.sequence,
                "at": event.occurred_at,
                "correction": event.reason.kind in CORRECTIONS,
            }
        case CustomerStalled():
            own = {
                "type": "customer-stalled",
                "stage": event.stage,
                "level": event.level,
                "at": event.due_at,
                "correction": False,
            }
        case CustomerRecovered():
            own = {
                "type": "customer-recovered",
                "stage": event.stage,
                "at": event.occurred_at,
                "correction": event.touchpoint_id is None,
            }
    return Fact(
        id=ce_id,
        customer_id=event.customer_id,
        lifecycle=event.lifecycle,
        incarnation=event.incarnation,
        era=event.era,
        fact_no=event.fact_no,
        backfill=event.backfill,
        data=event.model_dump(mode="json"),
        **own,
    )


@dataclass(slots=True)
class LifecyclePosition:
    """A customer's position in one lifecycle, by the facts read so far."""

    incarnation: int = 0
    fact_no: int = 0
    stage: str | None = None
    entered_at: datetime | None = None
    sequence: int = 0
    stalled_level: int = 0
    era: int = 0

    def apply(self, fact: Fact) -> bool:
        """Apply the next fact; False when it was applied before."""
        if _order(fact) <= _order(self):
            return False
        self.incarnation, self.fact_no, self.stage = fact.incarnation, fact.fact_no, fact.stage
        self.era = fact.era
        match fact.type:
            case "stage-changed":
                self.entered_at, self.sequence, self.stalled_level = fact.at, fact.sequence or 0, 0
            case "customer-stalled":
                self.stalled_level = fact.level or 1
            case "customer-recovered":
                self.stalled_level = 0
        return True


def unwanted(fact: Fact, customer_id: str, current: LifecyclePosition | None) -> tuple[CancelCode, str] | None:
    """Why what began with a fact is no longer wanted for the customer that it belongs to now; see
    :func:`no_longer_wanted`.
    """
    if fact.customer_id == customer_id:
        return no_longer_wanted(fact, current)
    # Merged since: the facts of two customers are not numbered together. The customer's present position decides.
    if current is None or current.stage is None:
        return None
    if current.stage != fact.stage:
        return "moved_on", f"moved on to {current.stage}"
    if fact.type == "customer-stalled" and current.stalled_level == 0:
        return "recovered", "recovered meanwhile"
    return None


def _order(item: Fact | LifecyclePosition) -> tuple[int, int, int]:
    """The order of facts of a customer and lifecycle. After a restored backup, numbers start again in a new era."""
    return (item.incarnation, item.era, item.fact_no)


def no_longer_wanted(fact: Fact, current: LifecyclePosition | None) -> tuple[CancelCode, str] | None:
    """Why an action on a fact is no longer wanted at the customer's present position: (code, text), or None.

    An action on a stall ends with the recovery or any move, on a move with the next move, on a recovery with the next
    stall.
    """
    if current is None or _order(current) <= _order(fact):
        return None
    if fact.type == "customer-recovered":
        if current.stalled_level:
            return "stalled_again", f"stalled again in {current.stage}"
        return None
    if fact.type == "stage-changed":
        if (current.incarnation, current.era) != (fact.incarnation, fact.era) or (
            current.sequence > (fact.sequence or 0)
        ):
            return "moved_on", f"moved on to {current.stage}"
        return None
    if current.incarnation != fact.incarnation or current.stage != fact.stage:
        return "moved_on", f"moved on to {current.stage}"
    if current.stalled_level == 0:
        return "recovered", "recovered meanwhile"
    return None
