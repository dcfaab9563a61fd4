"""Ledgers of what the topics hold, counted without asking the services.

Each ledger takes one record after another (``ce_id``, ``ce_type``, the JSON data) and is a value afterwards: counts,
and a list of complaints about records that contradict each other.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from touchline_schemas.events.dead_letters import ORIGIN, REASON
from touchline_schemas.identity import keys_of
from touchline_schemas.ids import action_id, step_action_id
from touchline_schemas.touchpoint_types import NOTIFIER_SOURCE

from touchline_demo.company.people import CRM, DESK, MAILER, SHOP
from touchline_demo.setup import HISTORY

Data = dict[str, Any]

_OF_A_TOPIC = re.compile(r"[^/\s]+/\d+/\d+")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\b\d\d:\d\d\b")
_DELIVERING = timedelta(seconds=10)
SOURCES = frozenset((SHOP, MAILER, CRM, DESK, HISTORY))
"""The company's own systems."""
ENOUGH_COMPLAINTS = 20
"""The number of complaints of one kind that are kept."""


@dataclass
class TouchpointLedger:
    """Every touchpoint on the topic.

    The notifier's reports are counted separately because no system posted them. So are touchpoints of sources that the
    company does not have: a person who tries the demo may post some.
    """

    published: int = 0
    of_visitors: int = 0
    by_key: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    occurred: dict[tuple[str, str], datetime] = field(default_factory=dict)
    reports: set[str] = field(default_factory=set)
    reports_by_key: Counter[str] = field(default_factory=Counter)

    def add(self, data: Data) -> None:
        """Read one touchpoint."""
        source, identifier = data["source"], data["id"]
        key = keys_of(
            customer_id=data.get("customer_id"),
            anonymous_id=data.get("anonymous_id"),
            email=data.get("email"),
            external_id=data.get("external_id"),
            source=source,
        )[0]
        if source == NOTIFIER_SOURCE:
            self.reports_by_key[key] += identifier not in self.reports
            self.reports.add(identifier)
            return
        self.published += 1
        self.of_visitors += source not in SOURCES
        name = (source, identifier)
        self.occurred[name] = datetime.fromisoformat(data["occurred_at"])
        self.by_key.setdefault(key, set()).add(name)

    @property
    def distinct(self) -> int:
        """How many (source, id) there are: the touchpoints that can be folded."""
        return len(self.occurred)

    @property
    def duplicates(self) -> int:
        """Records that repeat a touchpoint."""
        return self.published - self.distinct

    def of(self, keys: list[str]) -> set[tuple[str, str]]:
        """The touchpoints filed under any of these keys."""
        return set().union(*(self.by_key.get(key, set()) for key in keys))


@dataclass
class FactLedger:
    """Every fact of the stage engine: each published once, in a sequence without gaps."""

    ids: dict[str, Data] = field(default_factory=dict)
    moves: Counter[str] = field(default_factory=Counter)
    stalls: int = 0
    recoveries: int = 0
    merges: int = 0
    erasures: int = 0
    corrections: int = 0
    live: int = 0
    complaints: list[str] = field(default_factory=list)
    stages: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    _fact_no: dict[tuple[str, str, int], int] = field(default_factory=dict)
    _sequence: dict[tuple[str, str, int], tuple[int, str]] = field(default_factory=dict)

    def add(self, ce_id: str, ce_type: str, data: Data) -> None:
        """Read one fact."""
        if ce_id in self.ids:
            self._complain(f"fact {ce_id} of {data['customer_id']} was published twice")
            return
        self.ids[ce_id] = data
        kind = ce_type.removeprefix("touchline.")
        if kind == "customer-merged":
            self.merges += 1
            self._forget(data["customer_id"])
        elif kind == "customer-erased":
            self.erasures += 1
            self._forget(data["customer_id"])
        else:
            self._number(data)
            self.live += not data["backfill"]
            if kind == "stage-changed":
                self._move(data)
            elif kind == "customer-stalled":
                self.stalls += 1
            elif kind == "customer-recovered":
                self.recoveries += 1

    def _number(self, data: Data) -> None:
        line = (data["customer_id"], data["lifecycle"], data["incarnation"])
        expected = self._fact_no.get(line, 0) + 1
        if data["fact_no"] != expected:
            self._complain(f"{_name(line)}: fact {data['fact_no']} came where {expected} was due")
        self._fact_no[line] = data["fact_no"]

    def _move(self, data: Data) -> None:
        self.moves[data["move"]] += 1
        self.corrections += data["reason"]["kind"] in ("late_touchpoint", "merge", "definition")
        line = (data["customer_id"], data["lifecycle"], data["incarnation"])
        sequence, stage = self._sequence.get(line, (0, None))
        if data["sequence"] != sequence + 1:
            self._complain(f"{_name(line)}: move {data['sequence']} came where {sequence + 1} was due")
        if sequence and data["from_stage"] != stage:
            self._complain(
                f"{_name(line)}: move {data['sequence']} leaves {data['from_stage']}, but {stage} was entered"
            )
        self._sequence[line] = (data["sequence"], data["to_stage"])
        self.stages[data["customer_id"], data["lifecycle"]] = (data["to_stage"], data["sequence"])

    def _forget(self, customer: str) -> None:
        for line in [line for line in self.stages if line[0] == customer]:
            del self.stages[line]

    def _complain(self, text: str) -> None:
        if len(self.complaints) < ENOUGH_COMPLAINTS:
            self.complaints.append(text)


