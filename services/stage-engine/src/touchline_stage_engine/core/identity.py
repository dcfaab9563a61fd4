"""Who is whom: keys linked by touchpoints, each with a label that names the person it belongs to.

The canonical answer is Kruskal's: links in order of weight; a link that would join two known customers is refused.
No process sees all links, though: each key's owner knows that key's own links and what the keys at their other ends
last said of themselves. The same answer, locally:

- a known customer is a root: label (no bottleneck, 0 steps, itself);
- any other key's label is the least, over its links, of (the larger of the link's weight and the neighbour's
  bottleneck; steps from the bottleneck link; the neighbour's root), among neighbours that have a known root;
- where no known customer can be reached, the root is the least key (by ``rank``) that can.

The bottleneck is the heaviest link on the best way to the root: the link over which Kruskal would have joined this key
to that customer. The steps break the tie among keys behind one bottleneck, so that a key never leans on one that leans
on it. A link goes where the touchpoint that made it gave way to a smaller content, or where an end was erased; so a
label also names the way it takes, and a key never believes a neighbour whose way leads through the key itself: two that
lost their root would else go on telling each other of it for ever. A way only gets worse by each step, so exchanging
labels ends, and ends the same whatever the order.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from touchline_schemas.identity import is_known, rank

Weight: TypeAlias = tuple[int, str, str, str, str]
"""(occurred_at, id, source) of the touchpoint that links, then the two keys in order: no two links weigh the same."""

LIGHTEST: Weight = (-(1 << 62), "", "", "", "")


def weigh(occurred_at: int, id: str, source: str, one: str, other: str) -> Weight:  # noqa: A002
    """The weight of the link between two keys that a touchpoint names."""
    low, high = sorted((one, other))
    return (occurred_at, id, source, low, high)


class Label(NamedTuple):
    """Whom a key belongs to. ``bottleneck`` None: no known customer can be reached, and root is the least key.

    ``steps`` counts links since the bottleneck, or since the root where there is none; ``via`` are the keys on the way,
    the root last.
    """

    bottleneck: Weight | None
    steps: int
    root: str
    via: tuple[str, ...] = ()

    def better_than(self, other: "Label") -> bool:
        """Whether this label is to be preferred."""
        if self.bottleneck is None or other.bottleneck is None:
            if self.bottleneck is not other.bottleneck:
                return self.bottleneck is not None
            return (rank(self.root), self.steps) < (rank(other.root), other.steps)
        return (self.bottleneck, self.steps, rank(self.root)) < (other.bottleneck, other.steps, rank(other.root))

    def seen_over(self, weight: Weight, key: str) -> "Label":
        """This label, of `key`, as the key at the other end of a link of that weight has it."""
        via = (key, *self.via)
        if self.bottleneck is None or weight <= self.bottleneck:
            return Label(self.bottleneck, self.steps + 1, self.root, via)
        return Label(weight, 0, self.root, via)

    def dump(self) -> list[Any]:
        """A small JSON value that `load` reads back."""
        return [self.bottleneck, self.steps, self.root, self.via]

    @classmethod
    def load(cls, data: Any) -> "Label":
        """What `dump` wrote."""
        bottleneck, steps, root, via = data
        return cls(None if bottleneck is None else tuple(bottleneck), steps, root, tuple(via))


def own_label(key: str) -> Label:
    """The label of a key without links."""
    return Label(LIGHTEST, 0, key) if is_known(key) else Label(None, 0, key)


_UNSETTLED = Label(None, 0, "")


@dataclass(slots=True)
class Link:
    """One link of a key.

    Attributes:
        mine: its weight by the key's own touchpoints, None where none of them makes it.
        theirs: the same by those of the other end, as far as it has told.
        label: what the other end last said of itself.
    """

    mine: Weight | None
    theirs: Weight | None
    label: Label

    @property
    def weight(self) -> Weight:
        """That of the least touchpoint that makes the link; one end's there always is."""
        return min(weight for weight in (self.mine, self.theirs) if weight is not None)


class Conflict(NamedTuple):
    """A refused link: its ends belong to two known customers."""

    key: str
    other: str
    customer_a: str
    customer_b: str
    weight: Weight


