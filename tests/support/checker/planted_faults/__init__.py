"""Faults to plant into the evidence of a run, one function each; the checker has to find every one of them.

A fault changes the evidence as a faulty system would have left it behind, everywhere it would show. It returns the
kinds of which at least one has to be found, or None where this evidence offers no place for it.
"""

# Each of these modules registers its faults when it is imported.
from tests.support.checker.planted_faults import actions, facts, messages, stages, timers, touchpoints  # noqa: F401
from tests.support.checker.planted_faults.planting import FAULTS

__all__ = ["FAULTS"]
