"""The real sessions, batches, links and timers on in-memory tables: whatever the order of touchpoints, messages, clock
readings, evictions and owners, everything ends where the whole set of touchpoints and erasures puts it."""

import os
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from touchline_stage_engine.application.outbox_records import DEAD_LETTERS

from tests.support.engine.expected import now_micros
from tests.support.engine.memory_partitions import BEGIN, FOLD, Partitions
from tests.support.engine.world import touchpoint


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
