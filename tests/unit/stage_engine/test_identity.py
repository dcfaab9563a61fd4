"""Keys that only talk to their neighbours, in any order of messages, agree with Kruskal over all links at once."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from touchline_stage_engine.core.identity import Label, Standing, Weight, canonical_roots, own_label, weigh

KEYS = [
    "c1",
    "c2",
    "c3",
    "anon:a",
    "anon:b",
    "anon:c",
    "anon:d",
    "email:x@example.org",
    "email:y@example.org",
    "ext:s:1",
]


@dataclass
class Network:
    """Owners of keys, with a queue from each key to each other; a message may wait for as long as it likes."""

    standings: dict[str, Standing] = field(default_factory=dict)
    queues: dict[tuple[str, str], deque[tuple[Weight | None, Label]]] = field(default_factory=dict)
    made: dict[tuple[str, int], tuple[str, Weight]] = field(default_factory=dict)
    """(key, number of its touchpoint) → (the other key it names, weight)."""

    def standing(self, key: str) -> Standing:
        return self.standings.setdefault(key, Standing(key))

    def touch(self, one: str, number: int, other: str, weight: Weight) -> None:
        """A touchpoint filed under `one` names `other`."""
        self.made[one, number] = (other, weight)
        standing = self.standing(one)
        if not standing.knows(other, weight):
            standing.link(other, weight)
            self.tell(one, other, standing.links[other].mine)
            self.settle(one)

    def take_back(self, one: str, number: int) -> None:
        """A touchpoint of `one` gave way to a content that names nobody else."""
        del self.made[one, number]
        weights: dict[str, Weight] = {}
        for (key, _), (other, weight) in self.made.items():
            if key == one:
                weights[other] = min(weight, weights.get(other, weight))
        for other, news in self.standing(one).relink(weights).items():
            self.tell(one, other, news)
        self.settle(one)

    def tell(self, sender: str, recipient: str, weight: Weight | None) -> None:
        self.queues.setdefault((sender, recipient), deque()).append((weight, self.standing(sender).label))

    def settle(self, key: str) -> None:
        standing = self.standing(key)
        if standing.settle():
            for other, link in standing.links.items():
                self.tell(key, other, link.mine)

    def deliver(self, sender: str, recipient: str) -> None:
        weight, label = self.queues[sender, recipient].popleft()
        standing = self.standing(recipient)
        new = sender not in standing.links
        if standing.hear(sender, weight, label):
            if new:
                self.tell(recipient, sender, standing.links[sender].mine)
            self.settle(recipient)

    def waiting(self) -> list[tuple[str, str]]:
        return sorted(pair for pair, queue in self.queues.items() if queue)

    def run(self, todo: Sequence[Callable[[], None]], draw: Callable[[int], int]) -> None:
        """Do things in order, and deliver messages in between and after, as drawn; it must come to an end."""
        left = deque(todo)
        for _ in range(5000):
            choices = self.waiting()
            if not left and not choices:
                return
            pick = draw(len(choices) - (0 if left else 1))
            if pick == len(choices):
                left.popleft()()
            else:
                self.deliver(*choices[pick])
        raise AssertionError("they go on telling each other for ever")

    def assert_canonical(self) -> None:
        """The standings agree with Kruskal over all links made."""
        roots, pairs = canonical_roots(weight for _, weight in self.made.values())
        for key, standing in self.standings.items():
            assert standing.root == roots.get(key, key)
        told = {
            (conflict.customer_a, conflict.customer_b)
            for standing in self.standings.values()
            for conflict in standing.conflicts()
        }
        assert told == pairs


def links() -> st.SearchStrategy[list[tuple[str, str, int]]]:
    ends = st.sampled_from(KEYS)
    stranger = st.sampled_from([key for key in KEYS if ":" in key])
    one = st.tuples(ends, stranger, st.integers(0, 6)).filter(lambda link: link[0] != link[1])
    return st.lists(one, max_size=14)


@settings(max_examples=400, deadline=None)
@given(links=links(), order=st.data())
def test_every_order_of_touchpoints_and_messages_ends_where_kruskal_does(
    links: list[tuple[str, str, int]], order: st.DataObject
) -> None:
    network = Network()
    touches = [
        partial(network.touch, one, number, other, weigh(at, f"t{at}", "s", one, other))
        for number, (one, other, at) in enumerate(links)
    ]
    network.run(order.draw(st.permutations(touches)), lambda most: order.draw(st.integers(0, most)))
    network.assert_canonical()


@settings(max_examples=600, deadline=None)
@given(links=links(), order=st.data())
def test_links_whose_touchpoints_gave_way_are_forgotten_in_every_order(
    links: list[tuple[str, str, int]], order: st.DataObject
) -> None:
    network = Network()
    weighed = [(one, n, other, weigh(at, f"t{at}", "s", one, other)) for n, (one, other, at) in enumerate(links)]
    todo: list[Callable[[], None]] = []
    for one, number, other, weight in order.draw(st.permutations(weighed)):
        todo.insert(order.draw(st.integers(0, len(todo))), partial(network.touch, one, number, other, weight))
        if order.draw(st.booleans()):
            place = next(i for i, act in enumerate(todo) if getattr(act, "args", ())[1:2] == (number,))
            todo.insert(order.draw(st.integers(place + 1, len(todo))), partial(network.take_back, one, number))
    network.run(todo, lambda most: order.draw(st.integers(0, most)))
    network.assert_canonical()


def test_a_circle_that_has_lost_its_customer_does_not_go_on_believing_itself() -> None:
    network = Network()
    ring = ["anon:a", "anon:b", "anon:c", "anon:d"]
    for number, (one, other) in enumerate(zip(ring, [*ring[1:], ring[0]], strict=True)):
        network.touch(one, number, other, weigh(number, f"t{number}", "s", one, other))
    network.touch("c1", 9, "anon:c", weigh(9, "t9", "s", "c1", "anon:c"))
    network.run([], lambda most: 0)
    assert {network.standings[key].root for key in ring} == {"c1"}
    network.take_back("c1", 9)
    network.run([], lambda most: 0)
    assert {network.standings[key].root for key in ring} == {"anon:a"}
    assert network.standings["c1"].links == {}


def test_a_link_that_would_join_two_known_customers_is_refused_and_told_by_the_keys_at_its_ends() -> None:
    first, second = weigh(1, "t1", "s", "c1", "anon:a"), weigh(2, "t2", "s", "c2", "anon:a")
    standing = Standing("anon:a")
    standing.link("c2", second)
    standing.settle()
    assert standing.root == "c2"
    standing.link("c1", first)
    standing.settle()
    assert standing.root == "c1"
    (conflict,) = standing.conflicts()
    assert (conflict.customer_a, conflict.customer_b, conflict.weight) == ("c1", "c2", second)


def test_keys_of_nobody_known_gather_under_the_least_of_them() -> None:
    weight = weigh(1, "t1", "s", "email:x@example.org", "anon:z")
    standing = Standing("email:x@example.org")
    standing.link("anon:z", weight)
    standing.settle()
    assert standing.root == "anon:z"


def test_a_standing_is_read_back_as_it_was_written() -> None:
    standing = Standing("anon:a")
    standing.link("c1", weigh(5, "t1", "s", "c1", "anon:a"))
    standing.hear("c1", weigh(4, "t0", "s", "c1", "anon:a"), own_label("c1"))
    standing.settle()
    import orjson

    assert Standing.load("anon:a", orjson.loads(orjson.dumps(standing.dump()))) == standing


def test_the_same_link_seen_later_adds_nothing() -> None:
    standing = Standing("c1")
    standing.link("anon:a", weigh(5, "t1", "s", "c1", "anon:a"))
    assert standing.knows("anon:a", weigh(6, "t2", "s", "c1", "anon:a"))
    assert not standing.knows("anon:a", weigh(4, "t0", "s", "c1", "anon:a"))
