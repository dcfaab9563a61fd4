"""Plays from YAML text, with what is wrong by file, line and path, and what to write instead."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from touchline_runtime.places import Fault, FaultyDocumentError, Places, written_path
from touchline_runtime.yaml_text import Document, read_document

from touchline_notifier.core.endpoints import Endpoint
from touchline_notifier.core.play import Play
from touchline_notifier.core.rendering import RenderingError, Templates
from touchline_notifier.core.samples import EVERYTHING_KNOWN, NOTHING_KNOWN, sample_actions


@dataclass(frozen=True, slots=True)
class KnownLifecycle:
    """A lifecycle whose stages are known."""

    name: str
    stages: tuple[str, ...]


@dataclass(slots=True)
class Reading:
    """What came of reading files.

    Attributes:
        plays: by name; those without faults.
        faulty: by name; the others, as far as they could be read, so that the rest of them is checked as well.
        faults: make the notifier refuse to start.
        warnings: worth a look.
    """

    plays: dict[str, Play] = field(default_factory=dict)
    faulty: dict[str, Play] = field(default_factory=dict)
    places: dict[str, Places] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)


def read_plays(files: Iterable[tuple[str, str]]) -> Reading:
    """Read files, one play each: (name, text)."""
    result = Reading()
    for file, text in files:
        try:
            document = read_document(text, file)
        except FaultyDocumentError as error:
            result.faults.extend(error.faults)
            continue
        if not isinstance(document.value, dict):
            advice = "write a play: `play: its-name`, `when: {…}`, `action: {…}`"
            result.faults.append(document.places.fault((), advice))
            continue
        try:
            play = Play.model_validate(document.value)
        except ValidationError as error:
            result.faults.extend(_explained(document, error))
            _keep_the_rest(document, error, result)
            continue
        if play.play in result.places:
            message = f"{result.places[play.play].file} has a play {play.play!r} already: rename one"
            result.faults.append(document.places.fault(["play"], message))
            continue
        result.plays[play.play], result.places[play.play] = play, document.places
        _try_templates(play, document.places, result)
    return result


def _keep_the_rest(document: Document, error: ValidationError, result: Reading) -> None:
    """Read a faulty play without its faulty parts: what is wrong with the others is told at the same time."""
    faulty = {problem["loc"][0] for problem in error.errors() if problem["loc"]}
    try:
        play = Play.model_validate({name: value for name, value in document.value.items() if name not in faulty})
    except ValidationError:
        return
    if play.play not in result.places:
        result.faulty[play.play], result.places[play.play] = play, document.places
        _try_templates(play, document.places, result)


def _explained(document: Document, error: ValidationError) -> list[Fault]:
    faults: dict[tuple[object, ...], Fault] = {}
    for problem in error.errors():
        path = written_path(document.value, problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            known = _names_at(path[:-1])
            close = get_close_matches(str(path[-1]), known, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            message = f"unknown: {hint}known are {', '.join(known)}"
        elif problem["type"] == "missing":
            message = "is missing"
        faults.setdefault((*path, problem["type"]), document.places.fault(path, message))
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


def _try_templates(play: Play, places: Places, result: Reading) -> None:
    templates = Templates()
    actions = list(sample_actions(play))
    for action in actions:
        try:
            templates.render(play, action, EVERYTHING_KNOWN)
        except RenderingError as error:
            kind = action.fact.move or action.fact.type
            result.faults.append(places.fault(error.path, f"{error.message} (tried with a fact of kind {kind})"))
            result.plays.pop(play.play, None)
            result.faulty[play.play] = play
            return
    for action in actions[:1]:
        try:
            templates.render(play, action, NOTHING_KNOWN)
        except RenderingError as error:
            message = f"{error.message}, for a customer of whom it isn't known"
            result.warnings.append(places.fault(error.path, message, "write | default(…), or ask for it under if"))


def check_lifecycles(reading: Reading, known: Iterable[KnownLifecycle]) -> list[Fault]:
    """Plays for lifecycles or stages that don't exist, with the names of those that do."""
    stages = {lifecycle.name: lifecycle.stages for lifecycle in known}
    faults: list[Fault] = []
    for name, play in [*reading.plays.items(), *reading.faulty.items()]:
        places = reading.places[name]
        for lifecycle in play.when.lifecycle:
            if lifecycle not in stages:
                names = ", ".join(sorted(stages)) or "none yet"
                message = f"there is no lifecycle {lifecycle!r}: known are {names}"
                faults.append(places.fault(["when", "lifecycle"], message))
        there = {stage for lifecycle in play.when.lifecycle or stages for stage in stages.get(lifecycle, ())}
        if not all(lifecycle in stages for lifecycle in play.when.lifecycle):
            continue
        for key, wanted in (("stage", play.when.stage), ("from_stage", play.when.from_stage)):
            for stage in wanted:
                if stage not in there:
                    where = " or ".join(play.when.lifecycle) or "any lifecycle"
                    message = f"there is no stage {stage!r} in {where}: known are {', '.join(sorted(there))}"
                    faults.append(places.fault(["when", key], message))
    return faults


def check_play_endpoints(
    reading: Reading, endpoints: Mapping[str, Endpoint], channels: Iterable[str], named: str
) -> list[Fault]:
    """Plays whose channel or endpoint doesn't exist; a play that names no endpoint means its channel's only one.

    Args:
        named: the endpoints file, for the messages.
    """
    faults: list[Fault] = []
    installed = sorted(channels)
    for name, play in [*reading.plays.items(), *reading.faulty.items()]:
        places, action = reading.places[name], play.action
        if action.channel not in installed:
            message = f"there is no channel {action.channel!r}: known are {', '.join(installed)}"
            faults.append(places.fault(["action", "channel"], message))
            continue
        of_channel = sorted(one.name for one in endpoints.values() if one.type == action.channel)
        listed = ", ".join(of_channel) or "none"
        if action.endpoint is None and len(of_channel) != 1:
            message = f"write endpoint: the {action.channel} endpoints in {named} are: {listed}"
            faults.append(places.fault(["action"], message))
        elif action.endpoint is not None and action.endpoint not in of_channel:
            other = endpoints.get(action.endpoint)
            message = (
                f"endpoint {action.endpoint!r} is of type {other.type}, not {action.channel}"
                if other
                else f"there is no endpoint {action.endpoint!r} in {named}; of type {action.channel} there is: {listed}"
            )
            faults.append(places.fault(["action", "endpoint"], message))
    return faults


def with_endpoint(play: Play, endpoints: Mapping[str, Endpoint]) -> Play:
    """The play with the endpoint it means, where it names none."""
    if play.action.endpoint is not None:
        return play
    (only,) = (one.name for one in endpoints.values() if one.type == play.action.channel)
    return play.model_copy(update={"action": play.action.model_copy(update={"endpoint": only})})
