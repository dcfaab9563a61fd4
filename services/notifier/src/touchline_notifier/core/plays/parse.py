"""Plays from YAML text, with what is wrong by file, line and path, and what to write instead."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from touchline_runtime.yaml.positions import Fault, FaultyDocumentError, Path, SourcePositions, written_path
from touchline_runtime.yaml.text import Document, read_document
from touchline_schemas.near_misses import near_miss

from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.limits.limits import reaches_customer
from touchline_notifier.core.plays.parts import ActionSpec
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.template_checks import check_templates
from touchline_notifier.core.sequences.checks import awaited_types, sequence_faults, sequence_warnings, unknown_moves


@dataclass(frozen=True, slots=True)
class KnownLifecycle:
    """A lifecycle whose stages are known."""

    name: str
    stages: tuple[str, ...]


def merged_lifecycles(versions: Iterable[KnownLifecycle]) -> list[KnownLifecycle]:
    """One of each name, with the stages of all of its versions in force."""
    stages: dict[str, dict[str, None]] = {}
    for version in versions:
        stages.setdefault(version.name, {}).update(dict.fromkeys(version.stages))
    return [KnownLifecycle(name, tuple(of_it)) for name, of_it in stages.items()]


@dataclass(slots=True)
class ParsedPlays:
    """The result of parsing play files.

    Attributes:
        plays: by name; those without faults.
        faulty: by name; the others, as far as they could be read, so that the rest of them is checked as well.
        faults: make the notifier refuse to start.
        warnings: worth a look.
    """

    plays: dict[str, Play] = field(default_factory=dict)
    faulty: dict[str, Play] = field(default_factory=dict)
    positions: dict[str, SourcePositions] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)


def read_plays(files: Iterable[tuple[str, str]]) -> ParsedPlays:
    """Read files, one play each: (name, text)."""
    result = ParsedPlays()
    for file, text in files:
        try:
            document = read_document(text, file)
        except FaultyDocumentError as error:
            result.faults.extend(error.faults)
            continue
        if not isinstance(document.value, dict):
            advice = "write a play: `play: its-name`, `when: {…}`, `action: {…}`"
            result.faults.append(document.positions.fault((), advice))
            continue
        try:
            play = Play.model_validate(document.value)
        except ValidationError as error:
            result.faults.extend(_explained(document, error))
            _keep_the_rest(document, error, result)
            continue
        if play.play in result.positions:
            message = f"{result.positions[play.play].file} has a play {play.play!r} already: rename one"
            result.faults.append(document.positions.fault(["play"], message))
            continue
        result.plays[play.play], result.positions[play.play] = play, document.positions
        result.warnings.extend(_near_misses(play, document.positions))
        _check_steps(play, document.positions, result)
        _try_templates(play, document.positions, result)
    return result


def _near_misses(play: Play, positions: SourcePositions) -> Iterator[Fault]:
    """Warnings about types that look like misspelt standard ones: nothing that was meant comes under them."""
    asked: list[tuple[Path, Sequence[str]]] = [
        (("if", "history", index, "type"), one.type) for index, one in enumerate(play.if_.history)
    ]
    for path, types in [*asked, (("goal", "when"), play.goal.when), *awaited_types(play)]:
        for type_name in types:
            meant = near_miss(type_name) if type_name != "*" else None
            if meant is not None:
                message = f"{type_name!r} is no standard type, and looks like {meant}"
                yield positions.fault(path, message, "correct it, or leave it where a source of yours posts it")


def _check_steps(play: Play, positions: SourcePositions, result: ParsedPlays) -> None:
    if not play.steps:
        return
    faults = sequence_faults(play, positions)
    result.warnings.extend(sequence_warnings(play, positions))
    if faults:
        result.faults.extend(faults)
        result.plays.pop(play.play, None)
        result.faulty[play.play] = play


def _keep_the_rest(document: Document, error: ValidationError, result: ParsedPlays) -> None:
    """Read a faulty play without its faulty parts, so that errors in the other parts are reported at the same time."""
    faulty = {problem["loc"][0] for problem in error.errors() if problem["loc"]}
    try:
        play = Play.model_validate({name: value for name, value in document.value.items() if name not in faulty})
    except ValidationError:
        return
    if play.play not in result.positions:
        result.faulty[play.play], result.positions[play.play] = play, document.positions
        _try_templates(play, document.positions, result)


def _explained(document: Document, error: ValidationError) -> list[Fault]:
    faults: dict[tuple[object, ...], Fault] = {}
    for problem in error.errors():
        if problem["loc"][:1] == ("action",) and document.value.get("steps") and "action" not in document.value:
            if problem["type"] != "missing" or len(problem["loc"]) > 1:
                continue  # a sequence's first message: it is reported where it is written
            message = "this sequence never sends: write a step with send"
            faults.setdefault(("steps", "missing"), document.positions.fault(("steps",), message))
            continue
        # pydantic's "[key]" says that the name itself is wrong.
        path = written_path(document.value, tuple(step for step in problem["loc"] if step != "[key]"))
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            known = _names_at(path[:-1])
            close = get_close_matches(str(path[-1]), known, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            message = f"unknown: {hint}known are {', '.join(known)}"
        elif problem["type"] == "missing":
            message = "is missing"
        faults.setdefault((*path, problem["type"]), document.positions.fault(path, message))
    return list(faults.values())


def _names_at(path: Sequence[int | str]) -> list[str]:
    model: type[BaseModel] = Play
    for step in path:
        for name, info in model.model_fields.items():
            if (info.alias or name) == step:
                model = next((part for part in _models(info.annotation)), model)
    return [info.alias or name for name, info in model.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]


def _try_templates(play: Play, positions: SourcePositions, result: ParsedPlays) -> None:
    found = check_templates(play, positions)
    result.warnings.extend(found.warnings)
    if found.faults:
        result.faults.extend(found.faults)
        result.plays.pop(play.play, None)
        result.faulty[play.play] = play


def check_lifecycles(parsed: ParsedPlays, known: Iterable[KnownLifecycle]) -> list[Fault]:
    """Plays for lifecycles or stages that don't exist, with the names of those that do."""
    stages = {lifecycle.name: lifecycle.stages for lifecycle in known}
    faults: list[Fault] = []
    for name, play in [*parsed.plays.items(), *parsed.faulty.items()]:
        positions = parsed.positions[name]
        for lifecycle in play.when.lifecycle:
            if lifecycle not in stages:
                names = ", ".join(sorted(stages)) or "none yet"
                message = f"there is no lifecycle {lifecycle!r}: known are {names}"
                faults.append(positions.fault(["when", "lifecycle"], message))
        there = {stage for lifecycle in play.when.lifecycle or stages for stage in stages.get(lifecycle, ())}
        if not all(lifecycle in stages for lifecycle in play.when.lifecycle):
            continue
        for key, wanted in (("stage", play.when.stage), ("from_stage", play.when.from_stage)):
            for stage in wanted:
                if stage not in there:
                    where = " or ".join(play.when.lifecycle) or "any lifecycle"
                    message = f"there is no stage {stage!r} in {where}: known are {', '.join(sorted(there))}"
                    faults.append(positions.fault(["when", key], message))
        faults += [positions.fault(path, message) for path, message in unknown_moves(play, stages)]
    return faults


