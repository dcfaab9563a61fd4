"""Which facts the plays of a folder look at: their `when`, and nothing else of them.

The notifier has the last word on a play. Here it is enough to know which facts it would consider.
"""

from pathlib import Path
from typing import Any

from touchline_runtime.errors import ConfigurationError
from touchline_runtime.places import FaultyDocumentError
from touchline_runtime.yaml_text import read_document

from touchline_stage_engine.core.simulation import Trigger

FACTS = ("stage-changed", "customer-stalled", "customer-recovered")


def read_triggers(folder: Path) -> list[Trigger]:
    """The triggers of every play of a folder (``*.yaml``, ``*.yml``), by file name.

    Raises:
        ConfigurationError: the folder is missing, or a file is no play.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"--plays {folder} is no folder: name the one of TOUCHLINE_PLAYS_DIR")
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
        raise ConfigurationError("plays can't be read (touchline-notifier check says more):\n" + "\n".join(problems))
    return triggers


def _trigger(document: Any) -> Trigger:
    if not isinstance(document, dict) or not isinstance(document.get("play"), str):
        raise ValueError("is no play: write play: and its name")
    when = document.get("when")
    if not isinstance(when, dict) or when.get("fact") not in FACTS:
        raise ValueError(f"when.fact must be one of {', '.join(FACTS)}")
    return Trigger.of(document["play"], when)
