"""Say in a few words what each step of a sequence does: for the API, and diagrams made from it."""

from typing import Any

from touchline_notifier.core.plays.durations import say
from touchline_notifier.core.plays.parts import BusinessDelay
from touchline_notifier.core.sequences.definition import Definition
from touchline_notifier.core.sequences.program import Node
from touchline_notifier.core.sequences.steps import Branch, WaitUntil


def described(definition: Definition) -> list[dict[str, Any]]:
    """Every step in the order of the text: ``step``, ``kind``, ``title``, ``text``, ``depth``, and where it leads."""
    return [
        {
            "step": node.name,
            "kind": node.step.kind,
            "title": node.step.title,
            "text": _text(node),
            "depth": node.depth,
            "next": None if node.step.branch is not None else node.next,
            "then": node.then,
            "else": node.otherwise,
        }
        for node in definition.nodes.values()
    ]


def _text(node: Node) -> str:
    step = node.step
    if step.send is not None:
        where = step.send.channel if step.send.endpoint is None else f"{step.send.channel} to {step.send.endpoint}"
        return f"Send by {where}: {step.send.subject}" if step.send.subject else f"Send by {where}"
    if isinstance(step.wait, BusinessDelay):
        days = step.wait.business_days
        return f"Wait {days} business day{'' if days == 1 else 's'}"
    if step.wait is not None:
        return f"Wait {say(step.wait)}"
    if step.wait_until is not None:
        return _awaited(step.wait_until)
    assert step.branch is not None, "a step is one of four kinds"
    return _question(step.branch)


def _awaited(wait: WaitUntil) -> str:
    if wait.touchpoint:
        what = " or ".join(wait.touchpoint)
        more = f" where {', '.join(wait.where)}" if wait.where else ""
    else:
        what = " or ".join(wait.move) or "a move"
        more = f" to {' or '.join(wait.stage)}" if wait.stage else ""
    return f"Wait for {what}{more}, at most {say(wait.within)}"


def _question(branch: Branch) -> str:
    if isinstance(branch.on, str):
        return "Did it happen?" if branch.on == "happened" else "Did it not happen in time?"
    asked = [*branch.on.profile, *(f"{' or '.join(one.type)} before" for one in branch.on.history)]
    return f"Is it so: {', '.join(asked)}?"
