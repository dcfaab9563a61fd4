"""The sources file (``TOUCHLINE_SOURCES_FILE``): parsed from YAML 1.2 into sources, or everything that is wrong.

::

    sources:
      - name: shop
        kind: api
        key_sha256: <hex>                    # or a list, of texts or {sha256: <hex>, until: 2026-12-01T00:00:00Z}
        may_set_stage: false
        types: [purchased, page_viewed]      # any, when left out
        rate_limit: 200                      # touchpoints a second, or {per_second: 200, burst: 1000}
        max_bytes: 1000000
        origins: [https://shop.example.org]  # pages that may post with the key; any, when left out
        public: true                         # the key is visible in pages; the default of kind web
        identity_secret: {env: SITE_SECRET}  # user_hash: what names a known customer has to be signed with it
        trust_pages: false                   # true: pages may say addresses and traits unverified
      - name: mailer
        kind: sendgrid
        secret: {env: SENDGRID_PUBLIC_KEY}   # or {file: path}, {value: text}, or a list of these while rotating
        options: {…}                         # the kind's own; they may also be beside the other fields
"""

import difflib
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from touchline_runtime.config.secrets import EMPTY_HASHES, ReadSecret, SecretError, empty_secret, resolve_secret
from touchline_runtime.yaml.positions import FaultyDocumentError, SourcePositions
from touchline_runtime.yaml.text import read_document
from touchline_schemas.touchpoint_types import NOTIFIER_SOURCE

from touchline_ingest.core.access.configured_sources import KEYED_KINDS, SourceEntry, Sources
from touchline_ingest.core.access.keys import KeyHash, key_end
from touchline_ingest.core.access.public_keys import PublicTerms
from touchline_ingest.core.access.rate import Rate
from touchline_ingest.core.sources.interface import SourceConfig
from touchline_ingest.core.sources.registry import Registry

