"""The real sessions, batches, links and timers on in-memory tables: whatever the order of touchpoints, messages, clock
readings, evictions and owners, everything ends where the whole set of touchpoints and erasures puts it."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
import pytest
import time_machine
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from touchline_schemas.cloudevents import to_headers
from touchline_schemas.partitions import partition_of
from touchline_schemas.times import to_wire
from touchline_stage_engine.application.identities.messages import ERASE_REQUESTED
from touchline_stage_engine.application.outbox_records import CUSTOMER_STAGES, DEAD_LETTERS, STAGE_CHANGES

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

    @initialize(partitions=st.integers(1, 4), limit=st.sampled_from([1, 2, 50]), cached=st.sampled_from([1, 3, 1000]))
    def begin(self, partitions: int, limit: int, cached: int) -> None:
        self.engine = MemorySessions(partitions=partitions, limit=limit, cached=cached)
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


def test_every_order_of_touchpoints_messages_erasures_timers_and_owners_ends_where_the_whole_set_puts_everybody() -> (
    None
):
    run_state_machine_as_test(
        Partitions,
        settings=settings(
            max_examples=int(os.environ.get("TOUCHLINE_EXAMPLES", "30")),
            # The same examples in every normal run; others with TOUCHLINE_EXAMPLES.
            derandomize="TOUCHLINE_EXAMPLES" not in os.environ,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )


@pytest.mark.parametrize("survivor", [{"customer_id": "c1"}, {"external_id": "1"}])
def test_links_with_several_keys_of_an_erased_person_are_removed_once(survivor: dict[str, str]) -> None:
    """Kind: a touchpoint of a customer who stays names several keys, all of which are erased."""
    partitions = Partitions()
    try:
        partitions.begin(partitions=3, limit=50, cached=1000)
        for number, identifiers in enumerate(
            [
                {"customer_id": "c2", "anonymous_id": "a"},
                {"customer_id": "c2", "email": "x@example.org"},
                {"anonymous_id": "a", "email": "x@example.org", **survivor},
            ]
        ):
            at = BEGIN - timedelta(days=30 - number)
            partitions._post(touchpoint(f"t{number}", at, **identifiers))
        partitions.at_once = 1
        partitions.erase("c2")
    finally:
        partitions.teardown()


@pytest.mark.parametrize("newest_first", [True, False])
def test_what_many_customers_name_costs_few_identity_messages(newest_first: bool) -> None:
    """Kind: a placeholder or a shared device: each batch tells the key's owner once of all that name it."""
    partitions = Partitions()
    try:
        partitions.begin(partitions=4, limit=5, cached=1000)
        places = range(400, 0, -1) if newest_first else range(400)
        for place in places:
            at = BEGIN - timedelta(hours=place)
            partitions._post(touchpoint(f"t{place}", at, customer_id=f"c{place}", email="none@example.org"))
        partitions.settle()
        assert partitions.whole.shared_keys() == {"email:none@example.org"}
        # Each of the four partitions has a batch or two of a hundred.
        assert sum(map(len, partitions.engine.topics.identity.values())) <= 4 * 3
    finally:
        partitions.teardown()


def test_a_link_from_before_an_erasure_stays_undone_when_a_smaller_content_undoes_the_later_one() -> None:
    """Kind: the links of a customer are determined anew, and one is left that the owner of the other key refuses."""
    partitions = Partitions()
    try:
        partitions.begin(partitions=1, limit=50, cached=1000)
        partitions.erase("anon:b")
        partitions._post(touchpoint("t1", BEGIN - timedelta(days=1), customer_id="c2", anonymous_id="b"))
        partitions.wait(24 * 45)
        partitions._post(touchpoint("t2", BEGIN + timedelta(days=20), customer_id="c2", anonymous_id="b"))
        partitions.settle()
        partitions._post(touchpoint("t3", BEGIN + timedelta(days=15), customer_id="c1", anonymous_id="b"))
        partitions._post(touchpoint("t2", BEGIN + timedelta(days=10), customer_id="c2"))
        partitions.settle()
        assert partitions.whole.roots() == ({"c1": "c1", "anon:b": "c1"}, set())
    finally:
        partitions.teardown()


@pytest.mark.parametrize("erased", [["anon:c3"], ["anon:c3", "c3"]])
def test_an_alias_from_after_the_erasures_of_what_it_may_name_links_the_anonymous_id(erased: list[str]) -> None:
    """Kind: an alias from before the erasures named the same previous id."""
    partitions = Partitions()
    try:
        partitions.begin(partitions=1, limit=50, cached=1000)
        names: dict[str, Any] = {
            "customer_id": "c1",
            "anonymous_id": "c3",
            "type": "aliased",
            "properties": {"previous_id": "c3"},
        }
        for place, key in enumerate(erased):
            partitions.erase(key)
            if not place:
                partitions._post(touchpoint("t1", BEGIN - timedelta(days=1), **names))
                partitions.wait(24 * 45)
        partitions.settle()
        partitions._post(touchpoint("t2", BEGIN + timedelta(days=20), **names))
        partitions.settle()
        assert partitions.whole.roots() == ({"c1": "c1", "anon:c3": "c1"}, set())
    finally:
        partitions.teardown()


def test_what_an_erased_key_transferred_to_another_customer_during_the_erasure_is_withdrawn() -> None:
    """Kind: an alias loses its way to the root, and has another root for a moment before it is erased itself."""
    partitions = Partitions()
    try:
        partitions.begin(partitions=2, limit=50, cached=1000)
        for number, identifiers in enumerate(
            [
                {"customer_id": "c3", "email": "x@example.org"},
                {"anonymous_id": "b", "email": "x@example.org"},
                {"customer_id": "c2", "anonymous_id": "b"},
            ]
        ):
            partitions._post(touchpoint(f"t{number}", BEGIN - timedelta(days=30 - number), **identifiers))
        partitions.erase("email:x@example.org")
        assert partitions.whole.customers(FOLD, now_micros()).keys() == {"c2"}
    finally:
        partitions.teardown()


def test_a_record_whose_headers_fail_is_a_dead_letter_without_them() -> None:
    """Kind: an unforeseen error while the dead letter itself is built."""
    partitions = Partitions()
    try:
        partitions.begin(partitions=1, limit=50, cached=1000)
        partitions._post(touchpoint("t1", BEGIN - timedelta(days=1), customer_id="c1"))
        topics = partitions.engine.topics
        topics.append(topics.touchpoints, "touchpoints", "c1", b"{", [("x", 5)])  # type: ignore[list-item]
        partitions._post(touchpoint("t2", BEGIN - timedelta(hours=1), customer_id="c1"))
        partitions.settle()
        (letter,) = [record for record in topics.published if record.topic == DEAD_LETTERS]
        assert (letter.value, dict(letter.headers)["reason"]) == (b"{", b"unprocessable")
        assert "x" not in dict(letter.headers)
    finally:
        partitions.teardown()
