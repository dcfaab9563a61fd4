"""The sources as the operator configured them: who may post, by which key, through which doors, on which terms."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from touchline_ingest.core.acceptance import Terms
from touchline_ingest.core.keys import KeyHash, key_hash, opens
from touchline_ingest.core.rate import Rate
from touchline_ingest.core.sources.interface import SourceConfig

# Door → the kinds whose write key opens it. A key of kind `web` stands in pages for all to read: it opens no more
# than what a page has to do.
DOORS: dict[str, frozenset[str]] = {
    "touchpoints": frozenset({"api"}),
    "segment": frozenset({"api", "segment"}),
    "cloudevents": frozenset({"api", "cloudevents"}),
    "web": frozenset({"api", "web"}),
}
KEYED_KINDS = frozenset().union(*DOORS.values())
"""Kinds that are known by a write key; the others prove themselves by a signature or credentials of the vendor's."""


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One source.

    Attributes:
        keys: hashes of the write keys in force.
        config: what a source module gets to see: secrets and options.
        max_bytes: of one body; None: the service's limit.
        origins: web origins that may post from a page; None: any.
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

    def terms(self) -> Terms:
        """On what terms its touchpoints are accepted."""
        return Terms(source=self.name, may_set_stage=self.may_set_stage, types=self.types)

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of that origin may post with this source's key."""
        return self.origins is None or origin.lower() in self.origins

    def config_as(self, kind: str) -> SourceConfig:
        """The configuration for a module of another kind: a key of kind `api` opens several doors."""
        return SourceConfig(self.name, kind, self.config.secrets, self.config.options)


@dataclass(frozen=True)
class SourceBook:
    """All sources, by name."""

    entries: Mapping[str, SourceEntry] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[SourceEntry]) -> "SourceBook":
        """A book of these entries."""
        return cls({entry.name: entry for entry in entries})

    def opened_by(self, key: str, door: str, now: datetime) -> SourceEntry | None:
        """The source whose key this is, if it opens the door. All keys are compared, whichever matches."""
        presented = key_hash(key)
        kinds = DOORS[door]
        found = None
        for entry in self.entries.values():
            if opens(presented, entry.keys, now) and entry.kind in kinds:
                found = entry
        return found
