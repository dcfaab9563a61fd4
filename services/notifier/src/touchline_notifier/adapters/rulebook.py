"""The plays and endpoints of a notifier, read from its files and found sound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.places import Fault

from touchline_notifier.adapters.channels.registry import check_endpoints
from touchline_notifier.adapters.files import own_lifecycles, play_texts, read_endpoints, shipped_plays, texts_of
from touchline_notifier.core.channel import Channel
from touchline_notifier.core.endpoints import Endpoint
from touchline_notifier.core.known_lifecycles import BUILT_IN
from touchline_notifier.core.play import Play
from touchline_notifier.core.reading import (
    KnownLifecycle,
    Reading,
    check_lifecycles,
    check_play_endpoints,
    read_plays,
    with_endpoint,
)
from touchline_notifier.settings import NotifierSettings

log = structlog.get_logger(__name__)


def known_here(settings: NotifierSettings) -> list[KnownLifecycle]:
    """The built-in lifecycles and those in a folder of one's own, which win."""
    return list({one.name: one for one in (*BUILT_IN, *own_lifecycles(settings.lifecycles_dir))}.values())


@dataclass(frozen=True)
class Rulebook:
    """Plays and endpoints, read and found sound; lifecycles are checked when the engine has said which there are."""

    reading: Reading
    plays: dict[str, Play]
    endpoints: dict[str, Endpoint]

    def faults_with(self, known: Sequence[KnownLifecycle]) -> list[Fault]:
        """What is wrong with the plays' lifecycles and stages."""
        return check_lifecycles(self.reading, known)


def read_rulebook(settings: NotifierSettings, channels: Mapping[str, Channel], *, to_run: bool = True) -> Rulebook:
    """Read plays and endpoints.

    Args:
        to_run: every play needs its endpoint. A preview sends nothing, and does without.

    Raises:
        ConfigurationError: everything that is wrong, with file, line, path and what to write.
    """
    endpoints = read_endpoints(settings.endpoints_file)
    wrong = check_endpoints(endpoints.values(), channels)
    reading = read_plays(play_texts(settings.plays_dir, settings.shipped_plays()))
    named = str(settings.endpoints_file or "TOUCHLINE_ENDPOINTS_FILE (not set)")
    faults = list(reading.faults)
    if to_run:
        faults += check_play_endpoints(reading, endpoints, channels, named)
    if to_run and (wrong or faults):
        # What the engine alone knows can't be asked for yet. What is known here is said at the same time.
        faults += [
            fault._replace(message=f"{fault.message} (built in, and in TOUCHLINE_LIFECYCLES_DIR; the engine not asked)")
            for fault in check_lifecycles(reading, known_here(settings))
        ]
    if wrong or faults:
        raise ConfigurationError("\n  ".join(["the notifier can't start:", *wrong, *map(str, faults)]))
    for warning in reading.warnings:
        log.warning("play_warning", warning=str(warning))
    plays = {name: with_endpoint(play, endpoints) if to_run else play for name, play in reading.plays.items()}
    return Rulebook(reading, plays, endpoints)


@dataclass(frozen=True)
class Checked:
    """What ``check`` found: how many plays there are, and how many of them are sound."""

    faults: Sequence[Fault]
    warnings: Sequence[Fault]
    plays: int

    @property
    def sound(self) -> int:
        """Plays without faults."""
        return self.plays - len({fault.file for fault in self.faults})


def check_plays(settings: NotifierSettings, folder: Path, channels: Mapping[str, Channel]) -> Checked:
    """Check the plays of a folder, or of one file, as far as that goes without an engine.

    Raises:
        ConfigurationError: files can't be read.
    """
    texts = texts_of(folder, "DIR")
    reading = read_plays(texts)
    known = known_here(settings)
    faults = [*reading.faults, *check_lifecycles(reading, known)]
    if settings.endpoints_file is not None:
        configured = read_endpoints(settings.endpoints_file)
        faults += check_play_endpoints(reading, configured, channels, str(settings.endpoints_file))
    return Checked(faults, reading.warnings, len(texts))


def read_shipped() -> dict[str, tuple[str, Play]]:
    """The plays that ship: name → (path, play)."""
    return {name: (path, read_plays([(path, text)]).plays[name]) for name, (path, text) in shipped_plays().items()}