def equal_priorities(parsed: ParsedPlays, to_customers: frozenset[str]) -> list[Fault]:
    """Plays of equal priority that compete for a customer's caps: which one goes first is not specified."""
    warnings: list[Fault] = []
    by_name = sorted(parsed.plays.items())
    for name, play in by_name:
        rivals = [
            other
            for other, one in by_name
            if other != name and one.priority == play.priority and _compete(play, one, to_customers)
        ]
        if rivals:
            message = f"competes with {', '.join(rivals[:3])}{', …' if len(rivals) > 3 else ''} for the same caps"
            advice = f"at the same priority ({play.priority}): give the one that matters more a higher priority"
            warnings.append(parsed.positions[name].fault(["priority"], message, advice))
    return warnings


def _compete(play: Play, other: Play, to_customers: frozenset[str]) -> bool:
    if not (play.enabled and other.enabled) or play.transactional or other.transactional:
        return False
    one, two = play.limits, other.limits
    capped = one.per_customer or two.per_customer
    if play.action.channel == other.action.channel:
        capped = capped or one.per_channel or two.per_channel
    if not capped or reaches_customer(play, to_customers) != reaches_customer(other, to_customers):
        return False
    this, that = play.when, other.when
    return this.fact == that.fact and all(
        not mine or not theirs or set(mine) & set(theirs)
        for mine, theirs in (
            (this.lifecycle, that.lifecycle), (this.stage, that.stage), (this.from_stage, that.from_stage),
            (this.move, that.move), (this.level, that.level),
        )
    )  # fmt: skip


def check_play_endpoints(
    parsed: ParsedPlays, endpoints: Mapping[str, Endpoint], channels: Iterable[str], named: str
) -> list[Fault]:
    """Plays whose channel or endpoint doesn't exist; a play that names no endpoint means its channel's only one.

    Args:
        named: the endpoints file, for the messages.
    """
    faults: list[Fault] = []
    installed = sorted(channels)
    for name, play in [*parsed.plays.items(), *parsed.faulty.items()]:
        positions = parsed.positions[name]
        for path, action in play.message_paths():
            wrong = _endpoint_fault(action, endpoints, installed, named)
            if wrong is not None:
                key, message = wrong
                faults.append(positions.fault([*path, *key], message))
    return faults


def _endpoint_fault(
    action: ActionSpec, endpoints: Mapping[str, Endpoint], installed: Sequence[str], named: str
) -> tuple[list[str], str] | None:
    """(key within the action, message), or None."""
    if action.channel not in installed:
        return ["channel"], f"there is no channel {action.channel!r}: known are {', '.join(installed)}"
    of_channel = sorted(one.name for one in endpoints.values() if one.type == action.channel)
    listed = ", ".join(of_channel) or "none"
    if action.endpoint is None and len(of_channel) != 1:
        return [], f"write endpoint: the {action.channel} endpoints in {named} are: {listed}"
    if action.endpoint is None or action.endpoint in of_channel:
        return None
    other = endpoints.get(action.endpoint)
    if other is not None:
        return ["endpoint"], f"endpoint {action.endpoint!r} is of type {other.type}, not {action.channel}"
    message = f"there is no endpoint {action.endpoint!r} in {named}; of type {action.channel} there is: {listed}"
    return ["endpoint"], message


def with_endpoint(play: Play, endpoints: Mapping[str, Endpoint]) -> Play:
    """The play with the endpoints it means, where it names none."""

    def named(action: ActionSpec) -> ActionSpec:
        if action.endpoint is not None:
            return action
        (only,) = (one.name for one in endpoints.values() if one.type == action.channel)
        return action.model_copy(update={"endpoint": only})

    if all(action.endpoint is not None for _, action in play.message_paths()):
        return play
    return play.with_messages(named)
