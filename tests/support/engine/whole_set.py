"""Where everybody stands by the whole set of touchpoints and erasures at once, without the shell of the engine."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from touchline_schemas.times import parse_micros
from touchline_stage_engine.core.decoding import content_digest
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.identity.canonical import canonical_roots, shared_keys
from touchline_stage_engine.core.identity.labels import Weight
from touchline_stage_engine.core.touchpoint import Touchpoint

from tests.support.engine.expected import links_of, read_posted
from tests.support.engine.world import key_of

Content = tuple[int, bytes]
_IDENTIFIERS = ("customer_id", "anonymous_id", "email", "external_id")


@dataclass(frozen=True)
class Standing:
    """What the whole set says of one customer."""

    touchpoints: int
    stage: str | None
    entered_at: int | None
    stalled_level: int | None
    facts: int


@dataclass
class WholeSet:
    """All that was ever posted, in no order, and the keys that were erased, each with the time."""

    limit: int
    posted: list[dict[str, Any]] = field(default_factory=list)
    erased: dict[str, int] = field(default_factory=dict)

    def contents(self) -> list[dict[str, Any]]:
        """Of each key and (source, id) the smallest content; what is older than the key's erasure left out."""
        kept: dict[tuple[str, str, str], dict[str, Any]] = {}
        for one in self.posted:
            key = key_of(one)
            if self._is_older(one, key):
                continue
            place = (key, one["source"], one["id"])
            if place not in kept or content(one) < content(kept[place]):
                kept[place] = one
        return list(kept.values())

    def _is_older(self, one: dict[str, Any], key: str) -> bool:
        at = min(parse_micros(one["occurred_at"]), parse_micros(one["received_at"]))
        return key in self.erased and at < self.erased[key]

    def links(self) -> list[Weight]:
        """The links that the contents make; one from before the erasure of either end counts no more."""
        contents = self.contents()
        filed = {key_of(one) for one in contents}
        links = []
        for one in contents:
            # An alias from before the erasure of the previous customer names an anonymous id.
            there = {key for key in filed if not self._is_older(one, key)}
            made = links_of([one], there)
            links += [weight for weight in made if not any(self._is_older(one, key) for key in weight[3:])]
        return links

    def roots(self) -> tuple[dict[str, str], set[tuple[str, str]]]:
        """Key → customer, and the pairs of customers whose link is refused."""
        return canonical_roots(self.links(), self.limit)

    def shared_keys(self) -> set[str]:
        """Keys that more than `limit` customers name."""
        return shared_keys(self.links(), self.limit)

    def person_of(self, key: str) -> set[str]:
        """All keys of the customer that a key belongs to."""
        roots, _ = self.roots()
        return {key} | {other for other, root in roots.items() if root == roots.get(key, key)}

    def customers(self, fold: Fold, now: int) -> dict[str, Standing]:
        """Customer → where they stand when the clock has fired everything due up to now."""
        roots, _ = self.roots()
        sets: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        for one in self.contents():
            key = key_of(one)
            root = roots.get(key, key)
            if self._is_older(one, root):
                continue  # a customer who was erased and came back gets nothing older from an alias
            found = sets.setdefault(root, {})
            place = (one["source"], one["id"])
            if place not in found or content(one) < content(found[place]):
                found[place] = one
        return {root: _standing(fold, map(read_posted, found.values()), now) for root, found in sets.items()}


def _standing(fold: Fold, touchpoints: Iterable[Touchpoint], now: int) -> Standing:
    ordered = sorted(touchpoints, key=lambda one: one.order)
    state, facts = fold.refold(ordered, now)
    if state is None:
        return Standing(len(ordered), None, None, None, len(facts))
    return Standing(len(ordered), state.stage.name, state.entered_at, state.level, len(facts))


def content(one: dict[str, Any]) -> Content:
    """What decides between two contents of one (source, id): the smaller is kept."""
    identifiers = {name: one[name] for name in _IDENTIFIERS if one.get(name) is not None}
    digest = content_digest(read_posted(one), key_of(one), identifiers if len(identifiers) > 1 else None)
    return parse_micros(one["occurred_at"]), digest
