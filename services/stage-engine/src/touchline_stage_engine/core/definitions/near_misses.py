"""Rules that wait for a type which looks like a misspelt standard one. A warning: a source may post it on purpose."""

from collections.abc import Iterator
from typing import Any

from touchline_runtime.yaml.positions import Fault, Path
from touchline_runtime.yaml.text import read_document
from touchline_schemas.near_misses import near_miss


def near_misses(text: str, file: str) -> list[Fault]:
    """Warnings about a sound definition, with their lines."""
    value, positions = read_document(text, file)
    found = []
    for path, type_name in _types(value):
        meant = near_miss(type_name)
        if meant is not None:
            message = f"{type_name!r} is no standard type, and looks like {meant}"
            found.append(positions.fault(path, message, "correct it, or leave it where a source of yours posts it"))
    return found


def _types(value: Any) -> Iterator[tuple[Path, str]]:
    yield from _listed(("passive",), value.get("passive"))
    yield from _of_rules(("rules",), value.get("rules"))
    for part in ("stages", "off_path"):
        for index, stage in enumerate(value.get(part) or ()):
            yield from _of_rules((part, index, "rules"), stage.get("rules"))


def _of_rules(path: Path, rules: Any) -> Iterator[tuple[Path, str]]:
    for index, rule in enumerate(rules or ()):
        yield from _listed((*path, index, "when"), rule.get("when"))
        for number, condition in enumerate(rule.get("all") or ()):
            yield from _listed((*path, index, "all", number, "when"), condition.get("when"))


def _listed(path: Path, types: Any) -> Iterator[tuple[Path, str]]:
    for one in [types] if isinstance(types, str) else types or ():
        if one != "*":
            yield path, one
