"""Labels: which customer a key belongs to, and over which links. `links` describes how they are computed."""

from typing import Any, NamedTuple, TypeAlias

from touchline_schemas.identity import is_known, rank

Weight: TypeAlias = tuple[int, str, str, str, str]
"""(occurred_at, id, source) of the linking touchpoint, then the two keys in order. Weights are unique."""

LIGHTEST: Weight = (-(1 << 62), "", "", "", "")


def weigh(occurred_at: int, id: str, source: str, one: str, other: str) -> Weight:  # noqa: A002
    """The weight of the link between two keys that a touchpoint names."""
    low, high = sorted((one, other))
    return (occurred_at, id, source, low, high)


class Label(NamedTuple):
    """The customer that a key belongs to.

    Attributes:
        bottleneck: heaviest link on the path; None: no known customer is reachable, and ``root`` is the least key.
        steps: links since the bottleneck, or since the root without one.
        via: the keys on the path, the root last.
    """

    bottleneck: Weight | None
    steps: int
    root: str
    via: tuple[str, ...] = ()

    def better_than(self, other: "Label") -> bool:
        """Whether this label is preferred to the other."""
        if self.bottleneck is None or other.bottleneck is None:
            if self.bottleneck is not other.bottleneck:
                return self.bottleneck is not None
            return (rank(self.root), self.steps) < (rank(other.root), other.steps)
        return (self.bottleneck, self.steps, rank(self.root)) < (other.bottleneck, other.steps, rank(other.root))

    def seen_over(self, weight: Weight, key: str) -> "Label":
        """The label that a neighbour of `key` gets over a link of that weight."""
        via = (key, *self.via)
        if self.bottleneck is None or weight <= self.bottleneck:
            return Label(self.bottleneck, self.steps + 1, self.root, via)
        return Label(weight, 0, self.root, via)

    def dump(self) -> list[Any]:
        """A small JSON value that `load` reads back."""
        return [self.bottleneck, self.steps, self.root, self.via]

    @classmethod
    def load(cls, data: Any) -> "Label":
        """The value that `dump` wrote."""
        bottleneck, steps, root, via = data
        return cls(None if bottleneck is None else tuple(bottleneck), steps, root, tuple(via))


def own_label(key: str) -> Label:
    """The label of a key without links."""
    return Label(LIGHTEST, 0, key) if is_known(key) else Label(None, 0, key)
