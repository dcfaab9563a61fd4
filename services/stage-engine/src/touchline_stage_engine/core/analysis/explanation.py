"""Explain a customer's stage: the rule behind the last move, the progress of each open rule, and the next timers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from touchline_schemas.definitions.durations import SECOND, describe_duration, parse_duration
from touchline_schemas.touchpoint_types import NOTIFIER_SOURCE, STAGE_SET

from touchline_stage_engine.core.definitions.compile import CompiledStage, default_reason, resolve_target
from touchline_stage_engine.core.definitions.model import ANY_TYPE, Condition, Definition, Rule
from touchline_stage_engine.core.folding.counting import matcher
from touchline_stage_engine.core.folding.facts import ENTER
from touchline_stage_engine.core.touchpoint import Touchpoint

_LONG_UNITS = {"w": "week", "d": "day", "h": "hour", "m": "minute", "s": "second"}
_OPERATORS = {
    "eq": "=", "ne": "≠", "lt": "<", "lte": "≤", "gt": ">", "gte": "≥", "in": "one of",
}  # fmt: skip
MAX_EVIDENCE = 10


@dataclass(frozen=True)
class Progress:
    """One condition of an open rule.

    Attributes:
        text: the condition in words.
        have, need: how many touchpoints count now, and how many are needed.
        last_at: when the latest counted touchpoint occurred.
        counts_until: when the earliest counted touchpoint leaves the window; None without a window.
    """

    text: str
    have: int
    need: int
    last_at: int | None
    counts_until: int | None

    @property
    def holds(self) -> bool:
        """Whether the condition is met."""
        return self.have >= self.need


@dataclass(frozen=True)
class OpenRule:
    """A rule that may still move the customer, in the order it is tried."""

    to_stage: str
    reason: str
    of_lifecycle: bool
    conditions: tuple[Progress, ...]


@dataclass(frozen=True)
class Evidence:
    """The rule behind a move, and the touchpoints that met it; ``rule`` None: no rule of the definition matches."""

    rule: str | None = None
    touchpoints: tuple[Touchpoint, ...] = field(default=())


def duration_in_words(length: int) -> str:
    """14 days, 36 hours, 1 week."""
    text = describe_duration(length, units="dhms")
    count, unit = text[:-1], _LONG_UNITS[text[-1]]
    return f"{count} {unit}{'' if count == '1' else 's'}"


def condition_in_words(condition: Condition) -> str:
    """ "3 of page viewed or ad clicked on web within 30 days, where score ≤ 3"."""
    names = "any touchpoint"
    if ANY_TYPE not in condition.when:
        names = " or ".join(name.replace("_", " ") for name in condition.when)
    text = f"{condition.count} × {names}" if condition.count > 1 else names
    if condition.channel:
        text += f" on {' or '.join(condition.channel)}"
    if condition.direction != "inbound":
        text += " (from us)" if condition.direction == "outbound" else " (from either side)"
    if condition.within is not None:
        text += f" within {duration_in_words(parse_duration(condition.within))}"
    tests = []
    for path, operators in condition.where.items():
        name = path.removeprefix("properties.").replace("_", " ")
        for operator, value in operators.given().items():
            if operator == "exists":
                tests.append(f"{name} is {'given' if value else 'not given'}")
            else:
                shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
                tests.append(f"{name} {_OPERATORS[operator]} {shown}")
    return f"{text}, where {' and '.join(tests)}" if tests else text


def counts_after(move: str, moved_at: int, touchpoint_id: str | None, point: Touchpoint) -> bool:
    """Whether a touchpoint counts in the stage that a move led to. The cause of a move counts only for the entry."""
    if point.occurred_at != moved_at:
        return point.occurred_at > moved_at
    if touchpoint_id is None:  # a timer fires before touchpoints of the same instant
        return True
    return point.id >= touchpoint_id if move == ENTER else point.id > touchpoint_id


def open_rules(definition: Definition, stage: str, touchpoints: Sequence[Touchpoint], now: int) -> list[OpenRule]:
    """The progress at ``now`` of each rule that has a target in the stage.

    ``touchpoints`` are those since the stage was entered, in order, without the one that moved the customer in.
    """
    found = []
    for rule, of_lifecycle in _rules(definition, stage):
        target = resolve_target(definition, stage, rule.to)
        if target is None:
            continue
        conditions = tuple(_progress(condition, touchpoints, now) for condition in rule.conditions)
        found.append(OpenRule(target, rule.reason or default_reason(rule.conditions), of_lifecycle, conditions))
    return found


def evidence(
    definition: Definition, from_stage: str, to_stage: str, reason: str | None, touchpoints: Sequence[Touchpoint]
) -> Evidence:
    """The rule that moved a customer: it has the target and the reason, and the last touchpoint meets it.

    ``touchpoints`` are those since ``from_stage`` was entered, in order, up to the one that caused the move.
    """
    if not touchpoints:
        return Evidence()
    cause = touchpoints[-1]
    for rule, _ in _rules(definition, from_stage):
        if resolve_target(definition, from_stage, rule.to) != to_stage:
            continue
        if (rule.reason or default_reason(rule.conditions)) != reason:
            continue
        if not any(_matches(condition, cause) for condition in rule.conditions):
            continue
        counted: dict[tuple[int, str, str], Touchpoint] = {}
        for condition in rule.conditions:
            matching = [point for point in touchpoints if _matches(condition, point)]
            for point in matching[-min(condition.count, MAX_EVIDENCE) :]:
                counted[point.order] = point
        words = " and ".join(condition_in_words(condition) for condition in rule.conditions)
        return Evidence(words, tuple(counted[key] for key in sorted(counted)))
    return Evidence(None, (cause,))


def timers(stage: CompiledStage, base: int, level: int) -> list[dict[str, Any]]:
    """The next timers without an activity, in order: further stalls, and the lapse."""
    found: list[dict[str, Any]] = [
        {"kind": "stall", "level": number, "due_at": base + after, "to_stage": None, "after": after}
        for number, after in enumerate(stage.stalls, 1)
        if number > level and after <= stage.lapse_after
    ]
    if stage.lapse_to is not None:
        found.append(
            {
                "kind": "lapse",
                "level": None,
                "due_at": base + stage.lapse_after,
                "to_stage": stage.lapse_to.name,
                "after": stage.lapse_after,
            }
        )
    return found


def _rules(definition: Definition, stage: str) -> list[tuple[Rule, bool]]:
    own = next((one.rules for one in definition.every_stage if one.name == stage), [])
    return [*((rule, True) for rule in definition.rules), *((rule, False) for rule in own)]


def _matches(condition: Condition, touchpoint: Touchpoint) -> bool:
    if touchpoint.machine or touchpoint.type == STAGE_SET or touchpoint.source == NOTIFIER_SOURCE:
        return False
    if ANY_TYPE not in condition.when and touchpoint.type not in condition.when:
        return False
    test = matcher(condition)
    return test is None or test(touchpoint)


def _progress(condition: Condition, touchpoints: Sequence[Touchpoint], now: int) -> Progress:
    matching = [point.occurred_at for point in touchpoints if _matches(condition, point)]
    within = None if condition.within is None else parse_duration(condition.within)
    if within is not None:
        matching = [at for at in matching if at > now - within]
    counting = matching[-condition.count :]
    return Progress(
        text=condition_in_words(condition),
        have=len(counting),
        need=condition.count,
        last_at=counting[-1] if counting else None,
        counts_until=counting[0] + within if counting and within is not None else None,
    )


def rules_in_words(definition: Definition) -> list[dict[str, Any]]:
    """Every stage with its rules in the order they are tried, its stall levels and its lapse; lengths in seconds."""
    titles = {stage.name: stage.label for stage in definition.every_stage}
    on_path = {stage.name for stage in definition.stages}
    found = []
    for stage in definition.every_stage:
        rules = []
        for rule, of_lifecycle in _rules(definition, stage.name):
            target = resolve_target(definition, stage.name, rule.to)
            if target is not None:
                rules.append(
                    {
                        "to_stage": target,
                        "to_title": titles[target],
                        "reason": rule.reason or default_reason(rule.conditions),
                        "conditions": [condition_in_words(condition) for condition in rule.conditions],
                        "of_lifecycle": of_lifecycle,
                    }
                )
        lapse = None
        if stage.lapse is not None and (target := resolve_target(definition, stage.name, stage.lapse.to)) is not None:
            after = parse_duration(stage.lapse.after) / SECOND
            lapse = {"after_seconds": after, "to_stage": target, "to_title": titles[target]}
        levels = stage.stall.levels if stage.stall is not None else []
        found.append(
            {
                "stage": stage.name,
                "title": stage.label,
                "about": stage.about,
                "off_path": stage.name not in on_path,
                "rules": rules,
                "stall_after_seconds": [parse_duration(level) / SECOND for level in levels],
                "lapse": lapse,
            }
        )
    return found