@dataclass
class StageLedger:
    """The compacted topic: every customer's latest stage, as a new subscriber reads it."""

    stages: dict[tuple[str, str], Data] = field(default_factory=dict)

    def add(self, key: str, data: Data | None) -> None:
        """Read one record; None is a tombstone."""
        customer, _, lifecycle = key.rpartition("/")
        if data is None:
            self.stages.pop((customer, lifecycle), None)
        else:
            self.stages[customer, lifecycle] = data

    def disagreements(self, facts: FactLedger) -> list[str]:
        """Customers whose stage differs between the compacted topic and the facts."""
        latest = {line: (data["stage"], data["sequence"]) for line, data in self.stages.items()}
        differing = [line for line in latest.keys() | facts.stages.keys() if latest.get(line) != facts.stages.get(line)]
        return [
            f"{customer} in {lifecycle}: the compacted topic says {latest.get((customer, lifecycle))}, "
            f"the facts say {facts.stages.get((customer, lifecycle))}"
            for customer, lifecycle in sorted(differing)[:ENOUGH_COMPLAINTS]
        ]


def _expected_id(data: Data) -> UUID:
    """A run of a sequence has the id that the action of a play of one step would have."""
    of_fact = action_id(data["play"], data["fact_id"])
    return of_fact if data.get("step") is None else step_action_id(of_fact, data["step"])


@dataclass
class ActionLedger:
    """What the notifier decided and did: every decision of every play."""

    last: dict[str, Data] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    sent: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    def add(self, ce_id: str, data: Data) -> None:
        """Read one action event."""
        if ce_id in self.ids:
            self.complaints.append(f"action event {ce_id} of {data['customer_id']} was published twice")
            return
        self.ids.add(ce_id)
        self.last[data["action_id"]] = data
        self.sent[data["action_id"]] += data["outcome"] == "sent"

    def under_way(self, now: datetime) -> int:
        """Actions that are decided and not yet delivered, or that wait for their play's delay."""

        def waits(reason: str) -> bool:
            # An action whose delay ends in quiet hours keeps the delay as its reason.
            until = _MOMENT.search(reason) if reason.startswith("delay: waits until") else None
            return until is not None and datetime.fromisoformat(until[0]) > now - _DELIVERING

        return sum(
            data["outcome"] == "decided" or (data["outcome"] == "held" and waits(data["reason"] or ""))
            for data in self.last.values()
        )

    @property
    def outcomes(self) -> Counter[str]:
        """How many actions ended how."""
        return Counter(data["outcome"] for data in self.last.values())

    @property
    def reasons(self) -> Counter[str]:
        """Why actions were held back, cancelled, or failed."""
        return Counter(
            f"{data['outcome']}: {_MOMENT.sub('…', data['reason'] or '')}"
            for data in self.last.values()
            if data["outcome"] in ("held", "cancelled", "failed")
        )

    def disagreements(self, facts: FactLedger) -> list[str]:
        """Actions without a fact, on a fact of the past, under a wrong id, or sent more than once."""
        found = []
        for identifier, data in self.last.items():
            fact = facts.ids.get(data["fact_id"])
            if fact is None:
                found.append(f"action {identifier} of play {data['play']}: its fact {data['fact_id']} is on no topic")
            elif fact["backfill"] and data["outcome"] != "held":
                found.append(f"action {identifier} of play {data['play']} acts on a fact of the past")
            if str(_expected_id(data)) != identifier:
                found.append(f"action {identifier} is not what play {data['play']} and its fact make")
            if self.sent[identifier] > 1:
                found.append(f"action {identifier} was sent {self.sent[identifier]} times")
        return (self.complaints + found)[:ENOUGH_COMPLAINTS]


@dataclass
class DeadLetterLedger:
    """Dead letters by origin."""

    total: int = 0
    from_endpoints: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, headers: Mapping[str, bytes]) -> None:
        """Read one dead letter. Its origin is a topic's record, else the endpoint it was posted to."""
        self.total += 1
        self.from_endpoints += _OF_A_TOPIC.fullmatch(headers[ORIGIN].decode()) is None
        self.reasons[headers[REASON].decode()] += 1


def _name(line: tuple[str, str, int]) -> str:
    return f"{line[0]} in {line[1]}"
