"""The plays that this process decides by: those of its files, and what is published while it runs.

Every transaction asks for the plays as they are in the database (:meth:`LivePlays.as_of`), and decides by what it gets
until its end. So a publication applies to every fact that is decided after its commit, on every worker, and each fact
is decided under one version. A play of the process's folder takes precedence over what is published under its name,
which takes precedence over the shipped play of that name.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog
from touchline_runtime.errors import Unavailable
from touchline_runtime.publishing.polling import keep_looking
from touchline_runtime.yaml.positions import Fault

from touchline_notifier.application.deciding.decide import DecisionContext
from touchline_notifier.application.plays.ports import PublishedPlay, PublishedPlays
from touchline_notifier.application.plays_in_force import ConfiguredFiles, PlaysInForce, PlaySource, customer_channels
from touchline_notifier.core.delivery.channel import Channel
from touchline_notifier.core.limits.limits import needs_public_url
from touchline_notifier.core.plays.parse import ParsedPlays, check_play_endpoints, read_plays, with_endpoint

log = structlog.get_logger(__name__)

MakeContext = Callable[[PlaysInForce, frozenset[str]], DecisionContext]
"""Makes what transactions decide by, of the plays in force and the names of withdrawn ones."""


class UnusablePlayError(Unavailable):
    """A published play cannot run in this process. Nothing is decided without it; the text says what to do."""


class DecidingPlays(Protocol):
    """The plays to decide by."""

    async def as_of(self, published: PublishedPlays) -> DecisionContext:
        """The plays as they are in the database now.

        Raises:
            Unavailable: the database does not answer, or a published play cannot run here.
        """


class FixedPlays:
    """Plays that never change; implements :class:`DecidingPlays`."""

    def __init__(self, context: DecisionContext) -> None:
        self._context = context

    async def as_of(self, published: PublishedPlays) -> DecisionContext:
        return self._context


class LivePlays:
    """Implements :class:`DecidingPlays`. A component that keeps ``in_force`` up to date for the API.

    Args:
        published: reads for the component.
        has_public_url: mails to customers can carry an unsubscribe link.

    Attributes:
        in_force: the plays in force, for the API: its mappings stay the same objects.
        latest: the same at one revision, with the positions of everything in its text.
    """

    name = "plays"

    def __init__(self, published: PublishedPlays, channels: Mapping[str, Channel], *, has_public_url: bool) -> None:
        self._published = published
        self.channels = channels
        self.has_public_url = has_public_url
        self.in_force = PlaysInForce.none()
        self.latest = self.in_force
        self._files: ConfiguredFiles | None = None
        self._of_files = PlaysInForce.none()
        self._make_context: MakeContext | None = None
        self._lock = asyncio.Lock()
        self._revision = -1
        self._context: DecisionContext | None = None
        self._parsed: dict[tuple[str, int], ParsedPlays] = {}

    @property
    def files(self) -> ConfiguredFiles:
        """The files of this process.

        Raises:
            Unavailable: they have not been read yet, or are wrong.
        """
        if self._files is None:
            raise Unavailable("the notifier is starting: its files are not read yet, or are wrong; see /readyz")
        return self._files

    async def start(self, files: ConfiguredFiles, of_files: PlaysInForce, make_context: MakeContext) -> PlaysInForce:
        """Begin with the files, and take up what is published; the plays in force.

        Raises:
            Unavailable: see :meth:`DecidingPlays.as_of`.
        """
        async with self._lock:
            self._files, self._of_files, self._make_context = files, of_files, make_context
            self._revision = -1
            self.in_force.replace(of_files)
        await self.refresh()
        return self.latest

    async def refresh(self) -> None:
        """Take up what was published since; see :meth:`as_of`. Before the start there is nothing to do."""
        if self._make_context is not None:
            await self.as_of(self._published)

    async def as_of(self, published: PublishedPlays) -> DecisionContext:
        if self._context is not None and await published.revision() == self._revision:
            return self._context
        # One at a time, so that an older answer never replaces a newer one.
        async with self._lock:
            revision = await published.revision()
            if self._context is None or revision != self._revision:
                self._take(await published.all())
                self._revision = revision
            assert self._context is not None, "set just now"
            return self._context

    def _take(self, published: Sequence[PublishedPlay]) -> None:
        assert self._make_context is not None, "the process has started"
        in_files = self._of_files.in_files
        running = [play for play in published if play.version is not None and play.play not in in_files]
        merged = self._merged(running)
        withdrawn = frozenset(play.play for play in published if play.version is None)
        self._context = self._make_context(merged, withdrawn - merged.plays.keys())
        self.latest = merged
        self.in_force.replace(merged)
        self._parsed = {key: self._parsed[key] for key in self._parsed if key in {play[:2] for play in running}}
        versions = {play.play: play.version for play in running if play.enabled}
        if running or self._revision >= 0:
            log.info("plays_changed", published=versions)

    def _merged(self, running: Sequence[PublishedPlay]) -> PlaysInForce:
        """The plays of the files and the published ones.

        Raises:
            UnusablePlayError: a published play that is switched on cannot run here.
        """
        of_files = self._of_files
        parsed = ParsedPlays(dict(of_files.parsed.plays), positions=dict(of_files.parsed.positions))
        plays, sources = dict(of_files.plays), dict(of_files.sources)
        faults: list[Fault] = []
        for published in running:
            found = self._read(published)
            play = found.plays.get(published.play)
            if published.enabled:
                faults += self._faults(found, published.play)
            parsed.plays.pop(published.play, None)
            parsed.positions.pop(published.play, None)
            plays.pop(published.play, None)
            sources[published.play] = PlaySource(
                published.definition, published.version or 0, switched_on=published.enabled
            )
            if play is None:
                continue  # wrong, and switched off
            if published.enabled:
                parsed.plays[published.play], parsed.positions[published.play] = play, found.positions[published.play]
                plays[published.play] = play
            else:
                plays[published.play] = play.model_copy(update={"enabled": False})
        if faults:
            raise UnusablePlayError("published plays cannot run here:\n  " + "\n  ".join(map(str, faults)))
        for name in parsed.plays:
            plays[name] = with_endpoint(plays[name], of_files.endpoints)
        return PlaysInForce(parsed, plays, dict(of_files.endpoints), sources)

    def _read(self, published: PublishedPlay) -> ParsedPlays:
        key = published.play, published.version or 0
        if key not in self._parsed:
            name = f"play {published.play}, published as version {published.version}"
            self._parsed[key] = read_plays([(name, published.definition)])
        return self._parsed[key]

    def _faults(self, found: ParsedPlays, name: str) -> list[Fault]:
        """What keeps a published play from running in this process. Its lifecycles were checked before."""
        files = self.files
        named = files.endpoints_file or "TOUCHLINE_ENDPOINTS_FILE (not set)"
        faults = [*found.faults, *check_play_endpoints(found, files.endpoints, self.channels, named)]
        return faults + self.missing_public_url(found, name)

    def missing_public_url(self, found: ParsedPlays, name: str) -> list[Fault]:
        """A fault when a play writes to customers, and its unsubscribe and tracked links would have no address."""
        play = found.plays.get(name)
        to_customers = customer_channels(self.channels)
        if self.has_public_url or play is None or not play.enabled or not needs_public_url(play, to_customers):
            return []
        advice = "set TOUCHLINE_NOTIFIER_PUBLIC_URL (or TOUCHLINE_PUBLIC_URL), and restart the notifiers"
        return [
            found.positions[name].fault(path, "mails to customers carry links to this service", advice)
            for path, spec in play.message_paths()
            if needs_public_url(play.with_message(spec), to_customers)
        ]

    async def run(self, stopping: asyncio.Event) -> None:
        """Take up what is published, until stopping."""
        await keep_looking(self.refresh, stopping, event="plays_not_taken_up", passing=Unavailable)
