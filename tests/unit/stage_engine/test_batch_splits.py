"""Kind: what becomes of a record depends on which other records its batch holds. Only their order may matter.

The same records are read in the same order, once in as few batches as possible, once one by one, and once with random
ends of batches. What is erased and what remains is compared.
"""

import os
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from touchline_schemas.partitions import partition_of
from touchline_stage_engine.application.identities.messages import ERASE_REQUESTED
from touchline_stage_engine.application.partitions.erasure_parts import erasure_parts
from touchline_stage_engine.application.values import Records

from tests.support.engine.memory_reader import (
    Action,
    Erase,
    Post,
    Read,
    Reader,
    at_once,
    at_random,
    one_by_one,
    remains,
)
from tests.support.engine.memory_records import IDENTIFIERS, Record

KEYS = ["c1", "c2", "c3", "anon:a", "anon:b", "anon:z", "email:x@example.org"]


def compare(
    actions: list[Action], *, partitions: int = 1, limit: int = 50, cached: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Read these records in batches of all kinds; what remains in each case."""
    expected = remains(actions, one_by_one, partitions, limit, cached)
    for ends in (at_once, at_random(seed)):
        found = remains(actions, ends, partitions, limit, cached)
        for table, rows in expected.items():
            assert found[table] == rows, table
    return expected


POSTS = st.builds(
    Post,
    st.integers(0, 6),
    st.integers(0, 6),
    st.sampled_from(["page_viewed", "page_viewed", "purchased", "aliased"]),
    st.sampled_from([0, 0, 3, 3600]),
    st.sampled_from(IDENTIFIERS),
).filter(lambda made: made.type != "aliased" or len(made.identifiers) > 1)
READS = st.builds(Read, st.integers(0, 2))


def _with_one_request(made: tuple[Sequence[Action], Erase, int]) -> list[Action]:
    actions, erase, place = made
    return [*actions[:place], erase, *actions[place:]]


OF_MANY = st.lists(st.one_of(POSTS, POSTS, POSTS, READS), max_size=24)
OF_ONE = st.tuples(
    st.lists(
        st.one_of(POSTS, POSTS, POSTS, READS).filter(
            lambda made: isinstance(made, Read) or made.identifiers.get("customer_id", "c3") == "c3"
        ),
        max_size=24,
    ),
    st.builds(Erase, st.sampled_from(["c3", "anon:a", "anon:b", "email:x@example.org"]), st.sampled_from([0, 2, 200])),
    st.integers(0, 24),
).map(_with_one_request)
"""One request, and one known customer. Where several persons who share a key are erased within seconds, it depends on
the order of messages between owners whose alias the key is at that moment, and so on the ends of batches."""


FAR = [
    Post(1, 5, "page_viewed", 0, {"anonymous_id": "b"}),
    Post(2, 4, "page_viewed", 0, {"anonymous_id": "b", "email": "x@example.org"}),
    Post(3, 3, "page_viewed", 0, {"customer_id": "c3", "email": "x@example.org"}),
]
"""A customer, and an alias that is two links away."""
BESIDE = Post(1, 0, "page_viewed", 0, {"customer_id": "c3", "email": "x@example.org"})


@settings(
    max_examples=int(os.environ.get("TOUCHLINE_EXAMPLES", "100")),
    # The same examples in every normal run; others with TOUCHLINE_EXAMPLES.
    derandomize="TOUCHLINE_EXAMPLES" not in os.environ,
    deadline=None,
    # Making an example smaller takes minutes.
    phases=[Phase.explicit, Phase.generate],
)
@given(
    st.one_of(OF_MANY, OF_ONE),
    st.integers(1, 3),
    st.sampled_from([1, 2, 50]),
    st.sampled_from([1, 1000]),
    st.integers(0, 1 << 16),
)
# The erase request and the transfer from the alias are read together.
@example([*FAR, Read(0), Read(0), Read(0), Erase("c3")], 1, 50, 1000, 0)
# A link is made again while its ends are erased.
@example([BESIDE, Read(0), Erase("c3", 2), Erase("email:x@example.org")], 1, 50, 1000, 0)
# The customer was erased before the link is read, and gets an alias's touchpoints for a moment.
@example(
    [Erase("c3"), Post(2, 0, "page_viewed", 0, {"email": "x@example.org"}), BESIDE._replace(minutes=1)], 1, 50, 1, 0
)
# A link that was listed as a conflict is removed and made again in one batch.
@example(
    [
        Erase("c2", 200),
        Post(3, 0, "page_viewed", 3, {"customer_id": "c1", "anonymous_id": "a"}),
        Post(2, 6, "page_viewed", 0, {"customer_id": "c2", "anonymous_id": "a"}),
    ],
    2,
    2,
    1000,
    0,
)
@example(
    [
        Post(0, 1, "page_viewed", 0, {"customer_id": "c2", "anonymous_id": "b"}),
        Post(1, 3, "purchased", 0, {"anonymous_id": "b", "email": "x@example.org"}),
        Read(0),
        Erase("c2", 200),
        Erase("email:x@example.org", 200),
        Post(0, 1, "page_viewed", 0, {"customer_id": "c3", "email": "x@example.org"}),
        Post(0, 5, "purchased", 0, {"customer_id": "c2", "anonymous_id": "b"}),
    ],
    1, 50, 1, 9348,
)  # fmt: skip
# The other end's label comes between a link's removal and the touchpoint that makes it again, in one batch.
@example(
    [
        Post(4, 0, "aliased", 3600, {"customer_id": "c3", "email": "x@example.org"}),
        Post(5, 4, "page_viewed", 3, {"anonymous_id": "b", "email": "x@example.org"}),
        Erase("c3", 200),
        Post(3, 0, "page_viewed", 3, {"anonymous_id": "b", "email": "x@example.org"}),
    ], 1, 2, 1000, 0,
)  # fmt: skip
def test_what_is_erased_and_what_remains_does_not_depend_on_the_ends_of_batches(
    actions: list[Action], partitions: int, limit: int, cached: int, seed: int
) -> None:
    compare(actions, partitions=partitions, limit=limit, cached=cached, seed=seed)


@pytest.mark.parametrize("link_first", [True, False])
def test_an_erase_request_concerns_the_links_that_were_read_before_it_in_whatever_batch(link_first: bool) -> None:
    """Kind: a link and an erase request of one key are read together, in either order."""
    owner, alias = (Read(partition_of(key, 3)) for key in ("c1", "anon:a"))
    erase: list[Action] = [Erase("anon:a")]
    link: list[Action] = [owner]
    left = compare(
        [
            Post(1, 5, "page_viewed", 0, {"anonymous_id": "a"}),
            alias,
            Post(2, 4, "page_viewed", 0, {"customer_id": "c1", "anonymous_id": "a"}),
            *(link + erase if link_first else erase + link),
            alias,
        ],
        partitions=3,
    )
    assert {customer for customer, _ in left["touchpoints"]} == (set() if link_first else {"c1"})
    assert not left["links"]
    assert left["compacted"].keys() == (set() if link_first else {b"c1/trial"})


def test_nothing_names_a_customer_who_got_touchpoints_of_an_alias_for_a_moment_after_the_erasure() -> None:
    """Kind: an empty row that names an erased person."""
    post = Post(2, 0, "page_viewed", 0, {"email": "x@example.org"})
    left = compare([Erase("c3"), post, BESIDE._replace(minutes=1)])
    assert left["customers"].keys() == {"email:x@example.org"}


def test_a_request_that_is_older_than_one_read_before_brings_nothing_back() -> None:
    """Kind: an erasure whose time goes back."""
    old = Post(1, 1, "page_viewed", 0, {"customer_id": "c1"})
    left = compare([old, Erase("c1"), Read(0), Erase("c1", 200), Read(0), old._replace(number=2)])
    assert not left["touchpoints"]


class MessagesFirst(Reader):
    """Reads the messages that are there before the touchpoints that are there."""

    async def read(self, partition: int) -> None:
        touchpoints, messages = self.engine.topics.unread(partition)
        for own, others in ((0, messages), (touchpoints, 0)):
            if own or others:
                await self.engine.step(partition, own, others)
        self.engine.publish(partition)


OLD = st.builds(
    Post,
    st.integers(0, 6),
    st.integers(1, 6),
    st.sampled_from(["page_viewed", "purchased"]),
    st.just(0),
    st.sampled_from(IDENTIFIERS),
)
YOUNG = st.builds(
    Post,
    st.integers(100, 130),
    st.just(0),
    st.just("page_viewed"),
    st.just(0),
    st.sampled_from([one for one in IDENTIFIERS if len(one) == 1]),
)


@settings(
    max_examples=int(os.environ.get("TOUCHLINE_EXAMPLES", "60")),
    derandomize="TOUCHLINE_EXAMPLES" not in os.environ,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
)
@given(
    st.lists(OLD, max_size=8),
    st.sampled_from(KEYS),
    st.lists(YOUNG, min_size=1, max_size=5, unique_by=lambda made: made.number),
    st.integers(1, 3),
    st.sampled_from([1, 1000]),
)
# What an alias did after the request reaches the customer before it, and is the alias's own after it.
@example(
    [Post(1, 3, "page_viewed", 0, {"customer_id": "c1", "anonymous_id": "a"})],
    "c1",
    [Post(100, 0, "page_viewed", 0, {"anonymous_id": "a"})],
    1,
    1000,
)
def test_what_is_younger_than_an_erasure_stays_where_it_belongs_whether_it_is_read_before_or_after_the_request(
    old: list[Post], key: str, young: list[Post], partitions: int, cached: int
) -> None:
    everything: list[Action] = [Read(partition) for partition in range(partitions)]
    actions = [*old, *everything * 8, Erase(key), *young]
    before, after = (remains(actions, at_once, partitions, 50, cached, reader) for reader in (Reader, MessagesFirst))
    # How many rows the request removed depends on it; what is left does not.
    del before["receipts"], after["receipts"]
    assert before == after
    assert {number for number, *_ in young} == {number for number in range(100, 131) if f"t{number}" in before["ids"]}


def test_a_younger_content_of_an_erased_touchpoint_counts_when_it_is_sent_again() -> None:
    """It loses to the older content if it is read before the request: then both are one touchpoint."""
    older = Post(1, 5, "page_viewed", 0, {"customer_id": "c1"})
    younger = older._replace(minutes=0)
    assert not compare([older, younger, Erase("c1", 1)])["ids"]
    assert compare([older, younger, Erase("c1", 1), Read(0), younger])["ids"] == {"t1"}
    assert compare([older, Erase("c1"), Read(0), younger])["ids"] == {"t1"}


RECORDS = st.tuples(st.lists(st.sampled_from("abcd")), st.lists(st.tuples(st.sampled_from("abcd"), st.booleans())))


@given(RECORDS)
def test_a_part_has_one_record_of_whatever_it_erases_and_the_order_stays(
    made: tuple[list[str], list[tuple[str, bool]]],
) -> None:
    touchpoints = [Record("touchpoints", 0, offset, key.encode(), b"{}") for offset, key in enumerate(made[0])]
    kinds = {True: ERASE_REQUESTED, False: "touchline.link-requested"}
    messages = [
        Record("identity", 0, offset, key.encode(), b"{}", [("ce_type", kinds[erases].encode())])
        for offset, (key, erases) in enumerate(made[1])
    ]
    parts = list(erasure_parts(Records(list(touchpoints), list(messages))))
    assert [one for part in parts for one in (*part.touchpoints, *part.identity)] == [*touchpoints, *messages]
    assert not any(part.touchpoints for part in parts[1:])
    for part in parts:
        keys = [one.key for one in (*part.touchpoints, *part.identity)]
        assert all(keys.count(one.key) == 1 for one in part.identity if made[1][one.offset][1])
    assert len(parts) == 1 or any(erases for _, erases in made[1])