_FIELDS = (
    "name", "kind", "key_sha256", "secret", "may_set_stage", "types", "rate_limit", "max_bytes", "origins", "options",
    "public", "identity_secret", "trust_pages",
)  # fmt: skip
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class SourcesFileError(ValueError):
    """A sources file that can't be used; ``problems`` holds one each, with its line and what to write instead."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n  ".join(["the sources file is not usable:", *problems]))
        self.problems = problems


def read_sources(text: str, *, registry: Registry, read_secret: ReadSecret) -> Sources:
    """Read a sources file.

    Args:
        registry: the source of each kind of webhook, Segment and CloudEvents.
        read_secret: looks up a secret in the environment or in a file.

    Raises:
        SourcesFileError: with everything that is wrong, not just the first thing.
    """
    try:
        document, positions = read_document(text, any_keys=True)
    except FaultyDocumentError as error:
        raise SourcesFileError([str(fault) for fault in error.faults]) from None
    entries = document.get("sources") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise SourcesFileError(["write `sources:` and under it one entry a source: `- {name: shop, kind: api, …}`"])
    problems: list[str] = []
    found: dict[str, SourceEntry] = {}
    owners: dict[str, str] = {}
    for number, raw in enumerate(entries, 1):
        reader = _Entry(raw, number, positions, registry, read_secret)
        entry = reader.read()
        if entry is not None and entry.name in found:
            reader.wrong("name", "is used twice; each source needs its own, for ids are unique per source")
        if entry is not None:
            for key in entry.keys:
                owner = owners.setdefault(key.sha256, entry.name)
                if owner != entry.name:
                    problem = (
                        f"is also the key of {owner!r}: each source needs its own key, or they cannot be distinguished"
                    )
                    reader.wrong("key_sha256", problem)
            found[entry.name] = entry
        problems += reader.problems
    if problems:
        raise SourcesFileError(problems)
    return Sources(found)


class _Entry:
    """Reads one entry and collects what is wrong with it."""

    def __init__(
        self, raw: Any, number: int, positions: SourcePositions, registry: Registry, read_secret: ReadSecret
    ) -> None:
        self.problems: list[str] = []
        self._raw: dict[str, Any] = raw if isinstance(raw, dict) else {}
        self._is_mapping = isinstance(raw, dict)
        self._called = f"source {number}"
        self._path = ("sources", number - 1)
        self._positions = positions
        self._registry = registry
        self._read_secret = read_secret

    def wrong(self, field: str, problem: str) -> None:
        self.problems.append(f"{self._where(field)}: {field}: {problem}")

    def _where(self, *inside: str) -> str:
        """Whose entry, and in which line of the file."""
        return f"{self._called} (line {self._positions.line((*self._path, *inside))})"

    def read(self) -> SourceEntry | None:
        if not self._is_mapping:
            self.problems.append(f"{self._where()}: write a mapping: {{name: shop, kind: api, key_sha256: …}}")
            return None
        name = self._raw.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self.wrong("name", "write up to 64 letters, digits and any of _ . - , such as shop")
            return None
        self._called = f"source {name!r}"
        if name == NOTIFIER_SOURCE:
            self.wrong("name", "is reserved for what the notifier reports: choose another")
        kind = self._raw.get("kind")
        if not isinstance(kind, str) or (kind not in KEYED_KINDS and self._registry.get(kind) is None):
            if isinstance(kind, str) and kind in self._registry.broken:
                self.wrong("kind", f"{kind!r} can't be used: {self._registry.broken[kind].reason}")
                return None
            known = sorted(KEYED_KINDS | self._registry.sources.keys())
            near = difflib.get_close_matches(str(kind), known, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            self.wrong("kind", f"{kind!r} is not known{hint}; write one of {', '.join(known)}")
            return None
        keys = self._keys(kind)
        config = SourceConfig(name, kind, self._secrets(), self._options())
        source = self._registry.get(kind)
        if source is not None and not self.problems:
            self.problems += [f"{self._where()}: {problem}" for problem in source.check(config)]
        types = self._texts("types", lambda text: text)
        return SourceEntry(
            name=name,
            kind=kind,
            config=config,
            keys=keys,
            may_set_stage=self._flag("may_set_stage"),
            types=types,
            rate=self._rate(),
            max_bytes=self._positive("max_bytes"),
            origins=self._texts("origins", self._origin),
            public=self._public(kind, types),
        )

    def _keys(self, kind: str) -> tuple[KeyHash, ...]:
        raw = self._raw.get("key_sha256")
        if raw is None:
            if kind in KEYED_KINDS:
                self.wrong("key_sha256", "is missing: `touchline-ingest keys new` makes a key and prints its hash")
            return ()
        if kind not in KEYED_KINDS:
            self.wrong("key_sha256", f"means nothing for kind {kind}: its requests are proven genuine by `secret`")
        keys = []
        for item in raw if isinstance(raw, list) else [raw]:
            digest, until = (item.get("sha256"), item.get("until")) if isinstance(item, dict) else (item, None)
            text = str(digest).lower()
            if not _SHA256.fullmatch(text):
                self.wrong("key_sha256", "write the 64 hex digits of the key's SHA-256, in quotes when all are digits")
                continue
            if text in EMPTY_HASHES:
                self.wrong(
                    "key_sha256",
                    "is the SHA-256 of an empty text or a separator: the variable that was hashed was not set",
                )
                continue
            moment = self._moment(until)
            if until is None or moment is not None:
                keys.append(KeyHash(text, moment))
        return tuple(keys)

    def _moment(self, value: Any) -> datetime | None:
        if value is None:
            return None
        try:
            return key_end(str(value))
        except ValueError:
            self.wrong("until", f"{value!r} is not a time: write 2026-12-01T00:00:00Z")
            return None

    def _public(self, kind: str, types: frozenset[str] | None) -> PublicTerms | None:
        if kind not in KEYED_KINDS:
            for field in ("public", "identity_secret", "trust_pages"):
                if field in self._raw:
                    self.wrong(field, f"means nothing for kind {kind}: it is for keys that are visible in pages")
            return None
        public = self._flag("public") if "public" in self._raw else kind == "web"
        secrets, trusts = self._secrets("identity_secret"), self._flag("trust_pages")
        if not public:
            if kind == "web":
                self.wrong("public", "a key of kind web is visible in pages: use kind api on a server")
            if secrets or trusts:
                self.wrong("public", "set public: true, or leave identity_secret and trust_pages out")
            return None
        if secrets and trusts:
            self.wrong("trust_pages", "means nothing beside identity_secret: keep one of the two")
        if "identity_secret" in self._raw and not secrets:
            self.wrong("identity_secret", "is empty: write {env: NAME}")
        return PublicTerms(secrets, types or frozenset(), trusts)

    def _secrets(self, field: str = "secret") -> tuple[str, ...]:
        raw = self._raw.get(field)
        if raw is None:
            return ()
        try:
            resolved = resolve_secret(raw, self._read_secret)
        except SecretError as error:
            self.wrong(field, str(error))
            return ()
        found = resolved if isinstance(resolved, list) else [resolved]
        for secret in found:
            why = empty_secret(secret)
            if why is not None:
                self.wrong(field, f"{why}: write the secret itself")
        return tuple(found)

    def _options(self) -> dict[str, Any]:
        options = self._raw.get("options") or {}
        if not isinstance(options, dict):
            self.wrong("options", "write a mapping of names to values")
            options = {}
        beside = {name: value for name, value in self._raw.items() if name not in _FIELDS}
        for name in beside:
            near = difflib.get_close_matches(str(name), _FIELDS, 1, cutoff=0.8)
            if near:
                self.wrong(str(name), f"is not a field: did you mean {near[0]}?")
        return {**beside, **options}

    def _flag(self, field: str) -> bool:
        value = self._raw.get(field, False)
        if not isinstance(value, bool):
            self.wrong(field, "write true or false")
            return False
        return value

    def _positive(self, field: str) -> int | None:
        value = self._raw.get(field)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value <= 0):
            self.wrong(field, "write a whole number above zero")
            return None
        return value

    def _rate(self) -> Rate | None:
        raw = self._raw.get("rate_limit")
        if raw is None:
            return None
        given = raw if isinstance(raw, dict) else {"per_second": raw}
        per_second, burst = given.get("per_second"), given.get("burst", given.get("per_second"))
        numbers = [n for n in (per_second, burst) if isinstance(n, int | float) and not isinstance(n, bool) and n > 0]
        if len(numbers) != 2 or set(given) - {"per_second", "burst"}:
            self.wrong("rate_limit", "write touchpoints a second, such as 200, or {per_second: 200, burst: 1000}")
            return None
        # A burst below one touchpoint would let nothing through, ever.
        return Rate(per_second=float(numbers[0]), burst=max(1.0, float(numbers[1])))

    def _texts(self, field: str, normal: Callable[[str], str]) -> frozenset[str] | None:
        raw = self._raw.get(field)
        if raw is None:
            return None
        if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
            self.wrong(field, "write a list of texts")
            return None
        if field == "origins" and "*" in raw:
            return None
        return frozenset(normal(item) for item in raw)

    def _origin(self, text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
            self.wrong("origins", f"{text!r} is not an origin: write scheme and host, such as https://shop.example.org")
        return f"{parts.scheme}://{parts.netloc}".lower()
