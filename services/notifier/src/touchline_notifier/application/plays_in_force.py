"""The plays and endpoints of a notifier, parsed and checked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.yaml.positions import Fault

from touchline_notifier.core.delivery.channel import Channel
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.limits.limits import ways_by_topic
from touchline_notifier.core.plays.built_in_lifecycles import BUILT_IN
from touchline_notifier.core.plays.parse import (
    KnownLifecycle,
    ParsedPlays,
    check_lifecycles,
    check_play_endpoints,
    equal_priorities,
    read_plays,
    with_endpoint,
)
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.profiles.sending_rule import Way
from touchline_notifier.core.texts.bundles import Bundle

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ConfiguredFiles:
    """What the notifier's files contain.

    Attributes:
        plays: (path, text) of each play, with the templates that it names.
        bundles: the same by path, with the files that its lines are from.
        endpoints: by name.
        endpoints_file: where they are from, for messages; None: no file is configured.
        lifecycles: of a folder of one's own.
        shipped: paths of ``plays`` that are of the package. What is published replaces them.
    """

    plays: Sequence[tuple[str, str]]
    endpoints: Mapping[str, Endpoint]
    endpoints_file: str | None = None
    lifecycles: Sequence[KnownLifecycle] = ()
    shipped: frozenset[str] = frozenset()
    bundles: Mapping[str, Bundle] = field(default_factory=dict)

    def located(self, faults: Iterable[Fault]) -> list[Fault]:
        """Faults with the files that their lines are from."""
        return [self.bundles[one.file].located(one) if one.file in self.bundles else one for one in faults]

    def known_lifecycles(self) -> list[KnownLifecycle]:
        """The built-in lifecycles and those of the folder, which replace built-in ones of the same name."""
        return list({lifecycle.name: lifecycle for lifecycle in (*BUILT_IN, *self.lifecycles)}.values())


@dataclass(frozen=True, slots=True)
class PlaySource:
    """Where a play comes from.

    Attributes:
        version: the published version; 0: of the package, or of a file.
        by_file: it is defined by a file of a folder, and changes with it alone.
        switched_on: the switch of a published play.
    """

    text: str
    version: int = 0
    by_file: bool = False
    switched_on: bool = True


@dataclass(frozen=True)
class PlaysInForce:
    """Plays and endpoints that passed the checks. Lifecycles are checked when the engine's are known."""

    parsed: ParsedPlays
    plays: dict[str, Play]
    endpoints: dict[str, Endpoint]
    sources: dict[str, PlaySource] = field(default_factory=dict)

    @classmethod
    def none(cls) -> "PlaysInForce":
        """Before the files are read."""
        return cls(ParsedPlays(), {}, {})

    def replace(self, other: "PlaysInForce") -> None:
        """Take over the plays and endpoints of another one; the API keeps the mappings it has."""
        self.plays.clear()
        self.plays.update(other.plays)
        self.endpoints.clear()
        self.endpoints.update(other.endpoints)
        self.sources.clear()
        self.sources.update(other.sources)

    @property
    def in_files(self) -> frozenset[str]:
        """The plays that change with their files alone."""
        return frozenset(name for name, source in self.sources.items() if source.by_file)

    def topics(self, to_customers: frozenset[str]) -> dict[str, frozenset[Way]]:
        """The consent channels of the plays that ask for consent: what a customer may choose to get, and by which ways.

        Args:
            to_customers: the channels that write to customers.
        """
        return ways_by_topic(self.plays.values(), to_customers)

    def faults_with(self, known: Sequence[KnownLifecycle]) -> list[Fault]:
        """What is wrong with the plays' lifecycles and stages."""
        return check_lifecycles(self.parsed, known)


def parse_files(files: ConfiguredFiles, channels: Mapping[str, Channel], *, to_run: bool = True) -> PlaysInForce:
    """Parse and check plays and endpoints.

    Args:
        to_run: every play needs its endpoint. A preview sends nothing, and needs none.

    Raises:
        ConfigurationError: everything that is wrong, with file, line, path and what to write.
    """
    wrong = check_endpoints(files.endpoints.values(), channels)
    parsed = read_plays(files.plays)
    faults = list(parsed.faults)
    if to_run:
        named = files.endpoints_file or "TOUCHLINE_ENDPOINTS_FILE (not set)"
        faults += check_play_endpoints(parsed, files.endpoints, channels, named)
    if to_run and (wrong or faults):
        # The engine's lifecycles are not known yet. Report what can be checked without them at the same time.
        faults += [
            fault._replace(message=f"{fault.message} (built in, and in TOUCHLINE_LIFECYCLES_DIR; the engine not asked)")
            for fault in check_lifecycles(parsed, files.known_lifecycles())
        ]
    if wrong or faults:
        raise cannot_start([*wrong, *map(str, files.located(faults))])
    for warning in files.located((*parsed.warnings, *equal_priorities(parsed, customer_channels(channels)))):
        log.warning("play_warning", warning=str(warning))
    endpoints = dict(files.endpoints)
    plays = {name: with_endpoint(play, endpoints) if to_run else play for name, play in parsed.plays.items()}
    texts = dict(files.plays)
    sources = {
        name: PlaySource(texts[positions.file], by_file=positions.file not in files.shipped)
        for name, positions in parsed.positions.items()
    }
    return PlaysInForce(parsed, plays, endpoints, sources)


def cannot_start(faults: Iterable[str]) -> ConfigurationError:
    """The error with everything that is wrong."""
    return ConfigurationError("\n  ".join(["the notifier can't start:", *faults]))


@dataclass(frozen=True)
class Checked:
    """What ``check`` found: how many plays there are, and how many of them are correct."""

    faults: Sequence[Fault]
    warnings: Sequence[Fault]
    plays: int
    sound: int
    """Plays without faults."""


def check_plays(files: ConfiguredFiles, channels: Mapping[str, Channel]) -> Checked:
    """Check plays as far as that is possible without an engine."""
    parsed = read_plays(files.plays)
    faults = [*parsed.faults, *check_lifecycles(parsed, files.known_lifecycles())]
    if files.endpoints_file is not None:
        faults += check_play_endpoints(parsed, files.endpoints, channels, files.endpoints_file)
    warnings = [*parsed.warnings, *equal_priorities(parsed, customer_channels(channels))]
    sound = len(files.plays) - len({fault.file for fault in faults})
    return Checked(files.located(faults), files.located(warnings), len(files.plays), sound)


def check_endpoints(endpoints: Iterable[Endpoint], channels: Mapping[str, Channel]) -> list[str]:
    """What is wrong with the endpoints, one line each: unknown types, and what their channels miss."""
    wrong = []
    for endpoint in endpoints:
        channel = channels.get(endpoint.type)
        if channel is None:
            known = ", ".join(sorted(channels))
            wrong.append(f"endpoint {endpoint.name}: there is no channel {endpoint.type!r}; there are {known}")
            continue
        wrong.extend(f"endpoint {endpoint.name}: {fault}" for fault in channel.check(endpoint))
    return wrong


def customer_channels(channels: Mapping[str, Channel]) -> frozenset[str]:
    """The channels that write to customers. They need an address, and an unsubscribe link."""
    return frozenset(name for name, channel in channels.items() if channel.needs_address)
