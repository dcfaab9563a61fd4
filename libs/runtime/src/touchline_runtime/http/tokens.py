"""API tokens and their roles: ``TOUCHLINE_API_TOKENS`` and ``TOUCHLINE_TOKENS_FILE``.

::

    tokens:                                  # TOUCHLINE_TOKENS_FILE
      - {name: ada, role: editor, token_sha256: <hex of SHA-256 of the token>}

A token of ``TOUCHLINE_API_TOKENS`` is an operator. Only hashes are kept. A text that can't be a token (empty, a
separator, the hash of an empty text) is an error at start: it is never accepted and never ignored.
"""

import enum
import hashlib
import hmac
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from touchline_runtime.config.secrets import EMPTY_HASHES, empty_secret
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.yaml.positions import FaultyDocumentError
from touchline_runtime.yaml.positions import Path as Where
from touchline_runtime.yaml.text import read_document

log = structlog.get_logger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOOK_EVERY = 1.0
_FIELDS = {"name", "role", "token_sha256"}
PERSON_PREFIX = "oidc:"
"""How the names of people begin who signed in by OpenID Connect. No token may have such a name."""


class Role(enum.IntEnum):
    """What a token may do; a role includes the ones before it."""

    VIEWER = 1
    EDITOR = 2
    OPERATOR = 3

    @property
    def label(self) -> str:
        """The name in the tokens file."""
        return self.name.lower()


ROLES = {role.label: role for role in Role}


@dataclass(frozen=True, slots=True)
class Token:
    """One API token.

    Attributes:
        name: whose it is, for logs and audit.
        sha256: lower-case hex.
    """

    name: str
    role: Role
    sha256: str


@dataclass(frozen=True, slots=True)
class TokenSet:
    """The tokens in force."""

    tokens: tuple[Token, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tokens)

    def find(self, presented: str) -> Token | None:
        """The token that was presented, compared in constant time."""
        digest = hashlib.sha256(presented.encode("utf-8", "replace")).hexdigest()
        found = None
        for token in self.tokens:
            if hmac.compare_digest(digest, token.sha256):
                found = token
        return found


def parse_api_tokens(text: str) -> tuple[Token, ...]:
    """The tokens of ``TOUCHLINE_API_TOKENS``: comma-separated, each as it is or as ``sha256:<hex>``.

    Raises:
        ValueError: one is empty or can't be a token; the text never holds a token.
    """
    if not text:
        return ()
    parts = [part.strip() for part in text.split(",")]
    tokens = []
    for number, part in enumerate(parts, 1):
        which = f"token {number} of {len(parts)}"
        why = empty_secret(part)
        if why is not None:
            raise ValueError(
                f"{which} {why}: write every token, or leave TOUCHLINE_API_TOKENS unset. A variable inside it may not "
                "be set"
            )
        if part.lower().startswith("sha256:"):
            digest = part[len("sha256:") :].strip().lower()
            if not _SHA256.fullmatch(digest):
                raise ValueError(f"{which}: after sha256: there must be the 64 hex digits of the token's SHA-256")
        else:
            digest = hashlib.sha256(part.encode()).hexdigest()
        if digest in EMPTY_HASHES:
            raise ValueError(
                f"{which} is the SHA-256 of an empty text or a separator: the variable that was hashed was not set"
            )
        tokens.append(Token(f"api-token-{number}", Role.OPERATOR, digest))
    return tuple(tokens)


