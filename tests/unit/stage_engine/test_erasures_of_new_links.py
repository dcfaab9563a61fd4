"""Kind: an erase request comes while the owners of linked keys still exchange their links. It must erase all of them.

The touchpoints are read before the request, the messages that they cause are not. What remains is compared with a run
in which all messages were read before the request.
"""

import os
from itertools import permutations

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.support.engine.memory_reader import Action, Erase, Post, Read, Reader, at_once, at_random, remains

PARTITIONS = 3
EVERYBODY: list[Action] = [Read(partition) for partition in range(PARTITIONS)]
ALIAS = [
    Post(1, 5, "page_viewed", 0, {"anonymous_id": "a"}),
    Post(2, 4, "page_viewed", 0, {"customer_id": "c1", "anonymous_id": "a"}),
]
FAR = [
    Post(1, 5, "page_viewed", 0, {"anonymous_id": "b"}),
    Post(2, 4, "page_viewed", 0, {"anonymous_id": "b", "email": "x@example.org"}),
    Post(3, 3, "page_viewed", 0, {"customer_id": "c1", "email": "x@example.org"}),
]
"""An alias that is two links away."""


class TouchpointsFirst(Reader):
    """Reads touchpoints and no messages, until the request is made."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._requested = False

    def erase(self, made: Erase) -> None:
        self._requested = True
        super().erase(made)

    async def read(self, partition: int) -> None:
        if self._requested:
            await super().read(partition)
            return
        touchpoints, _ = self.engine.topics.unread(partition)
        for size in self._ends(touchpoints):
            await self.engine.step(partition, size, 0)
        self.engine.publish(partition)


@pytest.mark.parametrize("posts", [ALIAS, FAR])
def test_a_request_that_comes_before_the_answers_of_linked_keys_erases_these_too(posts: list[Post]) -> None:
    for order in permutations(posts):
        left = remains([*order, *EVERYBODY, Erase("c1")], at_once, PARTITIONS, 50, 1000, TouchpointsFirst)
        assert not left["touchpoints"]
        assert not left["links"]
        assert not left["stages"]
        assert not left["compacted"]
        assert len(left["erasures"]) == len({key for post in posts for key in _keys(post)})


def _keys(post: Post) -> set[str]:
    named = post.identifiers
    found = {f"anon:{named['anonymous_id']}"} if "anonymous_id" in named else set()
    found |= {f"email:{named['email']}"} if "email" in named else set()
    return found | ({named["customer_id"]} if "customer_id" in named else set())


OLD = st.builds(
    Post,
    st.integers(0, 6),
    st.integers(1, 6),
    st.sampled_from(["page_viewed", "purchased"]),
    st.just(0),
    st.sampled_from(
        [
            {"customer_id": "c1"},
            {"anonymous_id": "a"},
            {"anonymous_id": "b"},
            {"email": "x@example.org"},
            {"customer_id": "c1", "anonymous_id": "a"},
            {"customer_id": "c1", "email": "x@example.org"},
            {"anonymous_id": "b", "email": "x@example.org"},
            {"anonymous_id": "a", "email": "x@example.org"},
        ]
    ),
)


@settings(
    max_examples=int(os.environ.get("TOUCHLINE_EXAMPLES", "100")),
    derandomize="TOUCHLINE_EXAMPLES" not in os.environ,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
)
@given(st.lists(OLD, min_size=1, max_size=10), st.sampled_from([1, 1000]), st.integers(0, 1 << 16))
@example(ALIAS, 1000, 0)
@example(FAR, 1000, 0)
def test_a_request_erases_the_same_whether_the_links_are_exchanged_before_it_or_not(
    posts: list[Post], cached: int, seed: int
) -> None:
    asked: list[Action] = [*posts, *EVERYBODY, Erase("c1")]
    exchanged: list[Action] = [*posts, *EVERYBODY * 10, Erase("c1")]
    found = remains(asked, at_random(seed), PARTITIONS, 50, cached, TouchpointsFirst)
    expected = remains(exchanged, at_once, PARTITIONS, 50, cached, Reader)
    for table, rows in expected.items():
        if table not in ("receipts", "copies", "erasures"):
            assert found[table] == rows, table
    assert found["erasures"].keys() == expected["erasures"].keys()
