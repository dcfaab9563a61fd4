"""What is wrong with a sequence, and what is worth a look, apart from the shape of its steps."""

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta

from touchline_runtime.yaml.positions import Fault, Path, SourcePositions
from touchline_schemas.touchpoint_types import PASSIVE_TYPES

from touchline_notifier.core.plays.durations import say
from touchline_notifier.core.plays.play import MOST_STEPS, Play
from touchline_notifier.core.sequences.program import FIRST, Node, longest_wait, program

DEEPEST = 5
"""Branches inside of branches."""


def sequence_faults(play: Play, positions: SourcePositions) -> list[Fault]:
    """What keeps a sequence from running."""
    nodes = program(play.steps)
    found = [positions.fault(path, message) for path, message in _faults(play, nodes)]
    if len(nodes) > MOST_STEPS:
        found.append(
            positions.fault(("steps",), f"{len(nodes)} steps, those in branches among them: at most {MOST_STEPS}")
        )
    return found


def sequence_warnings(play: Play, positions: SourcePositions) -> list[Fault]:
    """What is probably not meant."""
    nodes = program(play.steps)
    return [positions.fault(path, message, advice) for path, message, advice in _warnings(play, nodes)]


def _faults(play: Play, nodes: Mapping[str, Node]) -> Iterator[tuple[Path, str]]:
    for node in nodes.values():
        step = node.step
        if step.branch is not None and isinstance(step.branch.on, str) and not node.after_wait:
            yield (
                (*node.path, "branch", "on"),
                f"{step.branch.on}: no wait_until comes before this step on every way to it: write one, or conditions",
            )
        if node.depth > DEEPEST:
            yield node.path, f"more than {DEEPEST} branches inside of each other"


def _warnings(play: Play, nodes: dict[str, Node]) -> Iterator[tuple[Path, str, str]]:
    sending = _sending(nodes)
    for node in nodes.values():
        wait = node.step.wait_until
        if node.step.kind in ("wait", "wait_until") and node.name not in sending:
            yield node.path, "nothing is sent after this wait", "leave it out, or write a send after it"
        if wait is None or not wait.touchpoint:
            continue
        goal = set(wait.touchpoint) & set(play.goal.when) if "goal" in play.model_fields_set else set()
        if goal:
            named = ", ".join(sorted(goal))
            yield (*node.path, "wait_until", "touchpoint"), f"{named}: this is the goal, which ends the sequence", ""
        ends = play.when.fact == "customer-stalled" and play.exit and set(wait.touchpoint) - PASSIVE_TYPES
        if ends:
            yield (
                (*node.path, "wait_until", "touchpoint"),
                "whatever the customer does ends the stall, and the sequence with it",
                "write exit: false to go on",
            )
    capped = min((cap.within for cap in play.limits.play_caps() if cap.count == 1), default=None)
    if capped is not None and not play.transactional:
        yield from _too_soon(play, nodes, capped)


def _too_soon(play: Play, nodes: Mapping[str, Node], capped: timedelta) -> Iterator[tuple[Path, str, str]]:
    """Messages that a cap of the play itself makes too old: the one before was sent too short a time ago."""
    for name, between in _longest_before(nodes).items():
        if nodes[name].step.send is not None and between is not None and between + play.max_age < capped:
            yield (
                (*nodes[name].path, "send"),
                f"limits allow one message of this play in {say(capped)}, and the one before is at most "
                f"{say(between) if between else '0s'} earlier: this one is too old by then",
                "wait longer, or raise per_play or cool_down",
            )


def _longest_before(nodes: Mapping[str, Node]) -> dict[str, timedelta | None]:
    """The longest time between the message before a step and the step; None: it is the first on some way."""
    found: dict[str, timedelta | None] = {FIRST: None}
    # Steps lead to later ones alone, so the way to each is known when it is its turn.
    for node in nodes.values():
        before = found[node.name]
        if node.step.send is not None:
            length: timedelta | None = timedelta(0)
        elif before is None or node.step.branch is not None:
            length = before
        else:
            length = before + longest_wait(node.step)
        for following in node.ways:
            known = found.setdefault(following, length)
            found[following] = None if known is None or length is None else max(known, length)
    return found


def _sending(nodes: dict[str, Node]) -> set[str]:
    """The steps after which something may be sent."""
    found: set[str] = set()
    for node in reversed(nodes.values()):
        if any(nodes[name].step.send is not None or name in found for name in node.ways):
            found.add(node.name)
    return found


def awaited_types(play: Play) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The types of touchpoints that steps wait for, and where the text names them."""
    for node in program(play.steps).values():
        if node.step.wait_until is not None:
            yield (*node.path, "wait_until", "touchpoint"), node.step.wait_until.touchpoint


def unknown_moves(play: Play, stages: Mapping[str, Collection[str]]) -> Iterator[tuple[Path, str]]:
    """Lifecycles and stages of awaited moves that don't exist.

    Args:
        stages: of every lifecycle.
    """
    for node in program(play.steps).values():
        wait = node.step.wait_until
        if wait is None:
            continue
        for lifecycle in wait.lifecycle:
            if lifecycle not in stages:
                names = ", ".join(sorted(stages)) or "none yet"
                yield (*node.path, "wait_until", "lifecycle"), f"there is no lifecycle {lifecycle!r}: known are {names}"
        asked = wait.lifecycle or play.when.lifecycle or tuple(stages)
        there = {stage for lifecycle in asked for stage in stages.get(lifecycle, ())}
        for stage in wait.stage if there else ():
            if stage not in there:
                where = " or ".join(wait.lifecycle or play.when.lifecycle) or "any lifecycle"
                message = f"there is no stage {stage!r} in {where}: known are {', '.join(sorted(there))}"
                yield (*node.path, "wait_until", "stage"), message