def parse_tokens_file(text: str, file: str) -> tuple[Token, ...]:
    """The tokens of a tokens file.

    Raises:
        FaultyDocumentError: with every fault: file, line, and what to write instead.
    """
    document, positions = read_document(text, file, any_keys=True)
    faults = []

    def wrong(path: Where, message: str, instead: str) -> None:
        faults.append(positions.fault(path, message, instead))

    entries = document.get("tokens") if isinstance(document, dict) else None
    example = "write `tokens:` and under it `- {name: ada, role: viewer, token_sha256: <64 hex digits>}`"
    if not isinstance(entries, list) or not entries:
        wrong(("tokens",), "there are no tokens", example)
        raise FaultyDocumentError(faults)
    tokens: list[Token] = []
    names: set[str] = set()
    digests: dict[str, str] = {}
    for index, entry in enumerate(entries):
        at: Where = ("tokens", index)
        if not isinstance(entry, dict):
            wrong(at, "is not a token", example)
            continue
        for unknown in sorted(set(entry) - _FIELDS):
            wrong((*at, unknown), "is not a field", f"write {', '.join(sorted(_FIELDS))}")
        name, role, digest = entry.get("name"), entry.get("role"), str(entry.get("token_sha256", "")).lower()
        if not isinstance(name, str) or not name.strip():
            wrong((*at, "name"), "is missing or empty", "write whose token it is; the audit log shows it")
        elif name.strip().lower().startswith(PERSON_PREFIX):
            wrong((*at, "name"), f"{name!r} begins like the people of OpenID Connect", "give the token another name")
        elif name in names:
            wrong((*at, "name"), f"{name!r} is used twice", "give each token a name of its own")
        if not isinstance(role, str) or role not in ROLES:
            wrong((*at, "role"), f"{role!r} is not a role", f"write one of {', '.join(ROLES)}")
        if not _SHA256.fullmatch(digest):
            instead = 'write the 64 hex digits of the token\'s SHA-256: printf %s "$TOKEN" | sha256sum'
            wrong((*at, "token_sha256"), "is missing or no SHA-256", instead)
        elif digest in EMPTY_HASHES:
            wrong(
                (*at, "token_sha256"),
                "is the SHA-256 of an empty text or a separator",
                "the hashed variable was not set: set it",
            )
        elif digest in digests:
            wrong((*at, "token_sha256"), f"is also the token of {digests[digest]!r}", "make one token for each name")
        else:
            digests[digest] = str(name)
        names.add(str(name))
        if isinstance(name, str) and isinstance(role, str) and role in ROLES:
            tokens.append(Token(name, ROLES[role], digest))
    if faults:
        raise FaultyDocumentError(faults)
    return tuple(tokens)


def read_tokens_file(path: Path) -> tuple[Token, ...]:
    """The tokens of a file.

    Raises:
        ConfigurationError: it can't be read or used; with what to write instead.
    """
    try:
        return parse_tokens_file(path.read_text(encoding="utf-8-sig"), str(path))
    except FaultyDocumentError as error:
        raise ConfigurationError(f"TOUCHLINE_TOKENS_FILE is not usable:\n  {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"TOUCHLINE_TOKENS_FILE={path}: the file can't be read: {reason}") from None


class Tokens:
    """The tokens in force: those of the environment, and those of a file that is read again when it changes.

    When a changed file is invalid, the tokens in force stay, and ``tokens_file_bad`` is logged.

    Raises:
        ConfigurationError: the file can't be used at start.
    """

    def __init__(
        self, fixed: Iterable[Token] = (), file: Path | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fixed = tuple(fixed)
        self._file = file
        self._clock = clock
        self._stamp = self._stamp_now()
        self._looked = clock()
        self._in_force = self._read()

    @property
    def in_force(self) -> TokenSet:
        """The tokens in force now."""
        if self._file is not None and self._clock() - self._looked >= _LOOK_EVERY:
            self._looked = self._clock()
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._in_force = self._read()
                    log.info("tokens_reloaded", path=str(self._file), tokens=len(self._in_force.tokens))
                except ConfigurationError as error:
                    log.error("tokens_file_bad", path=str(self._file), error=str(error))
        return self._in_force

    def _read(self) -> TokenSet:
        from_file = read_tokens_file(self._file) if self._file is not None else ()
        return TokenSet((*self._fixed, *from_file))

    def _stamp_now(self) -> Any:
        if self._file is None:
            return None
        try:
            status = os.stat(self._file)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
