"""Owners of partitions on in-memory tables, as a state machine: touchpoints, links and erasures in any order."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
import time_machine
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from touchline_schemas.cloudevents import to_headers
from touchline_schemas.partitions import partition_of
from touchline_schemas.times import to_wire
from touchline_stage_engine.application.hot_path import IN_PYTHON, HotPath, compiled
from touchline_stage_engine.application.identities.messages import ERASE_REQUESTED
from touchline_stage_engine.application.outbox_records import CUSTOMER_STAGES, STAGE_CHANGES

from tests.support.engine.expected import assert_sound, now_micros, trial_fold
from tests.support.engine.memory_records import IDENTIFIERS
from tests.support.engine.memory_sessions import MemorySessions
from tests.support.engine.whole_set import WholeSet
from tests.support.engine.world import TYPES, touchpoint

BEGIN = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
KEYS = ["c1", "c2", "c3", "anon:a", "anon:b", "anon:z", "email:x@example.org"]
MOST = 300
"""Rounds of reading and publishing until everything must have come to an end."""
FOLD = trial_fold()
HOT_PATHS = [IN_PYTHON, compiled() or IN_PYTHON]


class Posted(NamedTuple):
    """A touchpoint. Few numbers: other contents of one id come under the same key and under others.

    ``hours`` is how long ago it occurred; -1: up to an hour ahead of the clock, as a source's clock may be.
    """

    number: int
    hours: int
    type: str
    score: int
    machine: bool
    identifiers: dict[str, str]

    @property
    def properties(self) -> dict[str, Any]:
        if self.type == "aliased":
            return {"previous_id": self.identifiers["anonymous_id"]}
        return {"score": self.score}


HOURS = st.one_of(st.integers(0, 24 * 60), st.integers(-1, 24 * 60), st.just(-1))


def _posted(types: st.SearchStrategy[str], identifiers: st.SearchStrategy[dict[str, str]]) -> st.SearchStrategy[Posted]:
    machine = st.integers(0, 9).map(lambda number: number == 0)
    return st.builds(Posted, st.integers(0, 12), HOURS, types, st.integers(0, 10), machine, identifiers)


# An alias's previous id is a known customer's, if there is one by that id, else an anonymous id.
ALIASES = st.builds(
    lambda new, old: {"customer_id": new, "anonymous_id": old},
    st.sampled_from(["c1", "c2"]),
    st.sampled_from(["a", "b", "c3", "z"]),
)
POSTED = st.one_of(
    *[_posted(st.sampled_from(TYPES), st.sampled_from(IDENTIFIERS))] * 6, _posted(st.just("aliased"), ALIASES)
)


class Partitions(RuleBasedStateMachine):
    """Owners of partitions, and people whose touchpoints, links and erasures come in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = time_machine.travel(BEGIN, tick=False)
        self.traveller = self.clock.start()
        self.runner = asyncio.Runner()
        self.at_once = 100
        """Records of a batch where everything is read."""

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self.runner.close()
            self.clock.stop()

    @initialize(
        partitions=st.integers(1, 4),
        limit=st.sampled_from([1, 2, 50]),
        cached=st.sampled_from([1, 3, 1000]),
        hot_path=st.sampled_from(HOT_PATHS),
    )
    def begin(self, partitions: int, limit: int, cached: int, hot_path: HotPath = IN_PYTHON) -> None:
        self.engine = MemorySessions(partitions=partitions, limit=limit, cached=cached, hot_path=hot_path)
        self.whole = WholeSet(limit)
        for partition in self.engine.partitions:
            self.runner.run(self.engine.take(partition))

    # Touchpoints, erasures and time.

    @rule(made=st.lists(POSTED, min_size=1, max_size=8))
    def post(self, made: list[Posted]) -> None:
        now = datetime.now(UTC)
        today = now.replace(minute=0, second=0, microsecond=0)
        for one in made:
            at = today - timedelta(hours=one.hours)
            self._post(
                touchpoint(
                    f"t{one.number}", at, type=one.type, properties=one.properties, machine=one.machine,
                    received_at=to_wire(min(at + timedelta(seconds=1), now)), **one.identifiers,
                )
            )  # fmt: skip

    @rule(place=st.integers(0, 50))
    def repeat(self, place: int) -> None:
        if self.whole.posted:
            self._post(self.whole.posted[place % len(self.whole.posted)])

    def _post(self, one: dict[str, Any]) -> None:
        self.whole.posted.append(one)
        self.engine.topics.post(one)

    @rule(hours=st.sampled_from([1, 24, 24 * 15, 24 * 45]))
    def wait(self, hours: int) -> None:
        self.traveller.shift(timedelta(hours=hours))

    @rule(key=st.sampled_from(KEYS))
    def erase(self, key: str) -> None:
        """Erase a person when all that was posted has been read: only then it is certain which keys are theirs."""
        self.settle()
        erased_at = now_micros()
        self.whole.erased |= dict.fromkeys(self.whole.person_of(key), erased_at)
        headers = to_headers(id="e", type=ERASE_REQUESTED, source="/test", time=datetime.now(UTC), subject=key)
        value = orjson.dumps({"erased_at": erased_at, "by": None, "receipt": None})
        self.engine.topics.append(self.engine.topics.identity, "identity", key, value, headers)
        self.drain()

    # What owners do.

    @rule(partition=st.integers(0, 3), touchpoints=st.integers(0, 6), messages=st.integers(0, 6))
    def step(self, partition: int, touchpoints: int, messages: int) -> None:
        self.runner.run(self.engine.step(self._one(partition), touchpoints, messages))

    @rule(partition=st.integers(0, 3), most=st.integers(1, 9))
    def publish(self, partition: int, most: int) -> None:
        self.engine.publish(self._one(partition), most)

    @rule(partition=st.integers(0, 3))
    def take(self, partition: int) -> None:
        self.runner.run(self.engine.take(self._one(partition)))

    @rule()
    def look(self) -> None:
        self.engine.topics.watch()
        self.runner.run(self.engine.catch_up.exchange())
        self.traveller.shift(1)

    def _one(self, partition: int) -> int:
        return partition % self.engine.settings.partitions

    # What has to come of it.

    def drain(self) -> None:
        """Read and publish until nothing is left."""
        for _ in range(MOST):
            if self.engine.idle:
                return
            for partition in self.engine.partitions:
                self.runner.run(self.engine.step(partition, self.at_once, self.at_once))
                self.engine.publish(partition)
        raise AssertionError("messages between partitions do not come to an end")

    @rule()
    def settle(self) -> None:
        self.drain()
        for _ in range(14):
            self.look()
            for partition in self.engine.partitions:
                self.runner.run(self.engine.step(partition))
                self.engine.publish(partition)
        self.drain()
        self.assert_canonical()

    def assert_canonical(self) -> None:
        """Stages, touchpoints, history, aliases, conflicts and shared keys are those of the whole set at once."""
        database, number = self.engine.database, self.engine.settings.partitions
        roots, pairs = self.whole.roots()
        for key, root in roots.items():
            row = database.customers.get((partition_of(key, number), key))
            assert (None if row is None else row["merged_into"]) == (None if key == root else root), key
        customers = self.whole.customers(FOLD, now_micros())
        for root, want in customers.items():
            assert database.customers[partition_of(root, number), root]["touchpoints"] == want.touchpoints, root
            assert sum(1 for customer_id, _ in database.touchpoints if customer_id == root) == want.touchpoints
            stage = database.stages.get((root, "trial"))
            found = (None, None, None) if stage is None else (stage[1], stage[2], stage[4])
            assert found == (want.stage, want.entered_at, want.stalled_level), root
            assert sum(1 for key in database.history if key[0] == root) == want.facts, root
        stages = {(root, "trial") for root, want in customers.items() if want.stage is not None}
        assert set(database.stages) == stages
        assert {(conflict.customer_a, conflict.customer_b) for conflict in database.conflicts.values()} == pairs
        assert set(database.shared_keys) == self.whole.shared_keys()
        self.assert_published_soundly(customers.keys())

    def assert_published_soundly(self, customers: Any) -> None:
        """Subscribers see one gapless chain a customer, and the compacted topic has everybody's latest stage."""
        records = self.engine.topics.published
        facts = [
            orjson.loads(record.value) | {name: value.decode() for name, value in record.headers if name[:3] == "ce_"}
            for record in records
            if record.topic == STAGE_CHANGES and record.value is not None
        ]
        last = assert_sound(facts)
        compacted = {record.key: record.value for record in records if record.topic == CUSTOMER_STAGES}
        latest = {key.decode(): orjson.loads(value)["stage"] for key, value in compacted.items() if key and value}
        stages = {f"{root}/trial": stage[1] for (root, _), stage in self.engine.database.stages.items()}
        assert latest == stages
        # Who has lost all touchpoints that count has a tombstone without a move.
        moves = {f"{root}/trial": fact["to_stage"] for (root, _), fact in last.items()}
        assert {key: moves.get(key) for key in stages} == stages
