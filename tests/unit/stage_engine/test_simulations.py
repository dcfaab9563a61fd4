"""A simulation over chunks of customers: the sample first, then all; each customer as the fold has them."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from touchline_schemas.times import to_micros
from touchline_stage_engine.application.simulation import CustomerTouchpoints
from touchline_stage_engine.application.simulations import (
    SAMPLE,
    CancelledError,
    Progress,
    SimulatedChange,
    SimulationOrder,
    run,
)
from touchline_stage_engine.application.values import StoredDefinition
from touchline_stage_engine.core.definitions.parse import read_definition

from tests.support.engine.expected import random_touchpoints, read_posted, trial_fold
from tests.support.engine.random_definitions import random_definition

NOW = datetime(2026, 6, 1, tzinfo=UTC)
UNTIL = to_micros(NOW)


class History:
    """Stored touchpoints in memory, ten customers at a time."""

    def __init__(self, text: str | None, lives: list[CustomerTouchpoints], copies: int = 1) -> None:
        self._text = text
        self._lives = [
            CustomerTouchpoints(f"{life.customer_id}-{copy}", life.touchpoints)
            for copy in range(copies)
            for life in lives
        ]

    async def versions(self, name: str) -> list[StoredDefinition]:
        if self._text is None:
            return []
        fingerprint = read_definition(self._text, "").fingerprint
        return [StoredDefinition(name, 1, fingerprint, self._text, None)]

    async def customers(self) -> int:
        return len(self._lives)

    async def chunks(self, until: int, one_in: int = 1) -> AsyncIterator[list[CustomerTouchpoints]]:
        chosen = self._lives[::one_in]
        for begin in range(0, len(chosen), 10):
            yield chosen[begin : begin + 10]


class Record:
    """What a simulation wrote."""

    def __init__(self, cancel_after: int | None = None) -> None:
        self.reported: list[dict[str, Any]] = []
        self.changes: dict[str, tuple[str | None, str | None]] = {}
        self.saved: list[tuple[str, dict[str, Any]]] = []
        self._cancel_after = cancel_after

    async def report(self, progress: Progress) -> None:
        self.reported.append(progress.as_json())
        if self._cancel_after is not None and len(self.reported) > self._cancel_after:
            raise CancelledError

    async def add_changes(self, changes: Sequence[SimulatedChange]) -> None:
        self.changes |= {change.customer_id: (change.running, change.candidate) for change in changes}

    async def save(self, result: dict[str, Any], state: str) -> None:
        self.saved.append((state, result))


def lives(seed: random.Random, number: int) -> list[CustomerTouchpoints]:
    posted = random_touchpoints(seed, [{"customer_id": f"c{n}"} for n in range(number)], 8, NOW)
    found: dict[str, list[Any]] = {}
    for one in posted:
        found.setdefault(one["customer_id"], []).append(read_posted(one))
    return [CustomerTouchpoints(key, sorted(life, key=lambda one: one.order)) for key, life in sorted(found.items())]


def stage(text: str, life: CustomerTouchpoints) -> str | None:
    state, _ = trial_fold(text).refold(life.touchpoints, UNTIL)
    return None if state is None else state.stage.name


@pytest.mark.parametrize("number", range(20))
async def test_every_customer_is_where_the_fold_has_them_under_either_version(number: int) -> None:
    seed = random.Random(number)
    running, candidate = random_definition(seed, "trial", 1), random_definition(seed, "trial", 1)
    everybody = lives(seed, 40)
    record = Record()
    await run(SimulationOrder("trial", candidate, None, None, UNTIL), History(running, everybody), record)
    ((state, result),) = record.saved
    assert (state, result["sampled"], result["customers"]) == ("done", False, 40)
    wanted = {life.customer_id: (stage(running, life), stage(candidate, life)) for life in everybody}
    moved = {f"{key}-0": pair for key, pair in wanted.items() if pair[0] != pair[1]}
    assert record.changes == moved
    assert result["move_at_once"] == {"refold": len(moved), "pin": 0}
    matrix = {(cell["running"], cell["candidate"]): cell["customers"] for cell in result["matrix"]}
    assert matrix == dict(Counter(wanted.values()))
    assert "examples" not in str(result), "names are kept where an erasure finds them"


async def test_a_large_history_is_sampled_first() -> None:
    seed = random.Random(1)
    history = History(None, lives(seed, 50), copies=2 * SAMPLE // 50 + 1)
    record = Record()
    await run(SimulationOrder("trial", random_definition(seed, "trial", 1), None, None, UNTIL), history, record)
    (first, sample), (last, whole) = record.saved
    assert (first, sample["sampled"], last, whole["sampled"]) == ("running", True, "done", False)
    assert (sample["customers"], whole["customers"]) == (2025, 4050)
    assert whole["running"] is None
    assert record.reported[-1] == {"phase": "whole", "customers": 4050, "of": 4050, "touchpoints": 32_400, "share": 1.0}


async def test_a_cancelled_simulation_saves_nothing() -> None:
    seed = random.Random(2)
    record = Record(cancel_after=2)
    order = SimulationOrder("trial", random_definition(seed, "trial", 1), None, None, UNTIL)
    with pytest.raises(CancelledError):
        await run(order, History(None, lives(seed, 40)), record)
    assert record.saved == []
