"""What the evidence says that the engine had to fold: the touchpoints of every customer, worked out from the topics."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from touchline_checker.evidence import Evidence, Record
from touchline_checker.semantics.fold import Position, Version, in_force, possible
from touchline_checker.semantics.identities import Identities, identify
from touchline_checker.semantics.times import instant
from touchline_checker.semantics.touchpoints import NotATouchpointError, Touchpoint, read_touchpoint

TOUCHPOINTS = "touchpoints.v1"


@dataclass(frozen=True)
class Tolerance:
    """How far the clock's timers may lag, and how long a message may be under way; microseconds."""

    settling: int = 30_000_000
    late_timer: int = 300_000_000
    unsubscribe: int = 30_000_000


@dataclass(frozen=True)
class Input:
    """The touchpoints topic, understood.

    Attributes:
        touchpoints: every record that is a touchpoint and no dead letter, in log order.
        dead: (partition, offset) of the records that the engine put into the dead letters.
        broken: records that are no touchpoints.
        erased_at: key → the latest erasure.
        settled: every timer that was due by then must have fired.
    """

    touchpoints: list[Touchpoint]
    dead: Mapping[tuple[int, int], Record]
    broken: list[tuple[Record, str]]
    erased_at: Mapping[str, int]
    identities: Identities
    versions: Mapping[str, list[Version]]
    settled: int
    now: int

    @classmethod
    def of(cls, evidence: Evidence, tolerance: Tolerance) -> "Input":
        """Read the topics."""
        dead = _dead_letters(evidence)
        erased_at: dict[str, int] = {}
        for record in evidence.topics["stage-changes"]:
            if record.headers.get("ce_type") == "touchline.customer-erased":
                key = record.data["customer_id"]
                erased_at[key] = max(erased_at.get(key, 0), instant(record.data["occurred_at"]))
        touchpoints: list[Touchpoint] = []
        broken: list[tuple[Record, str]] = []
        for place, record in enumerate(evidence.topics["touchpoints"]):
            if (record.partition, record.offset) in dead:
                continue
            try:
                read = read_touchpoint(record.value, record.key, arrived_at=record.timestamp, place=place)
            except NotATouchpointError as error:
                broken.append((record, str(error)))
                continue
            touchpoints.append(read)
        now = evidence.collected_at
        versions = {name: in_force(found, now) for name, found in evidence.versions().items()}
        kept = [one for one in touchpoints if not _is_erased(one, erased_at)]
        return cls(
            touchpoints, dead, broken, erased_at, identify(kept, evidence.shared_key_limit), versions,
            now - tolerance.settling, now,
        )  # fmt: skip

    @cached_property
    def linked(self) -> frozenset[str]:
        """Keys that a touchpoint names beside another key: whose touchpoints they had, and when, is not known."""
        naming = [one for one in self.touchpoints if one.other_keys]
        return frozenset(key for one in naming for key in (one.key, *one.other_keys))

    def involves_erased(self, customer: str) -> bool:
        """Whether an erasure concerns a customer: then links and touchpoints depend on when each key was erased."""
        if not self.erased_at:
            return False
        keys = {*self.identities.keys.get(customer, ()), customer}
        named = {key for one in self.identities.touchpoints.get(customer, ()) for key in one.other_keys}
        return not self.erased_at.keys().isdisjoint(keys | named)

    def expected(self, customer: str, lifecycle: str) -> list[Position]:
        """Every position that is right for a customer now."""
        touchpoints = self.identities.touchpoints.get(customer, ())
        return possible(self.versions[lifecycle], touchpoints, self.settled, self.now)


def _is_erased(touchpoint: Touchpoint, erased_at: Mapping[str, int]) -> bool:
    before = erased_at.get(touchpoint.key)
    return before is not None and (touchpoint.occurred_at < before or touchpoint.received_at < before)


def _dead_letters(evidence: Evidence) -> dict[tuple[int, int], Record]:
    found = {}
    for record in evidence.topics["dead-letters"]:
        topic, _, place = record.headers.get("origin", "").partition("/")
        partition, _, offset = place.partition("/")
        if topic.endswith(TOUCHPOINTS) and partition.isdigit() and offset.isdigit():
            found[int(partition), int(offset)] = record
    return found
