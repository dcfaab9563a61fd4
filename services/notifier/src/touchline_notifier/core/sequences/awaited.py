"""What steps wait for: touchpoints, and moves."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from touchline_schemas.touchpoint import Touchpoint
from touchline_schemas.touchpoint_types import NOTIFIER_SOURCE

from touchline_notifier.core.decisions.stage_events import Fact
from touchline_notifier.core.plays.conditions import holds
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.profiles.profile import Profile
from touchline_notifier.core.sequences.definition import Definition
from touchline_notifier.core.sequences.run import GOAL, Hit, Run
from touchline_notifier.core.sequences.steps import WaitUntil


def hits_of(definition: Definition, touchpoint: Touchpoint) -> Iterator[Hit]:
    """What a touchpoint is for runs of a sequence: what a step waits for, wherever the run is, or the goal.

    A run may come to the step later, and be about something earlier: times decide, and not the order of arrival.
    """
    if touchpoint.machine or touchpoint.source == NOTIFIER_SOURCE:
        return
    view: dict[str, Any] = {
        "properties": touchpoint.properties,
        "channel": touchpoint.channel,
        "source": touchpoint.source,
        "direction": touchpoint.direction,
        "type": touchpoint.type,
    }
    for name, wait in _waits(definition):
        if _is_of(touchpoint.type, wait) and all(holds(view, path, wanted) for path, wanted in wait.where.items()):
            yield Hit(name, touchpoint.occurred_at)
    if _has_goal(definition.play) and touchpoint.type in definition.play.goal.when:
        yield Hit(GOAL, touchpoint.occurred_at)


def hits_known(definition: Definition, profile: Profile, since: datetime) -> list[Hit]:
    """The same from a profile, when a run begins: touchpoints that were read before the fact it begins on.

    Of the newest touchpoint of each type the properties are known; of earlier ones the times alone.
    """
    found = []
    for name, wait in _waits(definition):
        if not wait.where:
            found += [Hit(name, at) for at in profile.times(wait.touchpoint, since=since)]
            continue
        for kind, at, properties in profile.newest():
            view = {"properties": properties, "type": kind}
            if at > since and _is_of(kind, wait) and all(holds(view, *one) for one in wait.where.items()):
                found.append(Hit(name, at))
    if _has_goal(definition.play):
        found += [Hit(GOAL, at) for at in profile.times(definition.play.goal.when, since=since)]
    return found


def awaited_move(run: Run, fact: Fact) -> bool:
    """Whether a fact is the move that a run waits for at its present step."""
    wait = run.node.step.wait_until
    if wait is None or wait.touchpoint or fact.type != "stage-changed":
        return False
    lifecycles = wait.lifecycle or (run.fact.lifecycle,)
    return (
        fact.lifecycle in lifecycles
        and (not wait.move or fact.move in wait.move)
        and (not wait.stage or fact.stage in wait.stage)
        and (run.definition.play.corrections or not fact.correction)
        and run.entered_at <= fact.at <= run.entered_at + wait.within
    )


def _waits(definition: Definition) -> Iterator[tuple[str, WaitUntil]]:
    for name, node in definition.nodes.items():
        if node.step.wait_until is not None and node.step.wait_until.touchpoint:
            yield name, node.step.wait_until


def _is_of(kind: str, wait: WaitUntil) -> bool:
    return kind in wait.touchpoint or "*" in wait.touchpoint


def _has_goal(play: Play) -> bool:
    """Only a goal that the play's text names ends a run: by default a purchase is counted, and ends nothing."""
    return "goal" in play.model_fields_set
