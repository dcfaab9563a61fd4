"""The sources in force: read at start, read again when the file changes, kept when the new file is bad."""

import asyncio
import os
import shlex
from pathlib import Path

import structlog
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.metrics import Metrics

from touchline_ingest import metrics as declared
from touchline_ingest.core.source_book import SourceBook
from touchline_ingest.core.sources.registry import Registry
from touchline_ingest.core.sources_file import SourcesFileError, read_sources

log = structlog.get_logger(__name__)

REMEDY = (
    "TOUCHLINE_SOURCES_FILE is not set: it names the systems that may post, and their keys. To begin with one:\n"
    "  touchline-ingest keys new shop --file sources.yaml\n"
    "  export TOUCHLINE_SOURCES_FILE=sources.yaml"
)
_MISSING = (
    "TOUCHLINE_SOURCES_FILE={path}: there is no such file (looked for from {here}). To begin one:\n"
    "  touchline-ingest keys new shop --file {quoted}"
)


def fetch_secret(how: str, name: str) -> str:
    """A secret from the environment (``env``) or from a file (``file``; its last line break is not part of it).

    Raises:
        LookupError: it is not there, or empty.
    """
    if how == "env":
        value = os.environ.get(name, "")
        if not value:
            raise LookupError(f"the environment variable {name} is not set")
        return value
    try:
        value = Path(name).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise LookupError(f"the file {name} can't be read: {getattr(error, 'strerror', None) or error}") from None
    if not value:
        raise LookupError(f"the file {name} is empty")
    return value


def load_sources(path: Path, registry: Registry) -> SourceBook:
    """The book in a file.

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
        return read_sources(text, registry=registry, fetch_secret=fetch_secret)
    except SourcesFileError as error:
        raise ConfigurationError(f"{path}: {error}") from None


class SourcesWatch:
    """Holds the book in force. A component: ``run`` looks for a changed file until it is told to stop.

    Raises:
        ConfigurationError: the file can't be used at the start, when there is no earlier one to keep.
    """

    name = "sources-file"

    def __init__(self, path: Path, registry: Registry, metrics: Metrics, *, every: float = 1.0) -> None:
        self._path = path
        self._registry = registry
        self._every = every
        self._count = metrics.gauge(declared.SOURCES)
        self._bad = metrics.gauge(declared.SOURCES_FILE_BAD)
        self._seen = self._stamp()
        self.book = load_sources(path, registry)
        self._count.set(len(self.book.entries))

    async def run(self, stopping: asyncio.Event) -> None:
        """Look every second or so, for file systems and mounted secrets that report no changes."""
        while not stopping.is_set():
            try:
                async with asyncio.timeout(self._every):
                    await stopping.wait()
            except TimeoutError:
                await asyncio.to_thread(self.look)

    def look(self) -> bool:
        """Read the file again if it has changed. Returns whether a new book is in force."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            book = load_sources(self._path, self._registry)
        except ConfigurationError as error:
            self._bad.set(1)
            log.error("sources_file_bad", path=str(self._path), error=str(error), kept=len(self.book.entries))
            return False
        self.book = book
        self._bad.set(0)
        self._count.set(len(book.entries))
        log.info("sources_reloaded", path=str(self._path), sources=sorted(book.entries))
        return True

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        # A mounted secret is swapped by a link: the inode changes where time and size may not.
        return status.st_mtime_ns, status.st_size, status.st_ino
