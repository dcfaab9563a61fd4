"""Keys that only talk to their neighbours, in any order of messages, agree with Kruskal over all links at once."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from touchline_schemas.identity import is_known
from touchline_stage_engine.core.identity.canonical import canonical_roots, shared_keys
from touchline_stage_engine.core.identity.labels import Label, Weight, own_label, weigh
from touchline_stage_engine.core.identity.links import KeyIdentity
from touchline_stage_engine.core.identity.made_links import MadeLinks

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
NO_LIMIT = 50
NEVER_ERASED = 1 << 62
"""A time of receipt after every erasure."""


class Made(NamedTuple):
    """What a touchpoint of a key names. ``previous``: an alias's, the known customer that it may be."""

    other: str
    weight: Weight
    previous: str | None = None


@dataclass
class Network:
    """Owners of keys, with a queue from each key to each other; a message may wait for as long as it likes."""

    limit: int = NO_LIMIT
    standings: dict[str, KeyIdentity] = field(default_factory=dict)
    queues: dict[tuple[str, str], deque[tuple[Weight | None, Label | None]]] = field(default_factory=dict)
    made: dict[tuple[str, int], Made] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)

    def standing(self, key: str) -> KeyIdentity:
        return self.standings.setdefault(key, KeyIdentity(key))

    def arrive(self, key: str) -> None:
        """A touchpoint of a key that names nobody beside it."""
        self.present.add(key)
        self.settle(key)

    def touch(self, one: str, number: int, other: str, weight: Weight) -> None:
        """A touchpoint filed under `one` names `other`."""
        self.made[one, number] = Made(other, weight)
        self.present.add(one)
        self.standing(one).link(other, weight)
        self.settle(one)

    def alias(self, one: str, number: int, previous: str, at: int) -> None:
        """A touchpoint filed under `one` says that it was `previous` before: a customer, or an anonymous id."""
        other = f"anon:{previous}"
        self.made[one, number] = Made(other, weigh(at, f"t{at}", "s", one, other), previous)
        self.present.add(one)
        self.relink(one)

    def take_back(self, one: str, number: int) -> None:
        """A touchpoint of `one` gave way to a content that names nobody else."""
        del self.made[one, number]
        self.relink(one)

    def relink(self, one: str) -> None:
        standing = self.standing(one)
        links = MadeLinks(standing)
        for (key, _), made in self.made.items():
            if key == one:
                others = [made.other] if made.previous is None else []
                links.add(others, made.previous, *made.weight[:3], NEVER_ERASED)
        standing.relink(links.weights)
        self.settle(one)

    def settle(self, key: str) -> None:
        standing = self.standing(key)
        standing.settle(self.limit, key in self.present)
        for other in sorted(standing.news):
            self.queues.setdefault((key, other), deque()).append(standing.report_to(other))
        standing.news.clear()

    def deliver(self, sender: str, recipient: str) -> None:
        weight, label = self.queues[sender, recipient].popleft()
        if self.standing(recipient).hear(sender, weight, label):
            if is_known(sender) and is_known(recipient):
                self.relink(recipient)
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

    def every_link(self) -> list[Weight]:
        """The links of the whole set: an alias names the customer, if there is one, else the anonymous id."""
        links = []
        for (one, _), made in self.made.items():
            if made.previous in self.present:
                links.append(weigh(*made.weight[:3], one, made.previous))
            else:
                links.append(made.weight)
        return links

    def assert_canonical(self) -> None:
        """The standings agree with Kruskal over all links made."""
        links = self.every_link()
        roots, pairs = canonical_roots(links, self.limit)
        for key, standing in self.standings.items():
            assert standing.root == roots.get(key, key)
        published = {
            (conflict.customer_a, conflict.customer_b)
            for standing in self.standings.values()
            for conflict in standing.conflicts()
        }
        assert published == pairs
        assert {key for key, standing in self.standings.items() if standing.shared} == shared_keys(links, self.limit)


def links() -> st.SearchStrategy[list[tuple[str, str, int]]]:
    ends = st.sampled_from(KEYS)
    stranger = st.sampled_from([key for key in KEYS if ":" in key])
    one = st.tuples(ends, stranger, st.integers(0, 6)).filter(lambda link: link[0] != link[1])
    return st.lists(one, max_size=14)


