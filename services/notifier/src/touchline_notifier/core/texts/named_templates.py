"""Templates that a play's texts extend, include or import by name: layouts and partials.

Every name is checked before a play runs, so that none is missing when a mail is sent.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from jinja2 import TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from touchline_runtime.yaml.positions import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
LONGEST_NAME = 100
TOP = "templates"
"""The key of a play that holds its named templates."""

_PARSER = ImmutableSandboxedEnvironment()
_NAMING = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)


class Mention(NamedTuple):
    """A name that a text mentions. ``name`` is None where it is computed."""

    name: str | None
    line: int


class Problem(NamedTuple):
    """Something wrong in a text. ``line`` counts within the text."""

    path: Path
    line: int
    message: str


def texts_of(action: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Every template text of a play's action, and where it is."""
    yield from _texts(("action",), action)


def _texts(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts((*path, str(name)), item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts((*path, index), item)


def mentions(source: str) -> list[Mention]:
    """The templates that a text names; none where its syntax is wrong, which is reported when it is rendered."""
    if "{%" not in source:
        return []
    try:
        tree = _PARSER.parse(source)
    except (TemplateSyntaxError, RecursionError):
        return []
    found = []
    for node in tree.find_all(_NAMING):
        for name in _names(node.template):  # type: ignore[attr-defined]
            found.append(Mention(name, node.lineno))
    return found


def _names(expression: nodes.Expr) -> list[str | None]:
    if isinstance(expression, nodes.Const) and isinstance(expression.value, str):
        return [expression.value]
    if isinstance(expression, nodes.Tuple | nodes.List):
        return [name for item in expression.items for name in _names(item)]
    if isinstance(expression, nodes.CondExpr) and expression.expr2 is not None:
        return [*_names(expression.expr1), *_names(expression.expr2)]
    return [None]


def needed(texts: Iterable[str], available: Mapping[str, str]) -> dict[str, str]:
    """The templates that texts name, and those that these name, as far as they are available."""
    found: dict[str, str] = {}
    waiting = list(texts)
    while waiting:
        for mention in mentions(waiting.pop()):
            name = mention.name
            if name is not None and name in available and name not in found:
                found[name] = available[name]
                waiting.append(found[name])
    return dict(sorted(found.items()))


def missing(texts: Iterable[tuple[Path, str]], templates: Mapping[str, str]) -> list[Problem]:
    """Names without a template, and names that are computed, so that they can't be checked."""
    named = [((TOP, name), source) for name, source in templates.items()]
    known = ", ".join(sorted(templates)) or "none"
    problems = []
    for path, source in (*texts, *named):
        for mention in mentions(source):
            if mention.name is None:
                message = "the name of a template must be a text in quotes, so that it can be checked"
            elif mention.name in templates:
                continue
            else:
                message = (
                    f"there is no template {mention.name!r}: known are {known}; write it under {TOP}, or into the "
                    f"folder {TOP}/ beside the file"
                )
            problems.append(Problem(path, mention.line, message))
    return problems


def circles(templates: Mapping[str, str]) -> list[Problem]:
    """Templates that name themselves, directly or through others."""
    named = {name: mentions(source) for name, source in templates.items()}
    problems = []
    for start in templates:
        reached: set[str] = set()
        waiting = [start]
        while waiting:
            for mention in named[waiting.pop()]:
                if mention.name in named and mention.name not in reached:
                    reached.add(mention.name)
                    waiting.append(mention.name)
        if start in reached:
            line = next((one.line for one in named[start] if one.name in {start, *reached}), 1)
            problems.append(Problem((TOP, start), line, "names itself, directly or through another template"))
    return problems


def unused(texts: Iterable[str], templates: Mapping[str, str]) -> list[str]:
    """Templates that no text names."""
    return sorted(templates.keys() - needed(texts, templates).keys())


def switches_escaping_off(source: str) -> int | None:
    """The line where a text uses ``| safe`` or ``{% autoescape %}``; None: nowhere."""
    if "safe" not in source and "autoescape" not in source:
        return None
    try:
        tree = _PARSER.parse(source)
    except (TemplateSyntaxError, RecursionError):
        return None
    lines = [one.lineno for one in tree.find_all(nodes.Filter) if one.name == "safe"]
    lines += [one.lineno for one in tree.find_all(nodes.EvalContextModifier)]
    return min(lines, default=None)
