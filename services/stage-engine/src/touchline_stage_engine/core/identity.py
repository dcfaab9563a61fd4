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
on it. A label only ever improves, so exchanging labels ends, and ends the same whatever the order (links only get
added; an erasure removes a person whole, with everything that leans on them).
"""

from collections.abc import Iterable, Iterator
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

    ``steps`` counts links since the bottleneck.
    """

    bottleneck: Weight | None
    steps: int
    root: str

    def better_than(self, other: "Label") -> bool:
        """Whether this label is to be preferred."""
        if self.bottleneck is None or other.bottleneck is None:
            if self.bottleneck is not other.bottleneck:
                return self.bottleneck is not None
            return rank(self.root) < rank(other.root)
        return (self.bottleneck, self.steps, rank(self.root)) < (other.bottleneck, other.steps, rank(other.root))

    def seen_over(self, weight: Weight) -> "Label":
        """This label as the key at the other end of a link of that weight has it."""
        if self.bottleneck is None:
            return self
        if weight > self.bottleneck:
            return Label(weight, 0, self.root)
        return Label(self.bottleneck, self.steps + 1, self.root)

    def dump(self) -> list[Any]:
        """A small JSON value that `load` reads back."""
        return [self.bottleneck, self.steps, self.root]

    @classmethod
    def load(cls, data: Any) -> "Label":
        """What `dump` wrote."""
        bottleneck, steps, root = data
        return cls(None if bottleneck is None else tuple(bottleneck), steps, root)


def own_label(key: str) -> Label:
    """The label of a key without links."""
    return Label(LIGHTEST, 0, key) if is_known(key) else Label(None, 0, key)


_UNSETTLED = Label(None, 0, "")


@dataclass(slots=True)
class Link:
    """One link of a key: its weight, and what the other end last said of itself."""

    weight: Weight
    label: Label


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
        """Whether a link adds nothing: it is there, and no heavier."""
        link = self.links.get(other)
        return link is not None and link.weight <= weight

    def link(self, other: str, weight: Weight, label: Label | None = None) -> bool:
        """Note a link (the least weight stays), and what the other end says of itself; whether anything changed."""
        link = self.links.get(other)
        if link is None:
            self.links[other] = Link(weight, own_label(other) if label is None else label)
            return True
        changed = False
        if weight < link.weight:
            link.weight = weight
            changed = True
        if label is not None and label != link.label:
            link.label = label
            changed = True
        return changed

    def unlink(self, other: str) -> bool:
        """Forget a link, because the other end was erased; whether there was one."""
        return self.links.pop(other, None) is not None

    def settle(self) -> bool:
        """Work the label out anew; whether it changed, so that the neighbours must hear of it."""
        best = own_label(self.key)
        if not is_known(self.key):
            for link in self.links.values():
                candidate = link.label.seen_over(link.weight)
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
            "links": {other: [link.weight, link.label.dump()] for other, link in self.links.items()},
            "label": self.label.dump(),
        }

    @classmethod
    def load(cls, key: str, data: Any) -> "Standing":
        """What `dump` wrote."""
        links = {other: Link(tuple(weight), Label.load(label)) for other, (weight, label) in data["links"].items()}
        return cls(key, links, Label.load(data["label"]))


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
