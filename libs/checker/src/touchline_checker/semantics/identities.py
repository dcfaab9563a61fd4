"""Which customer each key belongs to, worked out over all links at once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from touchline_checker.semantics.touchpoints import Touchpoint, is_known, rank


@dataclass(frozen=True)
class Identities:
    """The result.

    Attributes:
        roots: key → the customer it belongs to, of every key that a touchpoint is filed under.
        touchpoints: customer → their touchpoints, each (source, id) once, in no order.
        contested: customers for whom two contents claimed one (source, id).
    """

    roots: Mapping[str, str]
    touchpoints: Mapping[str, list[Touchpoint]]
    contested: frozenset[str]

    @cached_property
    def keys(self) -> Mapping[str, list[str]]:
        """Customer → the keys that belong to them."""
        found: dict[str, list[str]] = defaultdict(list)
        for key, root in self.roots.items():
            found[root].append(key)
        return found


def identify(touchpoints: Iterable[Touchpoint], shared_key_limit: int) -> Identities:
    """Apply the links of a set of touchpoints in order of (occurred_at, id, source), and group them by customer."""
    by_key: dict[tuple[str, str, str], Touchpoint] = {}
    contested_keys = set()
    for touchpoint in touchpoints:
        name = (touchpoint.key, *touchpoint.name)
        stored = by_key.setdefault(name, touchpoint)
        if stored.preference != touchpoint.preference:
            contested_keys.add(touchpoint.key)
            if touchpoint.preference < stored.preference:
                by_key[name] = touchpoint
    roots = _roots(list(by_key.values()), shared_key_limit)
    grouped: dict[str, dict[tuple[str, str], Touchpoint]] = defaultdict(dict)
    contested = {roots[key] for key in contested_keys}
    for touchpoint in by_key.values():
        root = roots[touchpoint.key]
        stored = grouped[root].setdefault(touchpoint.name, touchpoint)
        if stored.preference != touchpoint.preference:
            contested.add(root)
            if touchpoint.preference < stored.preference:
                grouped[root][touchpoint.name] = touchpoint
    return Identities(roots, {root: list(found.values()) for root, found in grouped.items()}, frozenset(contested))


def _links(touchpoints: list[Touchpoint]) -> set[tuple[tuple[int, str, str], str, str]]:
    filed = {touchpoint.key for touchpoint in touchpoints}
    links = set()
    for touchpoint in touchpoints:
        if touchpoint.machine:
            continue
        for named in touchpoint.other_keys:
            other = _previous(touchpoint, named, filed)
            if other != touchpoint.key:
                low, high = sorted((touchpoint.key, other))
                links.add((touchpoint.order, low, high))
    return links


def _previous(touchpoint: Touchpoint, other: str, filed: set[str]) -> str:
    """An alias's previous id is an anonymous id, unless a known customer has that id."""
    previous = touchpoint.properties.get("previous_id") if touchpoint.type == "aliased" else None
    if not isinstance(previous, str | int) or isinstance(previous, bool):
        return other
    previous = str(previous).strip()
    if other == f"anon:{previous}" and is_known(touchpoint.key) and is_known(previous):
        return previous if previous in filed or previous == touchpoint.key else other
    return other


def _roots(touchpoints: list[Touchpoint], limit: int) -> dict[str, str]:
    links = _links(touchpoints)
    named: dict[str, set[str]] = defaultdict(set)
    for _, one, other in links:
        named[one].add(other)
        named[other].add(one)
    shared = {key for key, others in named.items() if len(others) > limit and not is_known(key)}
    members: dict[str, list[str]] = {}
    component: dict[str, str] = {}

    def join(key: str) -> str:
        if key not in component:
            component[key] = key
            members[key] = [key]
        return component[key]

    for _, one, other in sorted(links):
        if one in shared or other in shared:
            continue
        a, b = join(one), join(other)
        if a == b or (is_known(a) and is_known(b)):
            continue
        low, high = sorted((a, b), key=rank)
        for key in members.pop(high):
            component[key] = low
            members[low].append(key)
    for touchpoint in touchpoints:
        join(touchpoint.key)
    return component
