"""A sequence's steps with a name each, and where each leads: what runs walk through, and diagrams show.

A step's name is its place: ``2`` is the second step, ``3.then.1`` the first under `then` of the third. Steps never lead
back, so a run comes to each of them once at most.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from touchline_runtime.yaml.positions import Path

from touchline_notifier.core.plays.parts import ActionSpec, BusinessDelay
from touchline_notifier.core.sequences.steps import Step

FIRST = "1"
"""The step that a run begins at."""


@dataclass(frozen=True, slots=True)
class Node:
    """One step and where it leads.

    Attributes:
        path: where the play's text has it.
        next: the step after it; of a branch: the one behind the branch. None: the end.
        then, otherwise: where a branch leads.
        after_wait: a `wait_until` comes before it on every way to it.
        depth: how many branches it is inside of.
    """

    name: str
    path: Path
    step: Step
    next: str | None
    then: str | None = None
    otherwise: str | None = None
    after_wait: bool = False
    depth: int = 0

    @property
    def ways(self) -> list[str]:
        """The steps that may come next, each once."""
        ways = (self.then, self.otherwise) if self.step.branch is not None else (self.next,)
        return list(dict.fromkeys(name for name in ways if name is not None))

    def after(self, holds: bool) -> str | None:
        """Where a branch leads."""
        return self.then if holds else self.otherwise


def program(steps: Sequence[Step]) -> dict[str, Node]:
    """Every step by name, in the order of the text."""
    found: dict[str, Node] = {}
    _add(found, steps, "", ("steps",), None, waited=False, depth=0)
    return found


def _add(
    found: dict[str, Node],
    steps: Sequence[Step],
    prefix: str,
    path: Path,
    following: str | None,
    *,
    waited: bool,
    depth: int,
) -> bool:
    """Add steps; whether a `wait_until` was passed on every way through them."""
    for index, step in enumerate(steps):
        name, place = f"{prefix}{index + 1}", (*path, index)
        after = f"{prefix}{index + 2}" if index + 1 < len(steps) else following
        if step.branch is None:
            found[name] = Node(name, place, step, after, after_wait=waited, depth=depth)
            waited = waited or step.wait_until is not None
            continue
        branch = step.branch
        found[name] = Node(
            name, place, step, after,
            f"{name}.then.1" if branch.then else after,
            f"{name}.else.1" if branch.otherwise else after,
            waited, depth,
        )  # fmt: skip
        arms = [
            _add(found, arm, f"{name}.{key}.", (*place, "branch", key), after, waited=waited, depth=depth + 1)
            for key, arm in (("then", branch.then), ("else", branch.otherwise))
        ]
        waited = waited or all(arms)
    return waited


def sends(steps: Sequence[Step]) -> Iterator[tuple[str, Path, ActionSpec]]:
    """(step, path of the message in the text, message), in the order of the text."""
    for node in program(steps).values():
        if node.step.send is not None:
            yield node.name, (*node.path, "send"), node.step.send


def with_messages(steps: Sequence[Step], change: Callable[[ActionSpec], ActionSpec]) -> tuple[Step, ...]:
    """The same steps with every message changed."""

    def changed(step: Step) -> Step:
        if step.send is not None:
            return step.with_send(change(step.send))
        if step.branch is not None:
            arms = {
                "then": with_messages(step.branch.then, change),
                "otherwise": with_messages(step.branch.otherwise, change),
            }
            arms_left = {name: arm for name, arm in arms.items() if arm}
            return step.model_copy(update={"branch": step.branch.model_copy(update=arms_left)})
        return step

    return tuple(changed(step) for step in steps)


def longest_wait(step: Step) -> timedelta:
    """How long a step can take at most, apart from a message that limits hold back."""
    if isinstance(step.wait, BusinessDelay):
        return timedelta(days=step.wait.business_days * 2 + 7)
    if step.wait is not None:
        return step.wait
    if step.branch is not None:
        return max(longest_way(step.branch.then), longest_way(step.branch.otherwise))
    return step.wait_until.within if step.wait_until is not None else timedelta(0)


def longest_way(steps: Sequence[Step]) -> timedelta:
    """How long steps can take at most, apart from messages that limits hold back."""
    return sum((longest_wait(step) for step in steps), timedelta(0))
