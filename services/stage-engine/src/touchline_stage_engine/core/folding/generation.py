"""The generation of a lifecycle: a number that identifies the versions under which a customer was folded."""

from collections.abc import Mapping
from typing import NamedTuple

from touchline_stage_engine.core.touchpoint import Order

NEVER_FOLDED = 0
"""The generation of a lifecycle that did not run while touchpoints of the customer were folded."""


class Generation(NamedTuple):
    """The generation of the versions in force of one lifecycle.

    Attributes:
        current: generation of all versions.
        pinned_since: generation of fewer versions → event time from which the missing versions, all pinned, apply.
    """

    current: int
    pinned_since: Mapping[int, int] = {}

    def holds(self, folded_under: int, last: Order | None, fired_through: int) -> bool:
        """Whether a customer folded under another generation has the same state under this one.

        A pinned version affects only touchpoints and timers from its effective time on.
        """
        if folded_under == self.current:
            return True
        since = self.pinned_since.get(folded_under)
        return since is not None and (last is None or last[0] < since) and fired_through < since