@dataclass(slots=True)
class Standing:
    """What the owner of a key knows of its identity.

    Attributes:
        links: other key → link.
        label: the key's own label, from its links.
    """

    key: str
    links: dict[str, Link] = field(default_factory=dict)
    label: Label = _UNSETTLED

    def __post_init__(self) -> None:
        if self.label is _UNSETTLED:
            self.label = own_label(self.key)

    @property
    def root(self) -> str:
        """Whom the key belongs to; the key itself where to nobody else."""
        return self.label.root

    def knows(self, other: str, weight: Weight) -> bool:
        """Whether a touchpoint of the key adds nothing: a lesser one makes the same link."""
        link = self.links.get(other)
        return link is not None and link.mine is not None and link.mine <= weight

    def link(self, other: str, weight: Weight) -> None:
        """Note a link that a touchpoint of the key makes; the least weight stays."""
        link = self.links.get(other)
        if link is None:
            self.links[other] = Link(weight, None, own_label(other))
        elif link.mine is None or weight < link.mine:
            link.mine = weight

    def relink(self, weights: Mapping[str, Weight]) -> dict[str, Weight | None]:
        """Make the links those that the key's touchpoints make now: other key → least weight.

        Returns:
            What of it is news to the other ends: the new weight, or None for a link that none makes any more.
        """
        news: dict[str, Weight | None] = {}
        for other in (*self.links, *(key for key in weights if key not in self.links)):
            weight, link = weights.get(other), self.links.get(other)
            if link is None:
                assert weight is not None, "it is one of those made now"
                self.link(other, weight)
            elif link.mine == weight:
                continue
            else:
                link.mine = weight
            news[other] = weight
        self._drop_unmade()
        return news

    def hear(self, other: str, weight: Weight | None, label: Label) -> bool:
        """Note what a link's other end says: the weight by its touchpoints, and its label; whether that is news."""
        link = self.links.get(other)
        if link is None:
            if weight is None:
                return False
            self.links[other] = Link(None, weight, label)
            return True
        if (link.theirs, link.label) == (weight, label):
            return False
        link.theirs, link.label = weight, label
        self._drop_unmade()
        return True

    def _drop_unmade(self) -> None:
        for other in [other for other, link in self.links.items() if link.mine is None and link.theirs is None]:
            del self.links[other]

    def unlink(self, other: str) -> bool:
        """Forget a link, because the other end was erased; whether there was one."""
        return self.links.pop(other, None) is not None

    def settle(self) -> bool:
        """Work the label out anew; whether it changed, so that the neighbours must hear of it."""
        best = own_label(self.key)
        if not is_known(self.key):
            for other, link in self.links.items():
                if self.key in link.label.via:
                    continue
                candidate = link.label.seen_over(link.weight, other)
                if candidate.better_than(best):
                    best = candidate
        changed = best != self.label
        self.label = best
        return changed

    def conflicts(self) -> Iterator[Conflict]:
        """The refused links among this key's, as far as it knows."""
        if self.label.bottleneck is None:
            return
        mine = self.label.root
        for other, link in self.links.items():
            theirs = link.label.root
            if link.label.bottleneck is not None and theirs != mine:
                low, high = sorted((mine, theirs))
                yield Conflict(self.key, other, low, high, link.weight)

    def dump(self) -> dict[str, Any]:
        """A small JSON value that `load` reads back."""
        return {
            "links": {other: [link.mine, link.theirs, link.label.dump()] for other, link in self.links.items()},
            "label": self.label.dump(),
        }

    @classmethod
    def load(cls, key: str, data: Any) -> "Standing":
        """What `dump` wrote."""
        links = {
            other: Link(_weight(mine), _weight(theirs), Label.load(label))
            for other, (mine, theirs, label) in data["links"].items()
        }
        return cls(key, links, Label.load(data["label"]))


def _weight(data: Any) -> Weight | None:
    return None if data is None else tuple(data)


def canonical_roots(links: Iterable[Weight]) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Kruskal's answer for a whole set of links: key → root, and the pairs of known customers refused.

    For tests and for simulations that have every link at hand.
    """
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    refused: list[tuple[str, str]] = []
    for *_, one, other in sorted(set(links)):
        a, b = find(one), find(other)
        if a == b:
            continue
        if is_known(a) and is_known(b):
            refused.append((one, other))
            continue
        low, high = sorted((a, b), key=rank)
        parent[high] = low
    roots = {key: find(key) for key in list(parent)}
    pairs = {(min(roots[a], roots[b]), max(roots[a], roots[b])) for a, b in refused}
    return roots, pairs