@settings(max_examples=400, deadline=None)
@given(links=links(), order=st.data(), limit=st.sampled_from([1, 2, NO_LIMIT]))
def test_every_order_of_touchpoints_and_messages_ends_where_kruskal_does(
    links: list[tuple[str, str, int]], order: st.DataObject, limit: int
) -> None:
    network = Network(limit)
    touches = [
        partial(network.touch, one, number, other, weigh(at, f"t{at}", "s", one, other))
        for number, (one, other, at) in enumerate(links)
    ]
    network.run(order.draw(st.permutations(touches)), lambda most: order.draw(st.integers(0, most)))
    network.assert_canonical()


@settings(max_examples=600, deadline=None)
@given(links=links(), order=st.data(), limit=st.sampled_from([1, 2, NO_LIMIT]))
def test_links_whose_touchpoints_gave_way_are_forgotten_in_every_order(
    links: list[tuple[str, str, int]], order: st.DataObject, limit: int
) -> None:
    network = Network(limit)
    weighed = [(one, n, other, weigh(at, f"t{at}", "s", one, other)) for n, (one, other, at) in enumerate(links)]
    todo: list[Callable[[], None]] = []
    for one, number, other, weight in order.draw(st.permutations(weighed)):
        todo.insert(order.draw(st.integers(0, len(todo))), partial(network.touch, one, number, other, weight))
        if order.draw(st.booleans()):
            index = next(i for i, act in enumerate(todo) if getattr(act, "args", ())[1:2] == (number,))
            todo.insert(order.draw(st.integers(index + 1, len(todo))), partial(network.take_back, one, number))
    network.run(todo, lambda most: order.draw(st.integers(0, most)))
    network.assert_canonical()


@settings(max_examples=400, deadline=None)
@given(
    links=links(),
    aliases=st.lists(st.tuples(st.sampled_from(["c1", "c2"]), st.sampled_from(["a", "b", "c3", "z"]),
                               st.integers(0, 6)), max_size=4),
    there=st.sets(st.sampled_from(["c1", "c3", "z", "b"])),
    order=st.data(),
)  # fmt: skip
def test_an_alias_names_a_known_customer_where_there_is_one_and_an_anonymous_id_where_not_in_every_order(
    links: list[tuple[str, str, int]],
    aliases: list[tuple[str, str, int]],
    there: set[str],
    order: st.DataObject,
) -> None:
    network = Network()
    todo: list[Callable[[], None]] = [
        partial(network.touch, one, number, other, weigh(at, f"t{at}", "s", one, other))
        for number, (one, other, at) in enumerate(links)
    ]
    todo += [partial(network.alias, one, 100 + n, previous, at) for n, (one, previous, at) in enumerate(aliases)]
    todo += [partial(network.arrive, key) for key in sorted(there)]
    network.run(order.draw(st.permutations(todo)), lambda most: order.draw(st.integers(0, most)))
    network.assert_canonical()


