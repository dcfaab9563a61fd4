"""Managing write keys: create one, rotate with an overlap, revoke. The sources file keeps only their hashes."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from touchline_runtime.config.secrets import ReadSecret
from touchline_runtime.errors import ConfigurationError

from touchline_ingest.application.ports import SourcesDocument
from touchline_ingest.core.access.configured_sources import KEYED_KINDS
from touchline_ingest.core.access.keys import PREFIX, key_hash
from touchline_ingest.core.access.keys_file import KeysFileError, with_new_key, without_key
from touchline_ingest.core.access.sources_file import SourcesFileError, read_sources
from touchline_ingest.core.sources.registry import Registry


def new_key() -> str:
    """A new write key."""
    return PREFIX + secrets.token_urlsafe(32)


def check_kind(kind: str) -> None:
    """Check that sources of a kind have write keys.

    Raises:
        ConfigurationError: they authenticate in another way.
    """
    if kind not in KEYED_KINDS:
        known = ", ".join(sorted(KEYED_KINDS))
        raise ConfigurationError(f"a source of kind {kind!r} has no write key: choose one of {known}")


class KeyManager:
    """Changes the keys in a sources file."""

    def __init__(self, document: SourcesDocument, registry: Registry, read_secret: ReadSecret) -> None:
        self._document = document
        self._registry = registry
        self._read_secret = read_secret

    def add(self, name: str, key: str, *, kind: str, overlap: timedelta) -> None:
        """Add a key to a source; a source that is not in the file is added.

        Args:
            overlap: how long the source's earlier keys stay valid.

        Raises:
            ConfigurationError: the file can't be read, changed or written; it is left as it is.
        """
        check_kind(kind)
        now, digest = datetime.now(UTC), key_hash(key)
        self._change(
            name, lambda text: with_new_key(text, name=name, kind=kind, sha256=digest, now=now, overlap=overlap)
        )

    def revoke(self, name: str, sha256: str) -> None:
        """Remove a key from a source.

        Args:
            sha256: the key's hash, or the beginning of it.

        Raises:
            ConfigurationError: the file can't be read, changed or written; it is left as it is.
        """
        self._change(name, lambda text: without_key(text, name=name, sha256=sha256))

    def _change(self, name: str, change: Callable[[str], str]) -> None:
        try:
            text = change(self._document.read())
        except KeysFileError as error:
            raise ConfigurationError(str(error)) from None
        try:
            read_sources(text, registry=self._registry, read_secret=self._read_secret)
        except SourcesFileError as error:
            # Only problems of the changed source count: other sources' secrets may be absent on this machine.
            others = [
                line
                for line in error.problems
                if line.startswith("source ") and not line.startswith(f"source {name!r}")
            ]
            relevant = [line for line in error.problems if line not in others]
            if relevant:
                raise ConfigurationError("\n  ".join(["the sources file is not changed:", *relevant])) from None
        self._document.replace(text)
