"""What can be done with a dead letter: publish it again, read it again, or nothing, and why."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from urllib.parse import parse_qsl, urlsplit

from touchline_schemas.dead_letters import ERROR, ORIGIN, REASON, TRUNCATED
from touchline_schemas.topics import TOUCHPOINTS

from touchline_ingest.core.records import NAMED_BY, ORIGIN_HEADERS, SOURCE, URL, Record
from touchline_ingest.core.source_book import KEYED_KINDS, SourceBook, SourceEntry
from touchline_ingest.core.sources.interface import Request, Source, SourceConfig
from touchline_ingest.core.sources.registry import Registry

_OURS = frozenset((REASON, ERROR, ORIGIN, TRUNCATED))


@dataclass(frozen=True, slots=True)
class Letter:
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
        """How commands name it."""
        return f"{self.partition}/{self.offset}"

    def header(self, name: str) -> str:
        """The last header of that name as text; empty when there is none."""
        found = [value for header, value in self.headers if header == name]
        return found[-1].decode("utf-8", "replace") if found else ""

    @property
    def reason(self) -> str:
        """The constant to filter by."""
        return self.header(REASON)

    @property
    def origin(self) -> str:
        """Topic/partition/offset, or the endpoint."""
        return self.header(ORIGIN)

    @property
    def source(self) -> str:
        """The source's name, where it came in by a door."""
        return self.header(SOURCE)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant; what is None says nothing."""

    ids: frozenset[str] | None = None
    reason: str | None = None
    origin: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def chooses(self, letter: Letter) -> bool:
        """Whether a letter is meant. ``origin`` is the beginning of it."""
        return (
            (self.ids is None or letter.id in self.ids)
            and (self.reason is None or letter.reason == self.reason)
            and (self.origin is None or letter.origin.startswith(self.origin))
            and (self.source is None or letter.source == self.source)
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
        )

    @property
    def chooses_all(self) -> bool:
        """Whether nothing was said."""
        return self == Filter()


@dataclass(frozen=True, slots=True)
class PublishAgain:
    """To the topic it was read from, byte for byte."""

    record: Record


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """By its source, as of when it came in: what is understood now is published."""

    request: Request
    entry: SourceEntry
    source: Source
    config: SourceConfig
    named_by: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class CannotReplay:
    """And why not."""

    reason: str


Replay: TypeAlias = PublishAgain | ReadAgain | CannotReplay


def plan(letter: Letter, *, book: SourceBook, registry: Registry, prefix: str) -> Replay:
    """What a replay of a letter does.

    Args:
        prefix: of this installation's topics.
    """
    if letter.header(TRUNCATED) == "true":
        return CannotReplay("its value was cut at the topic's limit: the original has to be sent again")
    if letter.origin.startswith("/"):
        return _read_again(letter, book, registry)
    topic = letter.origin.rsplit("/", 2)[0]
    if topic != TOUCHPOINTS.full_name(prefix):
        return CannotReplay(f"only touchpoints can be published again here, and it was read from {topic or 'nowhere'}")
    headers = [(name, value) for name, value in letter.headers if name not in _OURS]
    return PublishAgain(Record(letter.key, letter.value, headers))


def _read_again(letter: Letter, book: SourceBook, registry: Registry) -> Replay:
    entry = book.entries.get(letter.source)
    if entry is None:
        return CannotReplay(f"the sources file has no source {letter.source!r} any more")
    kind = entry.kind
    if not letter.origin.startswith("/v1/webhooks/"):
        kind = "cloudevents" if letter.origin == "/v1/cloudevents" else "segment"
    source = registry.get(kind)
    if source is None:
        return CannotReplay(f"there is no source of kind {kind!r} any more")
    config = entry.config_as(kind)
    headers = {
        name: value.decode("utf-8", "replace")
        for name, value in letter.headers
        if name not in _OURS and name not in ORIGIN_HEADERS
    }
    url = letter.header(URL) or letter.origin
    query = dict(parse_qsl(urlsplit(url).query))
    if kind not in KEYED_KINDS:
        query, headers = _with_credentials(query, headers, config)
    return ReadAgain(
        request=Request("POST", url, headers, letter.value, query),
        entry=entry,
        source=source,
        config=config,
        named_by=letter.header(NAMED_BY),
        received_at=letter.at,
    )


def _with_credentials(
    query: Mapping[str, str], headers: Mapping[str, str], config: SourceConfig
) -> tuple[dict[str, str], dict[str, str]]:
    """The credentials that were taken off before it was kept: it had proven genuine with them.

    A source that checks a signature looks at neither.
    """
    if not config.secrets:
        return dict(query), dict(headers)
    secret = config.secrets[0]
    basic = base64.b64encode(secret.encode()).decode()
    return {**query, "token": secret}, {**headers, "authorization": f"Basic {basic}"}
