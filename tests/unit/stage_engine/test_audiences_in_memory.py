"""The real evaluation of audiences on in-memory tables: whatever happens in which order, members are who matches, and
a subscriber of the topic knows exactly them."""

import os
import random

import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from touchline_schemas.partitions import partition_of
from touchline_stage_engine.adapters.memory.audiences import matches
from touchline_stage_engine.application.audiences import evaluation, standing_work
from touchline_stage_engine.application.outbox_records import AUDIENCE_CHANGES
from touchline_stage_engine.core.audiences.audience import Audience, read_filter

from tests.support.engine.audiences import ENTERED, random_filter
from tests.support.engine.expected import now_micros
from tests.support.engine.memory_partitions import Partitions

NAMES = ["all", "gold"]


class Audiences(Partitions):
    """Owners of partitions who also evaluate audiences, which come, change and go."""

    def __init__(self) -> None:
        super().__init__()
        self.audiences = {
            name: Audience(id_, name, 1, 1, read_filter(wanted))
            for id_, (name, wanted) in enumerate(
                {"all": {"lifecycle": "trial"}, "active": {"seen_within": "P20D"}}.items(), start=1
            )
        }
        self.deleted: list[Audience] = []
        self.ids = 2

    @rule(name=st.sampled_from(NAMES), seed=st.integers(0, 10_000))
    def save(self, name: str, seed: int) -> None:
        wanted = read_filter(random_filter(random.Random(seed)))
        present = self.audiences.get(name)
        if present is None:
            self.ids += 1
            incarnation = 1 + sum(gone.name == name for gone in self.deleted)
            self.audiences[name] = Audience(self.ids, name, incarnation, 1, wanted)
        else:
            self.audiences[name] = present._replace(version=present.version + 1, filter=wanted)
        self._announce()

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        present = self.audiences.pop(name, None)
        if present is not None:
            self.deleted.append(present._replace(deleted=True))
            self._announce()

    def _announce(self) -> None:
        """As the store lists them: of deleted audiences those that are not cleared on every partition."""
        waiting = {id_ for _, id_ in self.engine.database.audience_progress}
        known = [*(gone for gone in self.deleted if gone.id in waiting), *self.audiences.values()]
        self.engine.save_audiences(*sorted(known, key=lambda one: one.id))

    @rule(partition=st.integers(0, 3))
    def evaluate(self, partition: int) -> None:
        self._announce()
        self.runner.run(self.engine.evaluate(self._one(partition)))

    def assert_canonical(self) -> None:
        super().assert_canonical()
        for _ in range(3):
            self._announce()
            for partition in self.engine.partitions:
                self.runner.run(self.engine.evaluate(partition))
        self.drain()
        for partition in self.engine.partitions:
            self.engine.publish(partition)
        database = self.engine.database
        members: dict[str, set[str]] = {}
        for (partition, id_, key), membership in database.audience_members.items():
            assert partition == partition_of(key, self.engine.settings.partitions)
            if membership.member:
                members.setdefault(database.audiences[id_].name, set()).add(key)
        roots = {key for (_, key), row in database.customers.items() if row["merged_into"] is None}
        # Spans end where every partition has caught up, a little before the clock: no touchpoint lies in between.
        now = now_micros()
        for name, audience in self.audiences.items():
            want = {key for key in roots if matches(database, key, audience.filter.at(now))}
            assert members.get(name, set()) == want, audience
            counted = [count for at, (_, count) in database.audience_progress.items() if at[1] == audience.id]
            assert sum(counted) == len(want)
        assert not {at[1] for at in database.audience_members} - {one.id for one in self.audiences.values()}
        assert self._subscribed() == {name: found for name, found in members.items() if found}

    def _subscribed(self) -> dict[str, set[str]]:
        """Who a subscriber knows: every change comes once, and the numbers have no gap."""
        numbers: dict[tuple[str, int, str, int], int] = {}
        ids: set[bytes] = set()
        members: dict[str, set[str]] = {}
        for record in self.engine.topics.published:
            if record.topic == AUDIENCE_CHANGES:
                headers = dict(record.headers)
                assert record.value is not None
                change = orjson.loads(record.value)
                assert headers["ce_id"] not in ids
                ids.add(headers["ce_id"])
                customer = change["customer_id"]
                key = (change["audience"], change["audience_incarnation"], customer, change["incarnation"])
                numbers[key] = numbers.get(key, 0) + 1
                entered = headers["ce_type"].decode() == ENTERED
                assert (change["change_no"], entered) == (numbers[key], bool(numbers[key] % 2)), change
                known = members.setdefault(change["audience"], set())
                assert (customer in known) != entered, change
                (known.add if entered else known.discard)(customer)
        return {name: found for name, found in members.items() if found}


def test_members_are_who_matches_and_a_subscriber_knows_exactly_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # The clock of the test jumps by days: without this, sweeps would find whatever else was missed.
    monkeypatch.setattr(standing_work, "SWEEP_EVERY", float("inf"))
    # A round does all there is to do, however slow the machine is.
    monkeypatch.setattr(evaluation, "SWEEP_SECONDS", float("inf"))
    monkeypatch.setattr(evaluation, "PASSED_FACTOR", 0.0)
    monkeypatch.setattr(evaluation, "REST_FACTOR", 0.0)
    run_state_machine_as_test(
        Audiences,
        settings=settings(
            max_examples=int(os.environ.get("TOUCHLINE_EXAMPLES", "20")),
            # The same examples in every normal run; others with TOUCHLINE_EXAMPLES.
            derandomize="TOUCHLINE_EXAMPLES" not in os.environ,
            stateful_step_count=40,
            phases=[Phase.reuse, Phase.generate],
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