@pytest.mark.parametrize("hub", ["email:office@example.org", "anon:tablet", "ext:crm:0"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_key_that_more_than_the_limit_of_customers_name_joins_nobody_and_costs_each_of_them_one_message(
    hub: str, order: int
) -> None:
    network, number, sent = Network(limit=5), 400, 0
    for index in range(number)[::order]:
        network.touch(f"c{index:03}", 0, hub, weigh(index, f"t{index}", "s", f"c{index:03}", hub))
        while waiting := network.waiting():
            network.deliver(*waiting[0])
            sent += 1
    network.assert_canonical()
    assert network.standings[hub].shared
    assert {standing.root for standing in network.standings.values()} == set(network.standings)
    # Below the limit of five every new link may change what the hub says, to all it has.
    assert sent <= number + 6 * 6


NAMERS = ["c{}", "anon:{}", "email:{}@example.org", "ext:crm:{}"]


@pytest.mark.parametrize("hub", ["email:none@example.org", "anon:tablet", "ext:shop:0"])
@pytest.mark.parametrize("limit", [1, 5, 50])
@pytest.mark.parametrize("namers", [*([kind] for kind in NAMERS), NAMERS])
def test_every_different_key_of_any_kind_counts_as_one_customer_of_a_shared_key(
    hub: str, limit: int, namers: list[str]
) -> None:
    network = Network(limit=limit)
    others = [namers[index % len(namers)].format(index) for index in range(limit + 1)]
    for index, other in enumerate(others):
        assert not network.standing(hub).shared
        network.touch(other, index, hub, weigh(index, f"t{index}", "s", hub, other))
        # Naming it a second time does not count again.
        network.touch(other, limit + 1 + index, hub, weigh(limit + 1 + index, f"u{index}", "s", hub, other))
        network.run([], lambda most: 0)
    assert network.standings[hub].shared
    assert {standing.root for standing in network.standings.values()} == set(network.standings)
    network.assert_canonical()
    network.take_back(others[0], 0)
    network.take_back(others[0], limit + 1)
    network.run([], lambda most: 0)
    assert not network.standings[hub].shared
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


def test_a_key_that_is_shared_when_a_link_comes_back_has_taken_back_its_label() -> None:
    device, address = "anon:a", "email:x@example.org"
    network = Network(limit=1)
    network.touch(device, 0, address, weigh(0, "t0", "s", device, address))
    network.deliver(device, address)
    assert network.standings[address].root == device
    network.touch(address, 1, device, weigh(1, "t1", "s", address, device))
    network.take_back(device, 0)
    network.deliver(device, address)
    network.touch("c1", 2, device, weigh(2, "t2", "s", "c1", device))
    network.touch("c2", 3, device, weigh(3, "t3", "s", "c2", device))
    network.deliver("c1", device)
    network.deliver("c2", device)
    assert network.standings[device].shared
    network.run([], lambda most: 0)
    assert network.standings[address].root == address
    network.assert_canonical()


def heard(standing: KeyIdentity, other: str, weight: Weight) -> None:
    standing.hear(other, weight, own_label(other))
    standing.settle(NO_LIMIT, True)


def test_a_link_that_would_join_two_known_customers_is_refused_and_told_by_the_keys_at_its_ends() -> None:
    first, second = weigh(1, "t1", "s", "c1", "anon:a"), weigh(2, "t2", "s", "c2", "anon:a")
    standing = KeyIdentity("anon:a")
    heard(standing, "c2", second)
    assert standing.root == "c2"
    heard(standing, "c1", first)
    assert standing.root == "c1"
    (conflict,) = standing.conflicts()
    assert (conflict.customer_a, conflict.customer_b, conflict.weight) == ("c1", "c2", second)


def test_keys_of_nobody_known_gather_under_the_least_of_them() -> None:
    standing = KeyIdentity("email:x@example.org")
    heard(standing, "anon:z", weigh(1, "t1", "s", "email:x@example.org", "anon:z"))
    assert standing.root == "anon:z"


def test_a_standing_is_read_back_as_it_was_written() -> None:
    standing = KeyIdentity("anon:a")
    standing.link("c1", weigh(5, "t1", "s", "c1", "anon:a"))
    heard(standing, "c1", weigh(4, "t0", "s", "c1", "anon:a"))
    heard(standing, "c2", weigh(6, "t3", "s", "c2", "anon:a"))
    heard(standing, "email:x@example.org", weigh(7, "t4", "s", "email:x@example.org", "anon:a"))
    assert standing.unlink("email:x@example.org", 8)
    for other, link in standing.links.items():
        link.listed = standing.conflict(other)
    again = KeyIdentity.load("anon:a", orjson.loads(orjson.dumps(standing.dump())))
    assert not again.complete
    for other, link in standing.links.items():
        again.links[other] = type(link).load("anon:a", other, orjson.loads(orjson.dumps(link.dump())))
    again.complete = True
    assert again == standing


def test_the_same_link_seen_later_adds_nothing() -> None:
    standing = KeyIdentity("c1")
    standing.link("anon:a", weigh(5, "t1", "s", "c1", "anon:a"))
    assert standing.knows("anon:a", weigh(6, "t2", "s", "c1", "anon:a"))
    assert not standing.knows("anon:a", weigh(4, "t0", "s", "c1", "anon:a"))
