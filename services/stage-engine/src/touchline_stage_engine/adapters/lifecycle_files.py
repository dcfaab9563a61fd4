"""Lifecycle definitions from a folder and from the built-ins: the texts, read and checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from touchline_runtime.errors import ConfigurationError
from touchline_runtime.places import FaultyDocumentError

from touchline_stage_engine import builtin
from touchline_stage_engine.core.definition import Definition
from touchline_stage_engine.core.reading import read_definition

DEFAULT = ("service-cycle", "reach-to-loyalty")


class Written(NamedTuple):
    """A definition with its text and where it was found."""

    definition: Definition
    text: str
    file: str


def read_folder(folder: Path | None) -> list[Written]:
    """Every definition of a folder (``*.yaml``, ``*.yml``), by file name.

    Raises:
        ConfigurationError: the folder is missing, a file can't be read, or definitions are wrong: all that is wrong.
    """
    if folder is None:
        return []
    if not folder.is_dir():
        raise ConfigurationError(f"TOUCHLINE_LIFECYCLES_DIR={folder} is no folder: create it, or unset the variable")
    found, problems = [], []
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            text = path.read_text(encoding="utf-8")
            found.append(Written(read_definition(text, str(path)), text, str(path)))
        except FaultyDocumentError as error:
            problems.append(str(error))
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{path}: can't be read: {error}")
    if problems:
        raise ConfigurationError("lifecycle definitions are wrong:\n" + "\n".join(problems))
    return found


def read_builtin(name: str) -> Written:
    """A built-in definition."""
    text = builtin.text_of(name)
    return Written(read_definition(text, builtin.file_of(name)), text, builtin.file_of(name))


def choose(wanted: Sequence[str], folder: Path | None) -> list[Written]:
    """The definitions to run: those named, or the two defaults and all of the folder.

    A definition in the folder stands in for a built-in one of the same name.

    Raises:
        ConfigurationError: a name is found nowhere, or one version has two texts.
    """
    in_folder = read_folder(folder)
    names = list(wanted) or list(dict.fromkeys([*DEFAULT, *(one.definition.lifecycle for one in in_folder)]))
    chosen: dict[tuple[str, int], Written] = {}
    for name in names:
        found = [one for one in in_folder if one.definition.lifecycle == name]
        if not found:
            if name not in builtin.NAMES:
                known = ", ".join(sorted({*builtin.NAMES, *(one.definition.lifecycle for one in in_folder)}))
                raise ConfigurationError(
                    f"TOUCHLINE_LIFECYCLES names {name!r}, and there is no such lifecycle (there are: {known})"
                )
            found = [read_builtin(name)]
        for one in found:
            key = (name, one.definition.version)
            other = chosen.setdefault(key, one)
            if other.definition.fingerprint != one.definition.fingerprint:
                raise ConfigurationError(
                    f"version {key[1]} of lifecycle {name} has two different texts, in {other.file} and {one.file}: "
                    "give one of them another version"
                )
    return list(chosen.values())
