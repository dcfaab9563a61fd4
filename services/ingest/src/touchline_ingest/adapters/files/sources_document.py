"""The text of a sources file, replaced atomically."""

import os
import tempfile
from pathlib import Path

from touchline_runtime.errors import ConfigurationError


class SourcesDocumentFile:
    """A sources file; see :class:`SourcesDocument`.

    Args:
        create: a missing file is empty, and created on the first change.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        self._path = path
        self._create = create

    def read(self) -> str:
        """The text.

        Raises:
            ConfigurationError: the file can't be read.
        """
        if self._create and not self._path.exists():
            return ""
        try:
            return self._path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{self._path} can't be read: {error.strerror}") from None

    def replace(self, text: str) -> None:
        """Replace the text in one step.

        Raises:
            ConfigurationError: the file can't be written.
        """
        mode = self._path.stat().st_mode & 0o777 if self._path.exists() else 0o600
        try:
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False, encoding="utf-8") as out:
                out.write(text)
            os.chmod(out.name, mode)
            os.replace(out.name, self._path)
        except OSError as error:
            raise ConfigurationError(f"{self._path} can't be written: {error.strerror}") from None
