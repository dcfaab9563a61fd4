"""Compare two versions of a lifecycle: their texts line by line, and what they mean."""

from collections.abc import Iterator, Sequence

from touchline_runtime.publishing.differences import Difference

from touchline_stage_engine.core.definitions.diagram import describe_conditions
from touchline_stage_engine.core.definitions.model import Definition, Rule, Stage


def differences(before: Definition, after: Definition) -> list[Difference]:
    """What `after` changes in the meaning of `before`. Version numbers and comments are no difference."""
    return list(_differences(before, after))


def _differences(before: Definition, after: Definition) -> Iterator[Difference]:
    for name, old, new in (
        ("title", before.label, after.label),
        ("about", before.about, after.about),
        ("cyclic", before.cyclic, after.cyclic),
        ("passive types", ", ".join(before.passive), ", ".join(after.passive)),
    ):
        if old != new:
            yield Difference("lifecycle", f"{name}: {_shown(old)} → {_shown(new)}")
    yield from _of_rules("rules", "from any stage ", before.rules, after.rules)
    old_stages = {stage.name: stage for stage in before.every_stage}
    new_stages = {stage.name: stage for stage in after.every_stage}
    for name in old_stages:
        if name not in new_stages:
            yield Difference(f"stages.{name}", "removed")
    for name, stage in new_stages.items():
        if name not in old_stages:
            aside = "added beside the path" if stage in after.off_path else "added"
            yield Difference(f"stages.{name}", aside)
            yield from _of_stage(Stage(name=name, title=stage.title, about=stage.about), stage)
            continue
        if (old_stages[name] in before.off_path) != (stage in after.off_path):
            aside = "beside the path" if stage in after.off_path else "on the path"
            yield Difference(f"stages.{name}", f"is now {aside}")
        yield from _of_stage(old_stages[name], stage)
    old_order = [stage.name for stage in before.stages if stage.name in new_stages]
    new_order = [stage.name for stage in after.stages if stage.name in old_stages]
    if set(old_order) == set(new_order) and old_order != new_order:
        yield Difference("lifecycle", f"order of stages: {', '.join(old_order)} → {', '.join(new_order)}")


def _of_stage(before: Stage, after: Stage) -> Iterator[Difference]:
    where = f"stages.{after.name}"
    for name, old, new in (
        ("title", before.label, after.label),
        ("about", before.about, after.about),
        ("stall", _stall(before), _stall(after)),
        ("lapse", _lapse(before), _lapse(after)),
    ):
        if old != new:
            yield Difference(where, f"{name}: {_shown(old)} → {_shown(new)}")
    yield from _of_rules(where, "", before.rules, after.rules)


def _of_rules(where: str, from_: str, before: Sequence[Rule], after: Sequence[Rule]) -> Iterator[Difference]:
    old, new = [_rule(rule) for rule in before], [_rule(rule) for rule in after]
    for text in old:
        if text not in new:
            yield Difference(where, f"no more rule {from_}{text}")
    for text in new:
        if text not in old:
            yield Difference(where, f"new rule {from_}{text}")
    kept_old, kept_new = [text for text in old if text in new], [text for text in new if text in old]
    if kept_old != kept_new:
        yield Difference(where, f"rules {from_}are tried in another order: {'; '.join(kept_new)}")


def _rule(rule: Rule) -> str:
    reason = "" if rule.reason is None else f" ({rule.reason})"
    return f"to {rule.to}: {describe_conditions(rule)}{reason}"


def _stall(stage: Stage) -> str | None:
    return None if stage.stall is None else ", ".join(stage.stall.levels)


def _lapse(stage: Stage) -> str | None:
    return None if stage.lapse is None else f"to {stage.lapse.to} after {stage.lapse.after}"


def _shown(value: str | bool | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.strip() if value else "none"
