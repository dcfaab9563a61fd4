"""Simulations that are asked for through the API: each runs in a process of its own and writes what it finds.

The history is read in chunks of customers, each in a statement of its own, so that a simulation holds up no vacuum.
Touchpoints that were received after it began are left out, so that all chunks show the same history.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from touchline_schemas.times import from_micros, to_wire

from touchline_stage_engine.application.definitions import Catalogue, Version
from touchline_stage_engine.application.pinned_version import moves, pinned_fold
from touchline_stage_engine.application.simulation import CustomerTouchpoints
from touchline_stage_engine.application.values import StoredDefinition
from touchline_stage_engine.core.analysis.simulation import Report, Simulation, Trigger
from touchline_stage_engine.core.definitions.compile import compile_definition
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.core.definitions.timeline import Timeline
from touchline_stage_engine.core.folding.fold import Fold

SAMPLE = 2000
"""Customers of the first, quick part; smaller databases are simulated as a whole at once."""
RUNNING, DONE, FAILED, CANCELLED = "running", "done", "failed", "cancelled"


class CancelledError(Exception):
    """The simulation was cancelled."""


@dataclass(frozen=True)
class SimulationOrder:
    """What to simulate.

    Attributes:
        definition: the YAML of the candidate.
        on_change, effective_from: replace those of the text; None: those of the text.
        until: timers fire up to this instant (microseconds), and touchpoints received after it are left out.
        plays: (name, `when`) of plays whose facts are counted.
    """

    lifecycle: str
    definition: str
    on_change: str | None
    effective_from: str | None
    until: int
    plays: Sequence[tuple[str, dict[str, Any]]] = ()


class SimulatedChange(NamedTuple):
    """A customer who would be in another stage. None: no stage."""

    customer_id: str
    running: str | None
    candidate: str | None


@dataclass
class Progress:
    """How far a simulation is. ``phase``: sample or whole."""

    phase: str
    customers: int
    of: int
    touchpoints: int = 0

    def as_json(self) -> dict[str, Any]:
        """As the API reports it."""
        share = min(1.0, self.customers / self.of) if self.of else 1.0
        return {
            "phase": self.phase, "customers": self.customers, "of": self.of, "touchpoints": self.touchpoints,
            "share": round(share, 4),
        }  # fmt: skip


class StoredHistory(Protocol):
    """The engine's stored touchpoints."""

    async def versions(self, name: str) -> list[StoredDefinition]:
        """The running versions of a lifecycle, oldest first."""
        ...

    async def customers(self) -> int:
        """How many customers have touchpoints."""
        ...

    def chunks(self, until: int, one_in: int = 1) -> AsyncIterator[list[CustomerTouchpoints]]:
        """All customers, or about one in so many, some at a time, with the touchpoints received until an instant."""
        ...


class SimulationStore(Protocol):
    """Simulations that were asked for."""

    async def running(self) -> int:
        """How many run now."""
        ...

    async def add(self, order: SimulationOrder, author: str) -> UUID:
        """Add one; its id."""
        ...

    async def find(self, simulation: UUID) -> dict[str, Any] | None:
        """A simulation as the API reports it."""
        ...

    async def changes(
        self, simulation: UUID, running: str | None, candidate: str | None, after: str, limit: int
    ) -> list[SimulatedChange]:
        """The customers who would move, by id, from `after` on; of one stage now or then, where given."""
        ...

    async def cancel(self, simulation: UUID) -> bool:
        """Cancel one; whether it ran."""
        ...


class SimulationProcesses(Protocol):
    """The processes that simulate."""

    async def start(self, simulation: UUID) -> None:
        """Start the process of a simulation."""
        ...

    def stop(self, simulation: UUID) -> None:
        """End its process, if it is one of this process."""
        ...


class SimulationRecord(Protocol):
    """Where one simulation writes."""

    async def report(self, progress: Progress) -> None:
        """Write the progress, now and then.

        Raises:
            CancelledError: it was cancelled.
        """
        ...

    async def add_changes(self, changes: Sequence[SimulatedChange]) -> None:
        """Add customers who would move."""
        ...

    async def save(self, result: dict[str, Any], state: str) -> None:
        """Write a result."""
        ...


async def run(order: SimulationOrder, history: StoredHistory, record: SimulationRecord) -> None:
    """Simulate over a sample of the customers, then over all.

    Raises:
        CancelledError: it was cancelled.
    """
    versions = await history.versions(order.lifecycle)
    candidate = _candidate(order, versions)
    total = await history.customers()
    if total > 2 * SAMPLE:
        one_in = total // SAMPLE
        await _pass(order, versions, candidate, history, record, Progress("sample", 0, total // one_in), one_in)
    await _pass(order, versions, candidate, history, record, Progress("whole", 0, total), 1)


async def _pass(
    order: SimulationOrder,
    versions: Sequence[StoredDefinition],
    candidate: Definition,
    history: StoredHistory,
    record: SimulationRecord,
    progress: Progress,
    one_in: int,
) -> None:
    running = _running_fold(versions, order.until)
    triggers = [Trigger.of(name, when) for name, when in order.plays]
    fold = Fold(Timeline.of(compile_definition(candidate)))
    simulation = Simulation(fold, running, order.until, triggers)
    pinned = pinned_fold(_in_force(versions), candidate, order.until)
    moved_if_pinned = 0
    await record.report(progress)
    async for lives in history.chunks(order.until, one_in):
        changes = []
        for life in lives:
            change = simulation.add(life.customer_id, life.touchpoints)
            if change is not None:
                changes.append(SimulatedChange(life.customer_id, *change))
            if pinned is not None and running is not None:
                moved_if_pinned += moves(running, pinned, life.touchpoints, order.until)
            progress.touchpoints += len(life.touchpoints)
        progress.customers += len(lives)
        await record.add_changes(changes)
        await record.report(progress)
    sampled = one_in > 1
    result = _result(order, simulation.report(), candidate, moved_if_pinned, sampled=sampled)
    await record.save(result, RUNNING if sampled else DONE)


def _candidate(order: SimulationOrder, versions: Sequence[StoredDefinition]) -> Definition:
    """The candidate as it would be published: numbered after the running versions."""
    definition = read_definition(order.definition, "")
    changes: dict[str, Any] = {}
    if order.on_change is not None:
        changes["on_change"] = order.on_change
    if order.effective_from is not None:
        changes["effective_from"] = order.effective_from
    number = max((version.version for version in versions), default=0)
    if definition.version <= number:
        changes["version"] = number + 1
    return definition.model_copy(update=changes)


def _in_force(versions: Sequence[StoredDefinition]) -> list[Version]:
    return [
        Version(read_definition(one.text, one.name), one.text, one.fingerprint, one.effective_from) for one in versions
    ]


def _running_fold(versions: Sequence[StoredDefinition], until: int) -> Fold | None:
    return Catalogue(_in_force(versions)).folds(until)[0] if versions else None


def _result(
    order: SimulationOrder, report: Report, candidate: Definition, moved_if_pinned: int, *, sampled: bool
) -> dict[str, Any]:
    """The result without names of customers: those are kept in a table of their own, where an erasure finds them."""
    plain = report.as_json()
    for change in plain["changes"]:
        del change["examples"]
    return {
        "sampled": sampled,
        "until": to_wire(from_micros(order.until)),
        "on_change": candidate.on_change,
        "effective_from": candidate.effective_from,
        "move_at_once": None if report.running is None else {"refold": report.would_move, "pin": moved_if_pinned},
        **plain,
    }
