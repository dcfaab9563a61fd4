"""Simulate a lifecycle definition: fold recorded history under it and report what would change. Writes nothing."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from touchline_runtime.errors import ConfigurationError
from touchline_schemas.times import from_micros, to_wire

from touchline_stage_engine.application.definitions import Catalogue, Version
from touchline_stage_engine.application.pinned_version import moves, pinned_fold
from touchline_stage_engine.core.analysis.funnel import FunnelStep
from touchline_stage_engine.core.analysis.simulation import Outcome, Report, Simulation, Trigger
from touchline_stage_engine.core.definitions.compile import compile_definition
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.core.definitions.timeline import Timeline
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.touchpoint import Touchpoint

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]
"""Starts a progress display: (what is done, total) → a context whose value is called with each step's size."""


class CustomerTouchpoints(NamedTuple):
    """One customer's touchpoints, each once, in the order of the fold."""

    customer_id: str
    touchpoints: list[Touchpoint]


class InvalidLine(NamedTuple):
    """A line of a history file that is not a touchpoint, and the reason."""

    line: int
    error: str


class RecordedVersion(NamedTuple):
    """A running version as the engine has recorded it. ``effective_from`` None: in force from the beginning."""

    text: str
    effective_from: int | None


class History(Protocol):
    """Recorded touchpoints, customer by customer. Only a history file has invalid lines and refused links."""

    description: str
    invalid: int
    invalid_lines: list[InvalidLine]
    """The first invalid lines."""
    refused_links: int
    """Pairs of known customers that a link would have merged."""

    async def running(self, name: str) -> list[RecordedVersion]:
        """The running versions of a lifecycle, oldest first."""
        ...

    async def load(self, progress: Progress, shared_key_limit: int) -> None:
        """Prepare the touchpoints for reading.

        Raises:
            ConfigurationError: the history cannot be read, or has no touchpoints.
        """
        ...

    async def customers(self) -> int:
        """How many customers have touchpoints."""
        ...

    def lives(self) -> AsyncIterator[CustomerTouchpoints]:
        """The touchpoints of every customer."""
        ...


class DefinitionFiles(Protocol):
    """Lifecycle definitions in files."""

    builtin_names: tuple[str, ...]

    def read(self, file: Path) -> Definition:
        """The definition in a file.

        Raises:
            ConfigurationError: the file cannot be read, or the definition is wrong.
        """
        ...

    def find(self, name: str, *, or_file: bool) -> Definition | None:
        """The newest definition of that name in the definitions folder, else the built-in one.

        With ``or_file``, a name that is the path of a file names that file.
        """
        ...


@dataclass(frozen=True)
class SimulationRequest:
    """What to simulate.

    Attributes:
        candidate: file of the definition to simulate.
        touchpoints: history file; None reads the database.
        running: lifecycle or file to compare with; None: the running lifecycle of the candidate's name.
        plays: folder of plays whose triggers are counted.
        until: timers fire up to this instant (microseconds).
    """

    candidate: Path
    touchpoints: Path | None
    running: str | None
    plays: Path | None
    until: int


