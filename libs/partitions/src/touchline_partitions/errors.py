"""Interruptions of a partition's work.

::

    Interrupted
    └── FencedError    another process has taken the partition: acquire it again, if it is still assigned

A service adds its own below ``Interrupted``.
"""


class Interrupted(Exception):  # noqa: N818  (the root of the tree: not every interruption is an error)
    """A partition's work stopped early; nothing is lost, and the state in memory must be discarded."""


class FencedError(Interrupted):
    """Another process has the partition. Nothing of the transaction was written."""
