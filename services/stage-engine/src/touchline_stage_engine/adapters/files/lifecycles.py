"""Read and check lifecycle definitions from files, from a folder and from the built-in ones."""

from collections.abc import Sequence
from pathlib import Path

from touchline_runtime.errors import ConfigurationError
from touchline_runtime.yaml.positions import FaultyDocumentError

from touchline_stage_engine import builtin
from touchline_stage_engine.application.definitions import Chosen, Written
from touchline_stage_engine.application.values import BUILTIN, FILE
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.definitions.parse import read_definition

DEFAULT = ("service-cycle", "reach-to-loyalty")


def read_folder(folder: Path | None) -> list[Written]:
    """Every definition of a folder (``*.yaml``, ``*.yml``), by file name.

    Raises:
        ConfigurationError: the folder is missing, or files are unreadable or wrong; the message lists all of them.
    """
    if folder is None:
        return []
    if not folder.is_dir():
        raise ConfigurationError(f"TOUCHLINE_LIFECYCLES_DIR={folder} is not a folder: create it, or unset the variable")
    found, problems = [], []
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            text = path.read_text(encoding="utf-8")
            found.append(Written(read_definition(text, str(path)), text, str(path), FILE))
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
    return Written(read_definition(text, builtin.file_of(name)), text, builtin.file_of(name), BUILTIN)


def choose(wanted: Sequence[str], folder: Path | None) -> Chosen:
    """The definitions to run: those named, or the two defaults and every definition in the folder.

    A definition in the folder replaces the built-in one of the same name. A name that is in neither must have been
    published.

    Raises:
        ConfigurationError: one version has two different texts.
    """
    in_folder = read_folder(folder)
    names = list(wanted) or list(dict.fromkeys([*DEFAULT, *(item.definition.lifecycle for item in in_folder)]))
    chosen: dict[tuple[str, int], Written] = {}
    published: list[str] = []
    for name in names:
        found = [item for item in in_folder if item.definition.lifecycle == name]
        if not found:
            if name not in builtin.NAMES:
                published.append(name)
                continue
            found = [read_builtin(name)]
        for item in found:
            key = (name, item.definition.version)
            other = chosen.setdefault(key, item)
            if other.definition.fingerprint != item.definition.fingerprint:
                raise ConfigurationError(
                    f"version {key[1]} of lifecycle {name} has two different texts, in {other.file} and {item.file}: "
                    "give one of them another version"
                )
    in_files = frozenset(item.definition.lifecycle for item in in_folder)
    return Chosen(list(chosen.values()), tuple(published), in_files, (*builtin.NAMES, *sorted(in_files)))


class LifecycleFiles:
    """Definitions in files; implements the port `DefinitionFiles`."""

    builtin_names: tuple[str, ...] = builtin.NAMES

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, file: Path) -> Definition:
        """The definition in a file.

        Raises:
            ConfigurationError: the file cannot be read, or the definition is wrong.
        """
        try:
            return read_definition(file.read_text(encoding="utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file} can't be read: {error}") from None
        except FaultyDocumentError as error:
            raise ConfigurationError(str(error)) from None

    def find(self, name: str, *, or_file: bool) -> Definition | None:
        """The newest definition of that name in the folder, else the built-in one; with ``or_file``, first a file."""
        if or_file and Path(name).is_file():
            return self.read(Path(name))
        in_folder = [item.definition for item in read_folder(self._folder) if item.definition.lifecycle == name]
        if in_folder:
            return max(in_folder, key=lambda definition: definition.version)
        return read_builtin(name).definition if name in builtin.NAMES else None
