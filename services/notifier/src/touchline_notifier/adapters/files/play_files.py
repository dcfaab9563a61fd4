"""The notifier's files: plays of a folder and shipped ones, endpoints, lifecycles of a folder."""

import os
import shlex
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

from touchline_runtime.config.secrets import relative_to
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.yaml.positions import FaultyDocumentError
from touchline_runtime.yaml.text import read_document

from touchline_notifier.application.plays_in_force import ConfiguredFiles
from touchline_notifier.core.delivery.endpoints import Endpoint, parse_endpoints
from touchline_notifier.core.plays.parse import KnownLifecycle, read_plays
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.texts.bundles import Bundle, bundle
from touchline_notifier.core.texts.named_templates import NAME
from touchline_notifier.settings import NotifierSettings

_SUFFIXES = (".yaml", ".yml")
TEMPLATES = "templates"
"""The folder beside the plays with their layouts and partials."""
_REMEDIES = {
    "TOUCHLINE_PLAYS_DIR": "Make it, and put plays into it (docs/plays.md; `touchline-notifier plays` lists some that "
    "ship, to copy):\n  mkdir -p {quoted}\nor unset the variable to run none.",
    "TOUCHLINE_ENDPOINTS_FILE": "To begin one (docs/delivery.md):\n"
    "  echo 'endpoints: [{{name: crm, url: https://crm.example.org/hook, secret: {{env: CRM_SECRET}}}}]' > {quoted}\n"
    "or unset the variable to send nothing anywhere.",
    "TOUCHLINE_LIFECYCLES_DIR": "Create it, or unset the variable.",
}


def texts_of(folder: Path, setting: str) -> list[tuple[str, str]]:
    """(path, text) of every YAML file of a folder, or of a file alone.

    Raises:
        ConfigurationError: the folder or a file can't be read.
    """
    try:
        found = [folder] if folder.is_file() else folder.iterdir()
        paths = sorted(path for path in found if path.is_file() and (path == folder or path.suffix in _SUFFIXES))
        return [(str(path), path.read_text(encoding="utf-8")) for path in paths]
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{setting}={folder}: a file is not UTF-8: {error}") from None
    except FileNotFoundError as error:
        if Path(error.filename) == folder:
            raise _missing(setting, folder) from None
        raise ConfigurationError(f"{setting}={folder}: {error.strerror}: {error.filename}") from None
    except OSError as error:
        raise ConfigurationError(f"{setting}={folder}: {error.strerror}: {error.filename}") from None


def _missing(setting: str, path: Path) -> ConfigurationError:
    """Nothing is there: which variable says so, where it was looked for, and what to type."""
    remedy = _REMEDIES.get(setting, "").format(quoted=shlex.quote(str(path)))
    what = "file" if setting.endswith("_FILE") else "folder"
    return ConfigurationError(
        f"{setting}={path}: there is no such {what} (looked for from {Path.cwd()}). {remedy}".rstrip()
    )


def shipped_plays() -> dict[str, tuple[str, str]]:
    """Name → (path, text) of the plays in the package."""
    found = {}
    for entry in sorted(files("touchline_notifier.plays").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(_SUFFIXES):
            found[entry.name.rpartition(".")[0]] = (str(entry), entry.read_text(encoding="utf-8"))
    return found


def play_texts(folder: Path | None, shipped: Iterable[str]) -> list[tuple[str, str]]:
    """What to run: everything in the folder, and the shipped plays that are named.

    Raises:
        ConfigurationError: no shipped play of that name, or the folder can't be read.
    """
    available = shipped_plays()
    texts = []
    for name in shipped:
        if name not in available:
            known = ", ".join(available)
            raise ConfigurationError(f"TOUCHLINE_PLAYS: there is no shipped play {name!r}: known are {known}")
        texts.append(available[name])
    return texts + (texts_of(folder, "TOUCHLINE_PLAYS_DIR") if folder is not None else [])


def with_templates(texts: Iterable[tuple[str, str]]) -> dict[str, Bundle]:
    """The file of each play → its text with the templates that it names, of the folder ``templates`` beside it.

    Raises:
        ConfigurationError: a template can't be read.
    """
    read: dict[Path, dict[str, tuple[str, str]]] = {}
    bundles = {}
    for path, text in texts:
        folder = Path(path).parent / TEMPLATES
        if folder not in read:
            read[folder] = dict(_templates(folder))
        sources = {name: source for name, (_, source) in read[folder].items()}
        bundles[path] = bundle(text, sources, {name: file for name, (file, _) in read[folder].items()})
    return bundles


def _templates(folder: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Name → (file, text) of every template; hidden files and folders are none."""
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and NAME.fullmatch(name):
            try:
                yield name, (str(file), file.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                raise ConfigurationError(f"{file} can't be read: {reason}") from None


def read_play(file: Path) -> Bundle:
    """One play with the templates that it names.

    Raises:
        ConfigurationError: it, or a template, can't be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} can't be read: {error}") from None
    return with_templates([(str(file), text)])[str(file)]


def read_endpoints(file: Path | None) -> dict[str, Endpoint]:
    """Name → endpoint; empty without a file.

    Raises:
        ConfigurationError: what is wrong, one line each.
    """
    if file is None:
        return {}
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _missing("TOUCHLINE_ENDPOINTS_FILE", file) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"TOUCHLINE_ENDPOINTS_FILE={file}: {reason}") from None
    try:
        return parse_endpoints(text, str(file), environ=os.environ, read_file=relative_to(file))
    except FaultyDocumentError as error:
        lines = "\n  ".join(str(error).splitlines())
        raise ConfigurationError(f"the endpoints file is wrong:\n  {lines}") from None


def own_lifecycles(folder: Path | None) -> list[KnownLifecycle]:
    """Names and stages of lifecycles in a folder; what the engine would reject is skipped here."""
    found = []
    for path, text in texts_of(folder, "TOUCHLINE_LIFECYCLES_DIR") if folder is not None else []:
        try:
            value = read_document(text, path).value
        except FaultyDocumentError:
            continue
        if isinstance(value, dict) and isinstance(value.get("lifecycle"), str):
            stages = [*(value.get("stages") or []), *(value.get("off_path") or [])]
            names = tuple(str(stage["name"]) for stage in stages if isinstance(stage, dict) and "name" in stage)
            found.append(KnownLifecycle(value["lifecycle"], names))
    return found


def read_files(settings: NotifierSettings) -> ConfiguredFiles:
    """Everything the settings name.

    Raises:
        ConfigurationError: a file cannot be read, or the endpoints file is wrong.
    """
    texts = play_texts(settings.plays_dir, settings.shipped_plays())
    bundles = with_templates(texts)
    return ConfiguredFiles(
        plays=[(path, bundles[path].text) for path, _ in texts],
        bundles=bundles,
        endpoints=read_endpoints(settings.endpoints_file),
        endpoints_file=str(settings.endpoints_file) if settings.endpoints_file is not None else None,
        lifecycles=own_lifecycles(settings.lifecycles_dir),
        shipped=frozenset(path for path, _ in shipped_plays().values()),
    )


def shipped() -> dict[str, tuple[str, Play]]:
    """The plays that ship: name → (path, play)."""
    return {name: (path, read_plays([(path, text)]).plays[name]) for name, (path, text) in shipped_plays().items()}
