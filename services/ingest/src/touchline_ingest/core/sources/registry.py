"""All sources by kind: those that ship, and those that packages add (entry point group ``touchline.sources``).

A package that can't be loaded does not affect the others: its kind is known to be broken, with the reason, and a
sources file that uses it is refused with that reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from touchline_ingest.core.sources.crm.hubspot import HubSpot
from touchline_ingest.core.sources.crm.pipedrive import Pipedrive
from touchline_ingest.core.sources.crm.salesforce import Salesforce
from touchline_ingest.core.sources.interface import (
    NeedsCertificate,
    ReadResult,
    Request,
    RequestRejection,
    Source,
    SourceConfig,
    Understood,
)
from touchline_ingest.core.sources.mail.mailgun import Mailgun
from touchline_ingest.core.sources.mail.postmark import Postmark
from touchline_ingest.core.sources.mail.sendgrid import SendGrid
from touchline_ingest.core.sources.mail.ses import Ses
from touchline_ingest.core.sources.payments.stripe import Stripe
from touchline_ingest.core.sources.standard.cloudevents import CloudEvents
from touchline_ingest.core.sources.standard.segment import Segment
from touchline_ingest.core.sources.standard.standard_webhooks import StandardWebhooks

ENTRY_POINT_GROUP = "touchline.sources"


class PlugIn(Protocol):
    """What is used of an ``importlib.metadata.EntryPoint``: its name is the kind."""

    @property
    def name(self) -> str: ...

    @property
    def value(self) -> str: ...

    def load(self) -> object: ...


@dataclass(frozen=True, slots=True)
class BrokenSource:
    """A kind that can't be used, and why."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Registry:
    """Sources by kind, and what is broken: to be logged at start."""

    sources: dict[str, Source]
    broken: dict[str, BrokenSource] = field(default_factory=dict)

    def get(self, kind: str) -> Source | None:
        """The source of a kind, or None."""
        return self.sources.get(kind)

    def check(self, config: SourceConfig) -> Sequence[str]:
        """What is wrong with a configuration: its kind, or what the source says about the rest."""
        source = self.sources.get(config.kind)
        if source is not None:
            return list(source.check(config))
        if config.kind in self.broken:
            return [f"kind: {config.kind!r} can't be used: {self.broken[config.kind].reason}"]
        return [f"kind: {config.kind!r} is unknown; write one of {', '.join(sorted(self.sources))}"]


def built_in() -> list[Source]:
    """One instance of every source that ships."""
    return [
        Segment(),
        CloudEvents(),
        StandardWebhooks(),
        Stripe(),
        HubSpot(),
        SendGrid(),
        Mailgun(),
        Postmark(),
        Ses(),
        Pipedrive(),
        Salesforce(),
    ]


def build_registry(plug_ins: Iterable[PlugIn] = ()) -> Registry:
    """The registry of everything that ships and of the given plug-ins.

    Args:
        plug_ins: ``importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)``.
    """
    sources: dict[str, Source] = {source.kind: source for source in built_in()}
    shipped = frozenset(sources)
    broken: dict[str, BrokenSource] = {}
    for plug_in in plug_ins:
        kind = plug_in.name
        if kind in shipped:
            # The built-in source keeps working.
            broken[kind] = BrokenSource(kind, f"{plug_in.value} has the name of a kind that ships: give it another")
            continue
        if kind in sources:
            del sources[kind]
            broken[kind] = BrokenSource(kind, f"two packages add it, {plug_in.value} is the second: remove one")
            continue
        if kind in broken:
            continue
        loaded = _load(plug_in)
        if isinstance(loaded, BrokenSource):
            broken[kind] = loaded
        else:
            sources[kind] = loaded
    return Registry(sources, broken)


def _load(plug_in: PlugIn) -> Source | BrokenSource:
    try:
        loaded = plug_in.load()
        source = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:  # an error in one package's module does not affect the others
        return BrokenSource(plug_in.name, f"{plug_in.value} fails to load: {type(error).__name__}: {error}")
    if not isinstance(source, Source):
        return BrokenSource(plug_in.name, f"{plug_in.value} has no kind, check and read: it is no source")
    if source.kind != plug_in.name:
        return BrokenSource(plug_in.name, f"{plug_in.value} calls itself {source.kind!r}: use one name for both")
    return Guarded(source)


class Guarded:
    """Somebody else's source, kept from taking the service down: what it raises becomes a refusal or a problem."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.kind = source.kind

    def check(self, config: SourceConfig) -> Sequence[str]:
        """What the source says, or that it failed."""
        try:
            return [str(problem) for problem in self._source.check(config)]
        except Exception as error:
            return [f"kind: {self.kind!r} fails to check its settings: {type(error).__name__}: {error}"]

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """What the source reads; 503 when it raises or returns something else, so that the sender tries again."""
        try:
            reading: object = self._source.read(request, config, now)
        except Exception as error:
            return _failed(f"{type(error).__name__}: {error}")
        if isinstance(reading, Understood | RequestRejection | NeedsCertificate):
            return reading
        return _failed(f"read() returned {type(reading).__name__}")


def _failed(cause: str) -> RequestRejection:
    return RequestRejection(
        503,
        "source failed",
        "The source's reader failed; nothing was taken. Send it again.",
        {"Retry-After": "60"},
        cause,
    )
