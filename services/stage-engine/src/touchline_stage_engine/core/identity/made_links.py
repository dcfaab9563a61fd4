"""The links that a key's own touchpoints make, worked out anew from the touchpoints that are stored now."""

from collections.abc import Iterable

from touchline_schemas.identity import ANONYMOUS

from touchline_stage_engine.core.identity.labels import Weight, weigh
from touchline_stage_engine.core.identity.links import KeyIdentity


class MadeLinks:
    """Collects the links, touchpoint by touchpoint.

    An alias names an anonymous id if the known customer certainly has no touchpoints, or was erased after it.

    Attributes:
        weights: other key → the least weight of the touchpoints that link it.
        erased: the erased keys that touchpoints from before the erasure named.
    """

    def __init__(self, standing: KeyIdentity) -> None:
        self._standing = standing
        self.weights: dict[str, Weight] = {}
        self.erased: set[str] = set()

    def add(
        self,
        others: Iterable[str],
        previous: str | None,
        occurred_at: int,
        id: str,  # noqa: A002
        source: str,
        received_at: int,
    ) -> None:
        """Add what one touchpoint names: other keys, and (for an alias) a previous customer id."""
        if previous is not None:
            linked = self._link(previous, occurred_at, id, source, received_at)
            if not linked or self._standing.exists(previous) is False:
                self._link(ANONYMOUS + previous, occurred_at, id, source, received_at)
        for other in others:
            self._link(other, occurred_at, id, source, received_at)

    def _link(self, other: str, occurred_at: int, id_: str, source: str, received_at: int) -> bool:
        erased_at = self._standing.erased.get(other)
        if erased_at is not None and min(occurred_at, received_at) < erased_at:
            self.erased.add(other)
            return False
        weight = weigh(occurred_at, id_, source, self._standing.key, other)
        self.weights[other] = min(weight, self.weights.get(other, weight))
        return True
