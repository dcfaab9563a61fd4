"""Read which facts the plays in a folder consider: the `when` of each play, and nothing else.

The notifier checks plays in full; a simulation only counts the facts that they would consider.
"""

from pathlib import Path
from typing import Any

from touchline_runtime.errors import ConfigurationError
from touchline_runtime.yaml.positions import FaultyDocumentError
from touchline_runtime.yaml.text import read_document

from touchline_stage_engine.core.analysis.simulation import Trigger

FACTS = ("stage-changed", "customer-stalled", "customer-recovered")


def read_triggers(folder: Path) -> list[Trigger]:
    """The triggers of every play of a folder (``*.yaml``, ``*.yml``), by file name.

    Raises:
        ConfigurationError: the folder is missing, or a file is not a play.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"--plays {folder} is not a folder: name the folder of TOUCHLINE_PLAYS_DIR")
    triggers, problems = [], []
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            document, _ = read_document(path.read_text(encoding="utf-8"), str(path))
            triggers.append(_trigger(document))
        except FaultyDocumentError as error:
            problems.append(str(error))
        except (OSError, UnicodeDecodeError, ValueError, TypeError) as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise ConfigurationError(
            "plays can't be read (run touchline-notifier check for details):\n" + "\n".join(problems)
        )
    return triggers


def _trigger(document: Any) -> Trigger:
    if not isinstance(document, dict) or not isinstance(document.get("play"), str):
        raise ValueError("not a play: write `play:` and its name")
    when = document.get("when")
    if not isinstance(when, dict) or when.get("fact") not in FACTS:
        raise ValueError(f"when.fact must be one of {', '.join(FACTS)}")
    return Trigger.of(document["play"], when)