@dataclass
class SimulationResult:
    """A report, and where its history came from.

    Attributes:
        until: instant up to which timers fired (RFC 3339).
        invalid: lines of the history file that are not touchpoints.
        invalid_lines: the first of them.
        refused_links: pairs of known customers that a link would have merged.
        moved_if_pinned: customers whom the candidate moves at once with `on_change: pin`.
    """

    report: Report
    history: str
    until: str
    invalid: int = 0
    invalid_lines: list[InvalidLine] = field(default_factory=list)
    refused_links: int = 0
    moved_if_pinned: int = 0

    @property
    def effect_of_on_change(self) -> str:
        """How many customers move at once under either value of `on_change`; empty without a running version."""
        if self.report.running is None:
            return ""
        past = " `effective_from` is in the past, so what occurred since then counts." if self.moved_if_pinned else ""
        return (
            f"With `on_change: refold` these {self.report.would_move:,} customers move at once. With `on_change: pin` "
            f"(the default) {self.moved_if_pinned:,} of {self.report.customers:,} customers move at first: each keeps "
            f"{title_of(self.report.running)} until their first move after the new version takes effect.{past}"
        )

    def as_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "history": self.history,
            "until": self.until,
            **self.report.as_json(),
            "on_change": None
            if self.report.running is None
            else {
                "refold": {"move_at_first": self.report.would_move},
                "pin": {"move_at_first": self.moved_if_pinned},
            },
            "bad_lines": {"count": self.invalid, "first": [line._asdict() for line in self.invalid_lines]},
            "identity_conflicts": self.refused_links,
        }

    @property
    def stages(self) -> list[str]:
        """The stages of both versions: the candidate's path first, then its other stages and the running version's."""
        found = dict.fromkeys(self.report.candidate.path)
        for outcome in self.outcomes:
            found |= dict.fromkeys(outcome.path) | dict.fromkeys(sorted(outcome.now_in))
        return list(found)

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcome of the running version, if there is one, and of the candidate."""
        return [outcome for outcome in (self.report.running, self.report.candidate) if outcome is not None]


def funnel_of(outcome: Outcome) -> dict[str, FunnelStep]:
    """Stage → funnel step."""
    return {step.stage: step for step in outcome.funnel}


def title_of(outcome: Outcome) -> str:
    """Lifecycle and version, as a heading."""
    return f"{outcome.lifecycle} {outcome.version}"


async def simulate(
    request: SimulationRequest,
    candidate: Definition,
    triggers: Sequence[Trigger],
    history: History,
    files: DefinitionFiles,
    shared_key_limit: int,
    progress: Progress,
) -> SimulationResult:
    """Fold a history under the candidate and under the version that it is compared with.

    Raises:
        ConfigurationError: ``request.running`` is not found, or the history cannot be read.
        Unavailable: the database does not answer.
    """
    recorded = await history.running(request.running or candidate.lifecycle)
    compared = _compared(request, candidate, recorded, files)
    running = Catalogue(compared).folds(request.until)[0] if compared else None
    pinned = pinned_fold(compared, candidate, request.until)
    moved_if_pinned = 0
    simulation = Simulation(_fold(candidate), running, request.until, triggers)
    await history.load(progress, shared_key_limit)
    with progress("folding customers", await history.customers()) as advance:
        async for life in history.lives():
            simulation.add(life.customer_id, life.touchpoints)
            if running is not None and pinned is not None:
                moved_if_pinned += moves(running, pinned, life.touchpoints, request.until)
            advance(1)
    return SimulationResult(
        simulation.report(),
        history.description,
        to_wire(from_micros(request.until)),
        history.invalid,
        history.invalid_lines,
        history.refused_links,
        moved_if_pinned,
    )


def _compared(
    request: SimulationRequest, candidate: Definition, recorded: list[RecordedVersion], files: DefinitionFiles
) -> list[Version]:
    """The versions of the lifecycle that the candidate is compared with; none: there is no such lifecycle."""
    name = request.running or candidate.lifecycle
    if recorded:
        versions = [(read_definition(version.text, name), version) for version in recorded]
        return [
            Version(definition, version.text, definition.fingerprint, version.effective_from)
            for definition, version in versions
        ]
    found = files.find(name, or_file=request.running is not None)
    if found is None and request.running is not None:
        raise ConfigurationError(
            f"--running {name}: no such lifecycle. It is not running, not in TOUCHLINE_LIFECYCLES_DIR, not built in "
            f"({', '.join(files.builtin_names)}) and not a file"
        )
    return [] if found is None else [Version(found, "", found.fingerprint, None)]


def _fold(definition: Definition) -> Fold:
    return Fold(Timeline.of(compile_definition(definition)))
