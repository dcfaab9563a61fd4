"""The hold-out (control group): a share of customers gets nothing, always the same ones, and both groups are compared.

A customer is assigned to a group when a play first would act on them, by a hash and the share of that day. The
assignment is recorded and kept: it follows the customer through a merge, and a share that is raised or lowered later
changes it for nobody. Shares are nested, so a raised share holds out the same customers and more among the new ones.
"""

import hashlib
import math
from dataclasses import dataclass


def position(play: str, customer_id: str) -> float:
    """A customer's number for a play, uniform in [0, 1): a hash, so it is the same in every process and at any time."""
    digest = hashlib.sha256(f"{play}\x1f{customer_id}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def is_held_out(play: str, customer_id: str, share: float) -> bool:
    """Whether the customer is in the share that gets nothing. A larger share holds out the same customers and more."""
    return position(play, customer_id) < share


@dataclass(frozen=True, slots=True)
class Group:
    """A group: its size, and how many of it did something."""

    size: int
    did: int

    @property
    def rate(self) -> float | None:
        """The share that did; None when the group is empty."""
        return self.did / self.size if self.size else None


@dataclass(frozen=True, slots=True)
class Difference:
    """Treated minus held out, in shares of 1, with its 95 % confidence interval.

    Attributes:
        verdict: ``works``, ``harms``, ``no difference shown``, or ``too few to say``.
    """

    difference: float | None
    low: float | None
    high: float | None
    verdict: str


def compare(treated: Group, held_out: Group) -> Difference:
    """The difference of two shares by Newcombe's hybrid score interval (Statistics in Medicine 17, 1998, method 10).

    It stays within [-1, 1] and holds its level for small groups and shares near 0 or 1, where the usual one doesn't.
    """
    p, q = treated.rate, held_out.rate
    if p is None or q is None:
        return Difference(None, None, None, "too few to say")
    p_low, p_high = wilson(treated)
    q_low, q_high = wilson(held_out)
    low = p - q - math.hypot(p - p_low, q_high - q)
    high = p - q + math.hypot(p_high - p, q - q_low)
    if min(treated.size, held_out.size) < 10:
        verdict = "too few to say"
    elif low > 0:
        verdict = "works"
    elif high < 0:
        verdict = "harms"
    else:
        verdict = "no difference shown"
    return Difference(p - q, low, high, verdict)


def wilson(group: Group, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval of a share (95 % by default); (0, 1) for an empty group."""
    if not group.size:
        return 0.0, 1.0
    n, p = group.size, group.did / group.size
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
