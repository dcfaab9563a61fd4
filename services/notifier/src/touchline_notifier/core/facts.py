"""Facts as the notifier reads them, and where a customer stands by them."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from touchline_schemas.facts import (
    CORRECTIONS,
    CustomerErased,
    CustomerMerged,
    CustomerRecovered,
    CustomerStalled,
    StageChanged,
)
from touchline_schemas.times import to_wire

from touchline_notifier.core.reasons import CancelCode

FactType = Literal["stage-changed", "customer-stalled", "customer-recovered"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One move, stall or recovery.

    Attributes:
        id: its ``ce_id``.
        stage: the stage moved into, or the one stalled or recovered in.
        at: when it became true: a stall's due time, else when it occurred.
        correction: tells of a mistake, not of what the customer just did.
        data: the JSON it came as.
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
    data: dict[str, Any] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        """JSON for the ``fact`` column."""
        return {**asdict(self), "at": to_wire(self.at)}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Fact":
        """Read back what :meth:`to_row` wrote."""
        return cls(**{**row, "at": datetime.fromisoformat(row["at"])})


@dataclass(frozen=True, slots=True)
class Told:
    """One event of the stage-changes topic: a fact, or news of a customer as a whole.

    Attributes:
        type: its ``ce_type``.
        data: the JSON it came as.
    """

    type: str
    event: Fact | CustomerMerged | CustomerErased
    ce_id: str
    data: dict[str, Any]

    @property
    def hurries(self) -> bool:
        """Whether somebody waits for it: what tells of the past, and merges, may be gathered for a while."""
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
        fact_no=event.fact_no,
        backfill=event.backfill,
        data=event.model_dump(mode="json"),
        **own,
    )


@dataclass(slots=True)
class Standing:
    """Where a customer stands in one lifecycle, by the facts read so far."""

    incarnation: int = 0
    fact_no: int = 0
    stage: str | None = None
    entered_at: datetime | None = None
    sequence: int = 0
    stalled_level: int = 0

    def take(self, fact: Fact) -> bool:
        """Take the next fact; False when it was taken before."""
        if (fact.incarnation, fact.fact_no) <= (self.incarnation, self.fact_no):
            return False
        self.incarnation, self.fact_no, self.stage = fact.incarnation, fact.fact_no, fact.stage
        match fact.type:
            case "stage-changed":
                self.entered_at, self.sequence, self.stalled_level = fact.at, fact.sequence or 0, 0
            case "customer-stalled":
                self.stalled_level = fact.level or 1
            case "customer-recovered":
                self.stalled_level = 0
        return True


def no_longer_wanted(fact: Fact, standing: Standing | None) -> tuple[CancelCode, str] | None:
    """Why an action on a fact is no longer wanted where the customer stands now: (code, text), or None.

    A stall's ends with the recovery or any move; a move's with the next move; a recovery's with the next stall.
    """
    if standing is None or (standing.incarnation, standing.fact_no) <= (fact.incarnation, fact.fact_no):
        return None
    if fact.type == "customer-recovered":
        if standing.stalled_level:
            return "stalled_again", f"stalled again in {standing.stage}"
        return None
    if fact.type == "stage-changed":
        if standing.incarnation != fact.incarnation or standing.sequence > (fact.sequence or 0):
            return "moved_on", f"moved on to {standing.stage}"
        return None
    if standing.incarnation != fact.incarnation or standing.stage != fact.stage:
        return "moved_on", f"moved on to {standing.stage}"
    if standing.stalled_level == 0:
        return "recovered", "recovered meanwhile"
    return None
