"""Keys that only talk to their neighbours, in any order of messages, agree with Kruskal over all links at once."""

from collections import deque
from dataclasses import dataclass, field

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
    queues: dict[tuple[str, str], deque[tuple[Weight, Label]]] = field(default_factory=dict)

    def standing(self, key: str) -> Standing:
        return self.standings.setdefault(key, Standing(key))

    def touch(self, one: str, other: str, weight: Weight) -> None:
        """A touchpoint filed under `one` names `other`."""
        standing = self.standing(one)
        if not standing.knows(other, weight):
            standing.link(other, weight)
            self.tell(one, other)
            self.settle(one)

    def tell(self, sender: str, recipient: str) -> None:
        standing = self.standing(sender)
        message = (standing.links[recipient].weight, standing.label)
        self.queues.setdefault((sender, recipient), deque()).append(message)

    def settle(self, key: str) -> None:
        standing = self.standing(key)
        if standing.settle():
            for other in standing.links:
                self.tell(key, other)

    def deliver(self, sender: str, recipient: str) -> None:
        weight, label = self.queues[sender, recipient].popleft()
        standing = self.standing(recipient)
        new = sender not in standing.links
        if standing.link(sender, weight, label):
            if new:
                self.tell(recipient, sender)
            self.settle(recipient)

    def waiting(self) -> list[tuple[str, str]]:
        return sorted(pair for pair, queue in self.queues.items() if queue)


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
    weighed = [(one, other, weigh(at, f"t{at}", "s", one, other)) for one, other, at in links]
    todo = deque(order.draw(st.permutations(weighed)))
    while todo or network.waiting():
        choices = network.waiting()
        pick = order.draw(st.integers(0, len(choices) - (0 if todo else 1)))
        if pick == len(choices):
            network.touch(*todo.popleft())
        else:
            network.deliver(*choices[pick])

    roots, pairs = canonical_roots(weight for *_, weight in weighed)
    assert {key: network.standings[key].root for key in roots} == roots
    told = {
        (conflict.customer_a, conflict.customer_b)
        for standing in network.standings.values()
        for conflict in standing.conflicts()
    }
    assert told == pairs


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
    standing.link("c1", weigh(5, "t1", "s", "c1", "anon:a"), own_label("c1"))
    standing.settle()
    import orjson

    assert Standing.load("anon:a", orjson.loads(orjson.dumps(standing.dump()))) == standing


def test_the_same_link_seen_later_adds_nothing() -> None:
    standing = Standing("c1")
    standing.link("anon:a", weigh(5, "t1", "s", "c1", "anon:a"))
    assert standing.knows("anon:a", weigh(6, "t2", "s", "c1", "anon:a"))
    assert not standing.knows("anon:a", weigh(4, "t0", "s", "c1", "anon:a"))
