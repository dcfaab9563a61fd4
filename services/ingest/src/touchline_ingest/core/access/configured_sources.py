"""The sources as the operator configured them: who may post, with which key, to which endpoints, on which terms."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from touchline_ingest.core.access.keys import KeyHash, is_valid, key_hash
from touchline_ingest.core.access.public_keys import PublicTerms
from touchline_ingest.core.access.rate import Rate
from touchline_ingest.core.sources.interface import SourceConfig
from touchline_ingest.core.touchpoints.acceptance import Terms

# Endpoint → the kinds whose write keys are valid for it. A key of kind `web` is readable in web pages: it is valid for
# what a page has to do and nothing else.
KINDS_BY_ENDPOINT: dict[str, frozenset[str]] = {
    "touchpoints": frozenset({"api"}),
    "segment": frozenset({"api", "segment"}),
    "cloudevents": frozenset({"api", "cloudevents"}),
    "web": frozenset({"api", "web"}),
}
KEYED_KINDS = frozenset().union(*KINDS_BY_ENDPOINT.values())
"""Kinds that authenticate with a write key; the others use a signature or credentials of the vendor."""


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One source.

    Attributes:
        keys: hashes of the write keys in force.
        config: what a source module sees: secrets and options.
        max_bytes: of one body; None: the service's limit.
        origins: web origins that may post from a page; None: any.
        public: what its key may post, where the key is readable in web pages; None: the key is secret.
    """

    name: str
    kind: str
    config: SourceConfig
    keys: tuple[KeyHash, ...] = ()
    may_set_stage: bool = False
    types: frozenset[str] | None = None
    rate: Rate | None = None
    max_bytes: int | None = None
    origins: frozenset[str] | None = None
    public: PublicTerms | None = None

    def terms(self) -> Terms:
        """The terms on which its touchpoints are accepted."""
        return Terms(source=self.name, may_set_stage=self.may_set_stage, types=self.types, public=self.public)

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of that origin may post with this source's key."""
        return self.origins is None or origin.lower() in self.origins

    def config_as(self, kind: str) -> SourceConfig:
        """The configuration for a module of another kind: a key of kind `api` is valid for several endpoints."""
        return SourceConfig(self.name, kind, self.config.secrets, self.config.options)


@dataclass(frozen=True)
class Sources:
    """All sources, by name."""

    entries: Mapping[str, SourceEntry] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[SourceEntry]) -> "Sources":
        """These entries."""
        return cls({entry.name: entry for entry in entries})

    def find(self, key: str, endpoint: str, now: datetime) -> SourceEntry | None:
        """The source whose key this is, if it is valid for the endpoint. All keys are compared, whichever matches."""
        presented = key_hash(key)
        kinds = KINDS_BY_ENDPOINT[endpoint]
        found = None
        for entry in self.entries.values():
            if is_valid(presented, entry.keys, now) and entry.kind in kinds:
                found = entry
        return found
