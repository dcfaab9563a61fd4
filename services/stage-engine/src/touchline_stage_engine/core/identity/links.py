"""Identity resolution: keys are linked by touchpoints, and each key has a label that names its customer.

`canonical` defines the result: Kruskal's algorithm over all links in order of weight, where a link between two known
customers is refused. In the engine no process sees all links: the owner of a key knows only the key's links, and the
last label that the key at the other end of each link reported. The same result is computed locally:

- A known customer is a root. Its label is (no bottleneck, 0 steps, itself).
- The label of any other key is the least, over its neighbours with a known root, of (the larger of the link's weight
  and the neighbour's bottleneck, steps since the bottleneck link, the neighbour's root).
- When no known customer can be reached, the root is the least reachable key (by ``rank``).

The bottleneck is the heaviest link on the best path to the root: the link over which Kruskal's algorithm joins the key
to that customer. The steps break ties between keys behind the same bottleneck, so that no two keys depend on each
other.

A link can disappear: its touchpoint may lose to a smaller content, or one end may be erased. Therefore a label contains
its path, and a key ignores a neighbour whose path leads through the key itself. Otherwise two keys that lost their root
would report it to each other forever. Each step makes a path worse, so the exchange of labels ends, and its result does
not depend on the order of messages.

The links of two kinds of key do not count:

- A *shared* key is not a known customer, and more customers than a limit name it (a placeholder address, a device in a
  shop). Every different key that names it counts as one customer: a known customer, an address, an anonymous id or an
  external id.
- A known customer without touchpoints. Only an alias names such a key (see ``previous`` in `core.decoding`).

Settling a shared key or a known customer never needs all of its links, so they stay in the database.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from touchline_schemas.identity import is_known

from touchline_stage_engine.core.identity.labels import Label, Weight, own_label, weigh

_UNSETTLED = Label(None, 0, "")

SHARED_KEY_LIMIT = 50
"""Default number of customers that may name a key before it is shared."""


def is_shared(key: str, count: int, limit: int) -> bool:
    """Whether more than `limit` customers name a key that is not a known customer. ``count``: number of linked keys."""
    return count > limit and not is_known(key)


class Conflict(NamedTuple):
    """A refused link: its two ends belong to different known customers."""

    key: str
    other: str
    customer_a: str
    customer_b: str
    weight: Weight


@dataclass(slots=True)
class Link:
    """One link of a key.

    Attributes:
        mine: its weight by the key's own touchpoints, None where none of them makes it.
        theirs: the same by those of the other end, as far as it has told.
        label: what the other end last said of itself; None: nothing yet, or that its links don't count.
        heard: whether the other end has said anything.
        listed: the conflict it is listed as.
    """

    mine: Weight | None
    theirs: Weight | None
    label: Label | None = None
    heard: bool = False
    listed: Conflict | None = None

    @property
    def weight(self) -> Weight:
        """The weight of the least touchpoint that makes the link. At least one end has one."""
        return min(weight for weight in (self.mine, self.theirs) if weight is not None)

    def dump(self) -> list[Any]:
        """A small JSON value that `load` reads back."""
        return [
            None if self.mine is None else self.mine[:3],
            None if self.theirs is None else self.theirs[:3],
            None if self.label is None else self.label.dump(),
            self.heard,
            None if self.listed is None else [self.listed.customer_a, self.listed.customer_b, self.listed.weight],
        ]

    @classmethod
    def load(cls, key: str, other: str, data: Any) -> "Link":
        """The value that `dump` wrote."""
        mine, theirs, label, heard, listed = data
        conflict = None
        if listed is not None:
            customer_a, customer_b, weight = listed
            conflict = Conflict(key, other, customer_a, customer_b, tuple(weight))
        return cls(
            None if mine is None else weigh(mine[0], mine[1], mine[2], key, other),
            None if theirs is None else weigh(theirs[0], theirs[1], theirs[2], key, other),
            None if label is None else Label.load(label),
            heard,
            conflict,
        )


@dataclass(slots=True)
class KeyIdentity:
    """What the owner of a key knows about its identity.

    `touched` and `news` collect changes until `settle` and the owner's messages have processed them.

    Attributes:
        links: other key → link; all links if `complete`, else those that were loaded.
        erased: erased keys that touchpoints of this key named before, each with the time of the erasure.
        count: number of links, in memory or not.
        label: the key's own label, from its links.
        reported: the label that the key last reported; None: none, or its links do not count.
        touched: other keys whose link has changed.
        dropped: other keys whose link is gone and was listed as a conflict.
        news: other keys that must be informed.
        changed: whether what `dump` gives has changed.
    """

    key: str
    links: dict[str, Link] = field(default_factory=dict)
    label: Label = _UNSETTLED
    reported: Label | None = None
    erased: dict[str, int] = field(default_factory=dict)
    count: int = 0
    complete: bool = True
    shared: bool = False
    touched: set[str] = field(default_factory=set, compare=False)
    dropped: dict[str, Conflict] = field(default_factory=dict, compare=False)
    news: set[str] = field(default_factory=set, compare=False)
    changed: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        if self.label is _UNSETTLED:
            self.label = own_label(self.key)

    @property
    def root(self) -> str:
        """The customer that the key belongs to; the key itself without another."""
        return self.label.root

    def knows(self, other: str, weight: Weight) -> bool:
        """Whether a lighter touchpoint of the key makes the same link already."""
        link = self.links.get(other)
        return link is not None and link.mine is not None and link.mine <= weight

    def exists(self, other: str) -> bool | None:
        """Whether the known customer at the other end of a link has touchpoints; None: not reported yet."""
        link = self.links.get(other)
        return None if link is None or not link.heard else link.label is not None

    def link(self, other: str, weight: Weight) -> None:
        """Record a link that a touchpoint of the key makes. The least weight is kept."""
        link = self.links.get(other)
        if link is None:
            self._add(other, Link(weight, None))
        elif link.mine is None or weight < link.mine:
            link.mine = weight
        else:
            return
        self.touched.add(other)
        self.news.add(other)

    def relink(self, weights: Mapping[str, Weight], erased: Collection[str] = ()) -> None:
        """Replace the links by those that the key's touchpoints make now: other key → least weight. Needs all.

        Args:
            erased: the erased keys that touchpoints from before the erasure name.
        """
        for other in (*self.links, *(key for key in weights if key not in self.links)):
            weight, link = weights.get(other), self.links.get(other)
            if link is None:
                assert weight is not None, "the key is in weights"
                self._add(other, Link(weight, None))
            elif link.mine == weight:
                continue
            else:
                link.mine = weight
            self.touched.add(other)
            self.news.add(other)
            self._drop_unmade(other)
        if len(erased) < len(self.erased):
            self.erased = {other: before for other, before in self.erased.items() if other in erased}
            self.changed = True

    def hear(self, other: str, weight: Weight | None, label: Label | None) -> bool:
        """Record what the other end of a link reports: its weight and label. Returns whether that is new."""
        link = self.links.get(other)
        if link is None:
            if weight is None:
                return False
            self._add(other, Link(None, weight, label, heard=True))
            if self._tells_newcomers:
                self.news.add(other)
        elif link.heard and (link.theirs, link.label) == (weight, label):
            return False
        else:
            link.theirs, link.label, link.heard = weight, label, True
        self.touched.add(other)
        if self._drop_unmade(other):
            self._take_back(other)
        return True

    def unlink(self, other: str, before: int) -> bool:
        """Remove a link whose other end was erased. Returns whether there was one."""
        if other not in self.links:
            return False
        self.erased[other] = max(before, self.erased.get(other, before))
        self._drop(other)
        self._take_back(other)
        self.touched.add(other)
        return True

    def report_to(self, other: str) -> tuple[Weight | None, Label | None]:
        """What this key reports to another: the weight of the link by its own touchpoints, and its label.

        A key without a link to this one is told to forget its label. The other end may have made the link again, in a
        message that is on its way, and if this key is shared by then, it does not answer that message.
        """
        link = self.links.get(other)
        if link is None:
            return None, self.reported if is_known(self.key) else None
        return link.mine, self.reported

    @property
    def _tells_newcomers(self) -> bool:
        """Whether a key that has just linked to this one is to be told what this one says of itself.

        A key that says that its links do not count says what a key that was never told assumes. Known customers answer
        all the same: an alias depends on whether they exist. If what a key says changes, all neighbours are told.
        """
        return self.reported is not None or is_known(self.key)

    def _take_back(self, other: str) -> None:
        """Tell a key that is linked no more to forget what this one has told: the link may come back (see above)."""
        if self.reported is not None and not is_known(self.key):
            self.news.add(other)

    def _add(self, other: str, link: Link) -> None:
        # A link that comes back before the key is settled is still listed as what it was listed as.
        link.listed = self.dropped.pop(other, None)
        self.links[other] = link
        self.count += 1
        self.changed = True

    def _drop_unmade(self, other: str) -> bool:
        link = self.links[other]
        if link.mine is not None or link.theirs is not None:
            return False
        self._drop(other)
        return True

    def _drop(self, other: str) -> None:
        if (listed := self.links.pop(other).listed) is not None:
            self.dropped[other] = listed
        self.count -= 1
        self.changed = True

    def needs_all(self, limit: int, present: bool) -> bool:
        """Whether `settle` needs links that are not in memory."""
        if self.complete:
            return False
        if is_known(self.key):
            return present is (self.reported is None)
        return not (self.shared and is_shared(self.key, self.count, limit))

    def settle(self, limit: int, present: bool) -> bool:
        """Compute the label. When the reported label has changed, all neighbours must be informed.

        Args:
            limit: number of customers that may name a key.
            present: whether a known customer has touchpoints.

        Returns:
            Whether the label or the reported label has changed.
        """
        before = (self.label, self.reported, self.shared)
        self.label = own_label(self.key)
        self.shared = is_shared(self.key, self.count, limit)
        if is_known(self.key):
            self.reported = self.label if present else None
        elif self.shared:
            self.reported = None
        else:
            self.label = self.reported = self._best()
        if before == (self.label, self.reported, self.shared):
            return False
        self.changed = True
        if self.reported != before[1]:
            self.news |= self.links.keys()
        return True

    def _best(self) -> Label:
        best = own_label(self.key)
        for other, link in self.links.items():
            if link.label is None or self.key in link.label.via:
                continue
            candidate = link.label.seen_over(link.weight, other)
            if candidate.better_than(best):
                best = candidate
        return best

    def conflict(self, other: str) -> Conflict | None:
        """The conflict of a link, as far as the key knows; None without a conflict, or without the link."""
        link = self.links.get(other)
        if link is None or link.label is None or link.label.bottleneck is None:
            return None
        if self.reported is None or self.label.bottleneck is None or link.label.root == self.label.root:
            return None
        low, high = sorted((self.label.root, link.label.root))
        return Conflict(self.key, other, low, high, link.weight)

    def conflicts(self) -> Iterator[Conflict]:
        """The refused links of this key, as far as it knows."""
        for other in self.links:
            if (conflict := self.conflict(other)) is not None:
                yield conflict

    def keep(self, most: int) -> None:
        """Drop the links from memory when there are more than `most`, or when not all are in memory."""
        self.touched.clear()
        self.news.clear()
        self.changed = False
        if not self.complete or len(self.links) > most:
            self.links.clear()
            self.complete = not self.count

    def dump(self) -> list[Any]:
        """A small JSON value that `load` reads back. The links are stored in rows of their own."""
        reported = None if self.reported is None else self.reported.dump()
        return [self.label.dump(), reported, self.count, self.shared, *([self.erased] if self.erased else [])]

    @classmethod
    def load(cls, key: str, data: Any) -> "KeyIdentity":
        """What `dump` wrote, without links."""
        label, reported, count, shared, *erased = data
        return cls(
            key,
            {},
            Label.load(label),
            None if reported is None else Label.load(reported),
            erased[0] if erased else {},
            count,
            complete=not count,
            shared=shared,
            changed=False,
        )
