"""Plans the replay of a dead letter: publish it again, read it again, or neither, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from urllib.parse import parse_qsl, urlsplit

from touchline_runtime.http.credentials import basic_authorization
from touchline_schemas.events.dead_letters import ERROR, ORIGIN, REASON, TRUNCATED
from touchline_schemas.topics import TOUCHPOINTS

from touchline_ingest.core.access.configured_sources import KEYED_KINDS, SourceEntry, Sources
from touchline_ingest.core.sources.interface import Request, Source, SourceConfig
from touchline_ingest.core.sources.registry import Registry
from touchline_ingest.core.touchpoints.records import NAMED_BY, ORIGIN_HEADERS, SOURCE, URL, Record

_OURS = frozenset((REASON, ERROR, ORIGIN, TRUNCATED))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter as it is on the topic.

    Attributes:
        at: when it was written there.
    """

    partition: int
    offset: int
    at: datetime
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    @property
    def id(self) -> str:
        """The id that commands use: partition/offset."""
        return f"{self.partition}/{self.offset}"

    def header(self, name: str) -> str:
        """The last header of that name as text; empty when there is none."""
        found = [value for header, value in self.headers if header == name]
        return found[-1].decode("utf-8", "replace") if found else ""

    @property
    def reason(self) -> str:
        """The reason: a constant."""
        return self.header(REASON)

    @property
    def origin(self) -> str:
        """Topic/partition/offset, or the endpoint."""
        return self.header(ORIGIN)

    @property
    def source(self) -> str:
        """The source's name, for a request."""
        return self.header(SOURCE)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are chosen; None does not restrict."""

    ids: frozenset[str] | None = None
    reason: str | None = None
    origin: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, dead_letter: DeadLetter) -> bool:
        """Whether a dead letter is chosen. ``origin`` is a prefix."""
        return (
            (self.ids is None or dead_letter.id in self.ids)
            and (self.reason is None or dead_letter.reason == self.reason)
            and (self.origin is None or dead_letter.origin.startswith(self.origin))
            and (self.source is None or dead_letter.source == self.source)
            and (self.since is None or dead_letter.at >= self.since)
            and (self.until is None or dead_letter.at < self.until)
        )

    @property
    def matches_all(self) -> bool:
        """Whether nothing restricts it."""
        return self == Filter()


@dataclass(frozen=True, slots=True)
class PublishAgain:
    """Publish it to the topic it was read from, byte for byte."""

    record: Record


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """Let its source read it, as of the time it was received, and publish what it returns now."""

    request: Request
    entry: SourceEntry
    source: Source
    config: SourceConfig
    named_by: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class CannotReplay:
    """It can't be replayed; the reason says why."""

    reason: str


Replay: TypeAlias = PublishAgain | ReadAgain | CannotReplay


def plan(dead_letter: DeadLetter, *, sources: Sources, registry: Registry, prefix: str) -> Replay:
    """What a replay of a dead letter does.

    Args:
        prefix: of this installation's topics.
    """
    if dead_letter.header(TRUNCATED) == "true":
        return CannotReplay("its value was cut at the topic's limit: the original has to be sent again")
    if dead_letter.origin.startswith("/"):
        return _read_again(dead_letter, sources, registry)
    topic = dead_letter.origin.rsplit("/", 2)[0]
    if topic != TOUCHPOINTS.full_name(prefix):
        return CannotReplay(f"only touchpoints can be published again here, and it was read from {topic or 'nowhere'}")
    headers = [(name, value) for name, value in dead_letter.headers if name not in _OURS]
    return PublishAgain(Record(dead_letter.key, dead_letter.value, headers))


def _read_again(dead_letter: DeadLetter, sources: Sources, registry: Registry) -> Replay:
    entry = sources.entries.get(dead_letter.source)
    if entry is None:
        return CannotReplay(f"the sources file has no source {dead_letter.source!r} any more")
    kind = entry.kind
    if not dead_letter.origin.startswith("/v1/webhooks/"):
        kind = "cloudevents" if dead_letter.origin == "/v1/cloudevents" else "segment"
    source = registry.get(kind)
    if source is None:
        return CannotReplay(f"there is no source of kind {kind!r} any more")
    config = entry.config_as(kind)
    headers = {
        name: value.decode("utf-8", "replace")
        for name, value in dead_letter.headers
        if name not in _OURS and name not in ORIGIN_HEADERS
    }
    url = dead_letter.header(URL) or dead_letter.origin
    query = dict(parse_qsl(urlsplit(url).query))
    if kind not in KEYED_KINDS:
        query, headers = _with_credentials(query, headers, config)
    return ReadAgain(
        request=Request("POST", url, headers, dead_letter.value, query),
        entry=entry,
        source=source,
        config=config,
        named_by=dead_letter.header(NAMED_BY),
        received_at=dead_letter.at,
    )


def _with_credentials(
    query: Mapping[str, str], headers: Mapping[str, str], config: SourceConfig
) -> tuple[dict[str, str], dict[str, str]]:
    """The request with the credentials that were removed before it was stored; it was authenticated with them.

    A source that checks a signature ignores both.
    """
    if not config.secrets:
        return dict(query), dict(headers)
    secret = config.secrets[0]
    return {**query, "token": secret}, {**headers, "authorization": basic_authorization(secret)}
