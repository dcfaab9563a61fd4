"""A sequence's steps as a tree, for the diagram: what a branch leads to lies inside of it."""

from collections.abc import Mapping, Sequence
from typing import Any

_ARMS = (("then", "Yes"), ("else", "No"))


def tree(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The steps of the first level, each with ``arms`` (name, steps) if it is a branch.

    Args:
        steps: as the notifier lists them, by name: ``3.then.1`` is the first step under `then` of the third.
    """
    return _under("", steps)


def _under(prefix: str, steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    own = [step for step in steps if step["step"].startswith(prefix) and "." not in step["step"][len(prefix) :]]
    return [
        {
            **step,
            "arms": [(label, _under(f"{step['step']}.{key}.", steps)) for key, label in _ARMS]
            if step["kind"] == "branch"
            else [],
        }
        for step in own
    ]
