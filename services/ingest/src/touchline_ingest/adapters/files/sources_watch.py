"""The sources in force: read at start, and again when the file changes. A bad file does not replace them."""

import asyncio
import os
import shlex
from pathlib import Path

import structlog
from touchline_runtime.config.secrets import SecretReader, relative_to
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.metrics import Metrics

from touchline_ingest import metrics as declared
from touchline_ingest.adapters.metrics.sources import start_at_zero
from touchline_ingest.core.access.configured_sources import Sources
from touchline_ingest.core.access.sources_file import SourcesFileError, read_sources
from touchline_ingest.core.sources.registry import Registry

log = structlog.get_logger(__name__)

REMEDY = (
    "TOUCHLINE_SOURCES_FILE is not set: it lists the systems that may post, and their keys. To create one:\n"
    "  touchline-ingest keys new shop --file sources.yaml\n"
    "  export TOUCHLINE_SOURCES_FILE=sources.yaml"
)
_MISSING = (
    "TOUCHLINE_SOURCES_FILE={path}: there is no such file (searched from {here}). To create one:\n"
    "  touchline-ingest keys new shop --file {quoted}"
)


def load_sources(path: Path, registry: Registry) -> Sources:
    """The sources in a file.

    Raises:
        ConfigurationError: it can't be read or used; the text says what to write.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        words = _MISSING.format(path=path, here=Path.cwd(), quoted=shlex.quote(str(path)))
        raise ConfigurationError(words) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"TOUCHLINE_SOURCES_FILE={path}: the file can't be read: {reason}") from None
    try:
        return read_sources(text, registry=registry, read_secret=SecretReader(os.environ, relative_to(path)))
    except SourcesFileError as error:
        raise ConfigurationError(f"{path}: {error}") from None


class SourcesWatch:
    """Holds the sources in force. A component: ``run`` checks the file for changes until it is told to stop.

    Raises:
        ConfigurationError: the file can't be used at the start, when there are no earlier sources to keep.
    """

    name = "sources-file"

    def __init__(self, path: Path, registry: Registry, metrics: Metrics, *, every: float = 1.0) -> None:
        self._path = path
        self._registry = registry
        self._every = every
        self._count = metrics.gauge(declared.SOURCES)
        self._bad = metrics.gauge(declared.SOURCES_FILE_BAD)
        self._seen = self._stamp()
        self.sources = load_sources(path, registry)
        self._count.set(len(self.sources.entries))
        self._metrics = metrics
        start_at_zero(metrics, self.sources)

    async def run(self, stopping: asyncio.Event) -> None:
        """Check at intervals: some file systems and mounted secrets report no changes."""
        while not stopping.is_set():
            try:
                async with asyncio.timeout(self._every):
                    await stopping.wait()
            except TimeoutError:
                await asyncio.to_thread(self.check)

    def check(self) -> bool:
        """Read the file again if it has changed. Returns whether new sources are in force."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            sources = load_sources(self._path, self._registry)
        except ConfigurationError as error:
            self._bad.set(1)
            log.error("sources_file_bad", path=str(self._path), error=str(error), kept=len(self.sources.entries))
            return False
        self.sources = sources
        self._bad.set(0)
        self._count.set(len(sources.entries))
        start_at_zero(self._metrics, sources)
        log.info("sources_reloaded", path=str(self._path), sources=sorted(sources.entries))
        return True

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        # A mounted secret is replaced by a link: the inode changes where time and size may not.
        return status.st_mtime_ns, status.st_size, status.st_ino
