"""Secrets in configuration files: a text, ``{env: NAME}``, ``{file: PATH}``, ``{value: TEXT}``, or a list of these.

A relative path is relative to the file that names it, wherever the process was started. The last line breaks of a file
are not part of the secret. Pure but for what :class:`SecretReader` is given.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_PREFIXES = frozenset(("whsec_", "whpk_", "sha256:", "Bearer", "Basic"))

_MISSING = frozenset(("null", "none", "nil", "nan", "undefined", "<no value>", "<nil>", "<none>", "(null)", "(none)"))
_UNEXPANDED = re.compile(r"\$\(.*\)|\$[A-Z_][A-Z0-9_]*|%[A-Z_][A-Z0-9_]*%|\{\{.*\}\}|<%.*%>|<[A-Za-z _-]+>")
"""``$(A)``, ``$A``, ``%A%``, ``{{ a }}``, ``<%= a %>``, ``<a>``."""
_UNEXPANDED_INSIDE = re.compile(r"\$\{[^}]*(?:\}|$)|\$\([A-Za-z_][^)]*\)|\{\{.*\}\}|<%.*%>")

EMPTY_HASHES = frozenset(
    hashlib.sha256((text + end).encode()).hexdigest()
    for text in ("", " ", ",", ":", "-", "null", "None", "undefined")
    for end in ("", "\n", "\r\n")
)
"""SHA-256 of nothing, of a separator or a printed null, and of such a line: of a variable that is not set."""

ReadSecret = Callable[[str, str], str]
"""(``env`` or ``file``, name) → the secret. Raises :class:`SecretError`."""


class SecretError(ValueError):
    """A secret can't be resolved; the text says why and what to write."""


class SecretReader:
    """Reads secrets from the environment and from files.

    Args:
        environ: environment variables.
        read_file: the text of a file by its path as written; see :func:`relative_to`.
    """

    def __init__(self, environ: Mapping[str, str], read_file: Callable[[str], str]) -> None:
        self._environ = environ
        self._read_file = read_file

    def __call__(self, kind: str, name: str) -> str:
        """One secret.

        Args:
            kind: ``env`` or ``file``.

        Raises:
            SecretError: it does not exist, can't be read, or is empty.
        """
        if kind == "env":
            value = self._environ.get(name, "")
            if not value:
                raise SecretError(f"the environment variable {name} is not set")
            return value
        try:
            value = self._read_file(name).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SecretError(f"can't read {name}: {getattr(error, 'strerror', None) or error}") from None
        if not value:
            raise SecretError(f"the file {name} is empty")
        return value


def relative_to(file: Path) -> Callable[[str], str]:
    """Reads files whose relative paths are relative to the directory of ``file``."""
    return lambda path: (file.parent / path).read_text(encoding="utf-8")


def resolve_secret(value: Any, read: ReadSecret) -> Any:
    """The text of a secret as a configuration file writes it; a list of texts where it writes several.

    Raises:
        SecretError: it is none of the forms, or can't be read.
    """
    match value:
        case str():
            return value
        case list():
            return [text for item in value for text in _as_list(resolve_secret(item, read))]
        case {"value": str() | list() as texts, **rest} if not rest:
            return _each(texts, str)
        case {"env": str() | list() as names, **rest} if not rest:
            return _each(names, lambda name: read("env", name))
        case {"file": str() | list() as names, **rest} if not rest:
            return _each(names, lambda name: read("file", name))
    raise SecretError("write a text, {env: NAME} or {file: PATH} (or {value: TEXT}), or a list of these")


def _each(names: str | list[Any], read: Callable[[str], str]) -> str | list[str]:
    return read(names) if isinstance(names, str) else [read(str(name)) for name in names]


def _as_list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


def empty_secret(value: str) -> str | None:
    """Why a text can't be a secret, when it is what unset variables leave; None when it may be one.

    Such texts are blank, contain separators alone (``,`` of ``${A},${B}``, ``-`` of ``${A}-${B}``), hold a variable
    that was not expanded, or a program's word for a missing value: ``null`` would be a token that all know.
    """
    text = "".join(character for character in value if character.isprintable()).strip()
    if not text:
        return "is empty"
    if text.strip("\"'").lower() in _MISSING:
        return f"is {text!r}, a missing value: the variable or field that it is made of is not set"
    if not any(character.isalnum() for character in text):
        return f"is {text[:40]!r}, which contains separators alone: a variable that it is made of is not set"
    if text in _PREFIXES:
        return f"is {text!r} and nothing after it: the variable that follows is not set"
    unexpanded = _UNEXPANDED.fullmatch(text) or _UNEXPANDED_INSIDE.search(text)
    if unexpanded is not None:
        # No more than the variable: what is around it may be a part of a secret.
        return f"holds {unexpanded[0][:40]!r}, a variable that was not expanded"
    return None
