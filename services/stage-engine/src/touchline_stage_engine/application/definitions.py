"""The catalogue: which versions of which lifecycles are in force, as recorded when they first ran."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

import orjson
import structlog
from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_runtime.publishing.polling import keep_looking
from touchline_schemas.times import parse_instant

from touchline_stage_engine.application.errors import Interrupted
from touchline_stage_engine.application.ports import DefinitionStore
from touchline_stage_engine.application.values import BUILTIN, FILE, PUBLISHED, StoredDefinition
from touchline_stage_engine.core.definitions.compile import compile_definition
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.core.definitions.timeline import Effective, Timeline
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.generation import Generation

log = structlog.get_logger(__name__)

ALL_TIME = -(1 << 62)
"""The start of a version that is in force for all time."""


class Written(NamedTuple):
    """A definition with its text and the file it was read from. ``origin``: FILE (of a folder) or BUILTIN."""

    definition: Definition
    text: str
    file: str
    origin: str = FILE


class Chosen(NamedTuple):
    """What the settings say should run.

    Attributes:
        written: definitions of the folder and built-in ones.
        published: names that are neither in the folder nor built in: they must have been published.
        in_files: lifecycles of the folder; they change with their files alone.
        known: names that the settings may contain, for messages.
    """

    written: Sequence[Written]
    published: tuple[str, ...] = ()
    in_files: frozenset[str] = frozenset()
    known: tuple[str, ...] = ()


class Version(NamedTuple):
    """A version in force, from an event time on (None: for all time)."""

    definition: Definition
    text: str
    fingerprint: str
    effective_from: int | None


class Catalogue:
    """The versions in force of the running lifecycles."""

    def __init__(self, versions: Sequence[Version], withdrawn: Sequence[tuple[str, int]] = ()) -> None:
        self.versions = tuple(versions)
        self.withdrawn = tuple(withdrawn)
        """(lifecycle, version) of what ran once and does not run any more."""
        self._compiled = [compile_definition(version.definition) for version in versions]

    @property
    def stages(self) -> set[tuple[str, str]]:
        """(lifecycle, stage) of all versions."""
        definitions = [version.definition for version in self.versions]
        return {
            (definition.lifecycle, stage.name)
            for definition in definitions
            for stage in (*definition.stages, *definition.off_path)
        }

    def folds(self, now: int) -> list[Fold]:
        """A fold for each lifecycle, by name. A version with ``on_change: refold`` is included once it is in force."""
        timelines: dict[str, list[Effective]] = {}
        for version, compiled in zip(self.versions, self._compiled, strict=True):
            effective = ALL_TIME if version.effective_from is None else version.effective_from
            if compiled.on_change == "refold" and effective > now and timelines.get(compiled.name):
                continue
            timelines.setdefault(compiled.name, []).append(Effective(effective, compiled))
        return [Fold(Timeline(timelines[name])) for name in sorted(timelines)]

    def generation(self, now: int, rebuilds: int) -> int:
        """Identifies the definitions in force and the rebuilds: customers of another generation are folded again."""
        parts = [
            (version.definition.lifecycle, version.definition.version, version.fingerprint, version.effective_from)
            for version in self.versions
            if not (
                version.definition.on_change == "refold"
                and version.effective_from is not None
                and version.effective_from > now
            )
        ]
        digest = hashlib.sha256(orjson.dumps([parts, rebuilds])).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def generations(self, now: int, rebuilds: int) -> list[Generation]:
        """The generation of each lifecycle, in the order of `folds`."""
        by_name: dict[str, list[Version]] = {}
        for version in self.versions:
            effective = version.effective_from
            earlier = by_name.setdefault(version.definition.lifecycle, [])
            waits = version.definition.on_change == "refold" and effective is not None and effective > now
            if not (waits and earlier):
                earlier.append(version)
        return [_generation(by_name[name], rebuilds) for name in sorted(by_name)]

    def next_change(self, now: int) -> int | None:
        """When the next version with ``on_change: refold`` comes into force."""
        times = [
            version.effective_from
            for version in self.versions
            if version.definition.on_change == "refold"
            and version.effective_from is not None
            and version.effective_from > now
        ]
        return min(times, default=None)


def _generation(versions: Sequence[Version], rebuilds: int) -> Generation:
    ordered = sorted(versions, key=lambda version: version.definition.version)
    refolds = [index for index, version in enumerate(ordered) if version.definition.on_change == "refold"]
    ordered = ordered[refolds[-1] if refolds else 0 :]

    def number(upto: int) -> int:
        parts = [
            # The first is also in force for all time before it.
            (version.definition.version, version.fingerprint, version.effective_from if index else None)
            for index, version in enumerate(ordered[:upto])
        ]
        digest = hashlib.sha256(orjson.dumps([parts, rebuilds])).digest()
        return (int.from_bytes(digest[:8], "big") >> 2) + 1

    def since(upto: int) -> int:
        return min(ALL_TIME if version.effective_from is None else version.effective_from for version in ordered[upto:])

    return Generation(number(len(ordered)), {number(upto): since(upto) for upto in range(1, len(ordered))})


async def record(store: DefinitionStore, chosen: Chosen, now: int) -> Catalogue:
    """Record the definitions to run, and read every version of them that ever ran, and what was published.

    A published lifecycle runs on every engine, also where TOUCHLINE_LIFECYCLES does not name it. Published versions
    follow a built-in one. A folder's file takes precedence over both.

    Raises:
        ConfigurationError: a version was recorded before with another text, or a name is not known.
    """
    async with store.transaction() as table:
        published = [name for name in await table.published() if name not in chosen.in_files]
        unknown = [name for name in chosen.published if name not in published]
        if unknown:
            raise ConfigurationError(
                f"TOUCHLINE_LIFECYCLES names {unknown[0]!r}, which is not a known lifecycle; known lifecycles: "
                f"{', '.join(sorted({*chosen.known, *published}))}"
            )
        written = [item for item in chosen.written if item.definition.lifecycle not in published]
        newest: dict[str, int] = {}
        for item in written:
            definition = item.definition
            newest[definition.lifecycle] = max(definition.version, newest.get(definition.lifecycle, 0))
        for item in sorted(written, key=lambda item: (item.definition.lifecycle, item.definition.version)):
            await table.add(_stored(item), now)
        versions = await table.versions_of([*newest, *published])
        fingerprints = {(version.name, version.version): version.fingerprint for version in versions}
        for item in written:
            definition = item.definition
            if fingerprints[definition.lifecycle, definition.version] != definition.fingerprint:
                raise ConfigurationError(
                    f"{item.file}: version {definition.version} of lifecycle {definition.lifecycle} was started before "
                    f"with another text: write version: {max(newest[definition.lifecycle], definition.version) + 1}, "
                    "or restore the text (it is kept in the database, table lifecycles)"
                )
        for version in versions:
            if version.name in published and version.running:
                newest[version.name] = max(version.version, newest.get(version.name, 0))
        changed = await table.mark_running(newest)
        withdrawn = await table.withdrawn()
    for name, number, running in changed:
        if not running:
            log.warning(
                "lifecycle_version_withdrawn", lifecycle=name, version=number, in_force=newest.get(name),
                effect="customers are folded again under the version in force"
                if name in newest
                else "the lifecycle is switched off; its stages are kept until it is switched on again",
            )  # fmt: skip
    # A version above those of the files was rolled back.
    return Catalogue([_in_force(version) for version in versions if version.version <= newest[version.name]], withdrawn)


def _in_force(version: StoredDefinition) -> Version:
    return Version(
        read_definition(version.text, f"{version.name} version {version.version}"),
        version.text,
        version.fingerprint,
        version.effective_from,
    )


def _stored(item: Written) -> StoredDefinition:
    definition = item.definition
    effective_from = None if definition.effective_from is None else parse_instant(definition.effective_from)
    return StoredDefinition(
        definition.lifecycle, definition.version, definition.fingerprint, item.text, effective_from, item.origin
    )


class DefinitionsInForce:
    """The definitions that this process folds by: those of its files, and what is published while it runs.

    Args:
        chosen: what the settings say should run; its files are read once, at the start.
        announce: called with the catalogue after every change, until it succeeds.

    Attributes:
        revision: rises with every change.
        on_change: called after every change.
    """

    name = "definitions"

    def __init__(
        self,
        store: DefinitionStore | None,
        chosen: Chosen,
        catalogue: Catalogue,
        announce: Callable[[Catalogue], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._in_files = {item.definition.lifecycle for item in chosen.written if item.origin == FILE}
        self._builtin = {item.definition.lifecycle for item in chosen.written if item.origin == BUILTIN}
        self._known_files = chosen.in_files
        self._announce = announce
        self._announced = True
        self._lock = asyncio.Lock()
        self.catalogue = catalogue
        self.revision = 0
        self.on_change: Callable[[], None] = lambda: None

    @classmethod
    def fixed(cls, catalogue: Catalogue) -> "DefinitionsInForce":
        """Definitions that never change."""
        return cls(None, Chosen(()), catalogue)

    async def refresh(self) -> None:
        """Take up what was published since.

        A new owner of a partition calls it after it has acquired the lease: it then folds by nothing older than its
        predecessor did.

        Raises:
            Interrupted: the database does not answer.
        """
        if self._store is None:
            return
        async with self._lock:
            running = [version for version in await self._store.running() if self._is_taken_up(version.name)]
            published = {version.name for version in running if version.origin == PUBLISHED}
            names = published | self._builtin
            wanted = [(version.name, version.version, version.effective_from) for version in running]
            wanted = [version for version in wanted if version[0] in names]
            present = [
                (version.definition.lifecycle, version.definition.version, version.effective_from)
                for version in self.catalogue.versions
                if version.definition.lifecycle not in self._in_files
            ]
            if sorted(wanted, key=itemgetter(0, 1)) == sorted(present, key=itemgetter(0, 1)):
                return
            versions, withdrawn = await self._store.load(sorted(names))
            kept = [version for version in self.catalogue.versions if version.definition.lifecycle in self._in_files]
            self.catalogue = Catalogue([*kept, *(_in_force(version) for version in versions)], withdrawn)
            self.revision += 1
            self._announced = self._announce is None
            self.on_change()
            log.info("definitions_changed", lifecycles=sorted(wanted, key=itemgetter(0, 1)))

    def _is_taken_up(self, name: str) -> bool:
        """A file of the folder takes precedence, also where TOUCHLINE_LIFECYCLES leaves it out."""
        return name not in self._known_files

    async def run(self, stopping: asyncio.Event) -> None:
        """Take up and announce what is published, until stopping."""
        passing = (Interrupted, Unavailable)
        await keep_looking(self._look, stopping, event="definitions_not_read", passing=passing)

    async def _look(self) -> None:
        await self.refresh()
        if not self._announced and self._announce is not None:
            revision = self.revision
            await self._announce(self.catalogue)
            self._announced = revision == self.revision
