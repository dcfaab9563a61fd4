"""Draw a lifecycle as a Mermaid state diagram, and write the documentation page of the built-in lifecycles.

The diagram shows stages, rules that can hold, stalls and lapses. Rules for any stage start from a separate node:
arrows from every stage to every other would be unreadable.
"""

from collections.abc import Iterable

from touchline_stage_engine.core.definitions.compile import default_reason, resolve_target
from touchline_stage_engine.core.definitions.model import Condition, Definition, Operators, Rule, Stage

_IDENTIFIER_SAFE = str.maketrans({"-": "_", ".": "_"})


def draw(definition: Definition) -> str:
    """The diagram's Mermaid text, without a fence."""
    identifiers = _identifiers(definition)
    lines = ["stateDiagram-v2", "    direction LR"]
    for stage in definition.every_stage:
        lines.append(f'    state "{_clean(stage.label)}" as {identifiers[stage.name]}')
    lines.append(f"    [*] --> {identifiers[definition.stages[0].name]}")
    for stage in definition.every_stage:
        lines.extend(_arrows(definition, stage, identifiers))
        if levels := _stall_levels(stage):
            lines.append(f"    note right of {identifiers[stage.name]} : {levels}")
    if definition.rules:
        lines.extend(_anywhere(definition, identifiers))
    return "\n".join(lines) + "\n"


def describe_rule(rule: Rule) -> str:
    """A rule in one line: its reason, else its conditions."""
    return rule.reason or default_reason(rule.conditions)


def describe_conditions(rule: Rule) -> str:
    """The exact conditions of a rule, in one line."""
    return " and ".join(_describe(condition) for condition in rule.conditions)


def page(definitions: Iterable[Definition]) -> str:
    """The documentation page of lifecycles: description, diagram and rules of each."""
    parts = [
        "# The lifecycles that ship",
        "",
        "Six published models of the customer relationship, as definitions that run without changes. To adapt one,",
        "copy and edit it; `touchline-stage-engine check FILE` checks it and draws its diagram. The thresholds are",
        "suggestions: change them. `make docs` generates this page from the definitions.",
        "",
    ]
    for definition in definitions:
        parts.extend(_section(definition))
    return "\n".join(parts).rstrip() + "\n"


def _identifiers(definition: Definition) -> dict[str, str]:
    """Stage → Mermaid identifier. An index distinguishes stages with the same identifier."""
    found: dict[str, str] = {}
    for index, stage in enumerate(definition.every_stage):
        # The prefix is needed because `end` and `state` are Mermaid keywords.
        name = "stage_" + stage.name.translate(_IDENTIFIER_SAFE)
        found[stage.name] = name if name not in found.values() else f"{name}_{index}"
    return found


def _arrows(definition: Definition, stage: Stage, identifiers: dict[str, str]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for rule in stage.rules:
        target = resolve_target(definition, stage.name, rule.to)
        if target is not None:
            known = reasons.setdefault(target, [])
            if (reason := describe_rule(rule)) not in known:
                known.append(reason)
    if stage.lapse is not None:
        target = resolve_target(definition, stage.name, stage.lapse.to)
        if target is not None:
            reasons.setdefault(target, []).append(f"lapses after {stage.lapse.after}")
    here = identifiers[stage.name]
    return [f"    {here} --> {identifiers[target]} : {_clean('<br>'.join(texts))}" for target, texts in reasons.items()]


def _anywhere(definition: Definition, identifiers: dict[str, str]) -> list[str]:
    lines = ['    state "any stage" as anywhere']
    for rule in definition.rules:
        target = identifiers.get(rule.to)
        if target is None:
            # previous, next and first lead elsewhere from every stage.
            lines.append(f"    anywhere --> anywhere : {rule.to}, {_clean(describe_rule(rule))}")
        else:
            lines.append(f"    anywhere --> {target} : {_clean(describe_rule(rule))}")
    return lines


def _stall_levels(stage: Stage) -> str:
    return "stalls after " + ", ".join(stage.stall.levels) if stage.stall is not None else ""


def _clean(text: str) -> str:
    """Replace characters that would end the label or the line."""
    return text.replace('"', "'").replace(";", ",").replace(":", " -").replace("\n", " ").replace("#", "no. ")


def _describe(condition: Condition) -> str:
    text = "anything" if "*" in condition.when else " or ".join(f"`{name}`" for name in condition.when)
    if condition.direction == "outbound":
        text += " (outbound)"
    elif condition.direction == "any":
        text += " (either direction)"
    if condition.channel is not None:
        text += f" on {' or '.join(condition.channel)}"
    if condition.where:
        text += " with " + " and ".join(_where(path, operators) for path, operators in condition.where.items())
    if condition.count > 1:
        text += f", {condition.count} times"
    if condition.within is not None:
        text += f" within {condition.within}"
    return text


_SIGNS = {"eq": "=", "ne": "≠", "lt": "<", "lte": "≤", "gt": ">", "gte": "≥", "in": "in"}


def _where(path: str, operators: Operators) -> str:
    name = path.removeprefix("properties.")
    parts = []
    for operator, operand in operators.given().items():
        if operator == "exists":
            parts.append(f"{name} {'given' if operand else 'not given'}")
        else:
            parts.append(f"{name} {_SIGNS[operator]} {operand}")
    return " and ".join(parts)


def _section(definition: Definition) -> list[str]:
    order = "in a cycle" if definition.cyclic else "in order"
    lines = [
        f"## {definition.label}",
        "",
        f"`{definition.lifecycle}`, version {definition.version}; stages {order}.",
        "",
    ]
    if definition.about:
        lines += [definition.about.strip(), ""]
    lines += ["```mermaid", draw(definition).rstrip(), "```", ""]
    if definition.rules:
        lines += ["From any stage, tried first:", ""]
        lines += [f"- to **{rule.to}**: {describe_conditions(rule)}" for rule in definition.rules]
        lines.append("")
    for stage in definition.every_stage:
        aside = " (off the path)" if stage in definition.off_path else ""
        lines += [f"### {stage.label}{aside}", ""]
        if stage.about:
            lines += [stage.about.strip(), ""]
        items = [f"- to **{rule.to}**: {describe_conditions(rule)}" for rule in stage.rules]
        if stage.stall is not None:
            items.append(f"- {_stall_levels(stage)} without activity")
        if stage.lapse is not None:
            items.append(f"- lapses to **{stage.lapse.to}** after {stage.lapse.after} without activity")
        lines += [*items, ""] if items else []
    if definition.passive:
        names = ", ".join(f"`{name}`" for name in definition.passive)
        lines += [f"These types do not count as activity: {names}.", ""]
    return lines
