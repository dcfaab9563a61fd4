"""Resolve the identities of a whole set of links at once.

Used by tests, and by simulations, which have every link at hand. `links` reaches the same result in the engine, where
each key's owner knows only that key's links.
"""

from collections import Counter
from collections.abc import Iterable

from touchline_schemas.identity import is_known, rank

from touchline_stage_engine.core.identity.labels import Weight
from touchline_stage_engine.core.identity.links import is_shared


def shared_keys(links: Iterable[Weight], limit: int) -> set[str]:
    """The keys that more than `limit` customers name."""
    counts = Counter(key for pair in {(link[3], link[4]) for link in links} for key in pair)
    return {key for key, count in counts.items() if is_shared(key, count, limit)}


def canonical_roots(links: Iterable[Weight], limit: int) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Kruskal's algorithm: key → root, and the pairs of known customers whose link was refused.

    Links of keys that more than `limit` customers name do not count.
    """
    every = set(links)
    shared = shared_keys(every, limit)
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    refused: list[tuple[str, str]] = []
    for *_, one, other in sorted(every):
        if one in shared or other in shared:
            continue
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
