"""Receiving touchpoints: authenticate the source, apply its rate limit, judge the items, publish the accepted ones."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from touchline_runtime.errors import Unavailable
from touchline_runtime.metrics import Metrics
from touchline_schemas.near_misses import near_miss
from touchline_schemas.topics import DEAD_LETTERS, TOUCHPOINTS

from touchline_ingest import metrics as declared
from touchline_ingest.application.ports import Delivery, Publisher
from touchline_ingest.core.access.auth_failures import AuthFailures
from touchline_ingest.core.access.configured_sources import KINDS_BY_ENDPOINT, SourceEntry, Sources
from touchline_ingest.core.access.rate import Bucket, Rate
from touchline_ingest.core.access.source_activity import MOST_BYTES, MOST_EVENTS, MOST_OF_REQUEST, SourceActivity
from touchline_ingest.core.sources.standard.segment import write_key_in_body, write_keys
from touchline_ingest.core.touchpoints.acceptance import Accepted, NameItem, Rejected, Verdict, judge
from touchline_ingest.core.touchpoints.limits import Limits
from touchline_ingest.core.touchpoints.records import Record
from touchline_ingest.core.touchpoints.refusals import BodyTooLarge, RateLimited, TooManyAuthFailures, Unauthorized
from touchline_ingest.core.touchpoints.types_seen import TypesSeen

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of one request.

    Attributes:
        verdicts: one for each item, in order.
        unacknowledged: indices (of the items) that were accepted and that Kafka did not acknowledge.
        reason: why Kafka did not acknowledge them.
    """

    verdicts: Sequence[Verdict]
    unacknowledged: frozenset[int] = field(default_factory=frozenset)
    reason: str = ""

    @property
    def rejected(self) -> list[Rejected]:
        """The items that are not valid touchpoints."""
        return [verdict for verdict in self.verdicts if type(verdict) is Rejected]


class Receiver:
    """Receives the items of all endpoints.

    Args:
        sources: returns the sources in force.
        auth_failure_rate: how many wrong keys of one address are answered 401; the others are answered 429.
    """

    def __init__(
        self,
        *,
        sources: Callable[[], Sources],
        publisher: Publisher,
        metrics: Metrics,
        limits: Limits,
        auth_failure_rate: Rate,
    ) -> None:
        self._sources = sources
        self._publisher = publisher
        self.limits = limits
        self._auth_failures = AuthFailures(auth_failure_rate)
        self.types_seen = TypesSeen()
        self._buckets: dict[str, Bucket] = {}
        self._touchpoints = metrics.counter(declared.TOUCHPOINTS)
        self._limited = metrics.counter(declared.RATE_LIMITED)
        self._dead_letters = metrics.counter(declared.DEAD_LETTERS)
        self.activity: dict[str, SourceActivity] = {}

    @property
    def sources(self) -> Sources:
        """The sources in force."""
        return self._sources()

    def authenticate(self, key: str | None, endpoint: str, address: str) -> SourceEntry:
        """The source of a write key.

        Args:
            address: the client's network address; authentication failures are limited for each.

        Raises:
            Unauthorized: the key is missing, wrong, or not valid for the endpoint.
            TooManyAuthFailures: the address has sent too many of these.
        """
        entry = self.sources.find(key, endpoint, datetime.now(UTC)) if key else None
        if entry is None:
            self.count_auth_failure(address)
            raise Unauthorized("wrong" if key else "missing")
        return entry

    def count_auth_failure(self, address: str) -> None:
        """Count a wrong key or signature.

        Raises:
            TooManyAuthFailures: the address has sent too many.
        """
        wait = self._auth_failures.count_failure(address, time.monotonic())
        if wait:
            raise TooManyAuthFailures(wait)

    def key_in_body(self, body: bytes, endpoint: str) -> str | None:
        """The ``writeKey`` of a body, or None. Only a body that contains a valid key is parsed."""
        now = datetime.now(UTC)
        keys = write_keys(body)
        if any(self.sources.find(key, endpoint, now) for key in keys):
            return write_key_in_body(body)
        return keys[0] if keys else None

    def sources_of(self, endpoint: str) -> list[SourceEntry]:
        """All sources whose key is valid for an endpoint."""
        return [entry for entry in self.sources.entries.values() if entry.kind in KINDS_BY_ENDPOINT[endpoint]]

    def check_count(self, count: int) -> None:
        """Check the number of items in a request.

        Raises:
            BodyTooLarge: more than the limit.
        """
        if count > self.limits.items:
            raise BodyTooLarge(f"{count} items in one request, {self.limits.items} are allowed: send fewer at once")

    def check_rate(self, entry: SourceEntry) -> None:
        """Check that the source may post at least one touchpoint now, before its body is read.

        Raises:
            RateLimited: it may not.
        """
        self._apply_rate(entry, 0)

    def charge(self, entry: SourceEntry, count: int) -> None:
        """Take that many touchpoints from the source's rate limit.

        Raises:
            RateLimited: fewer are left.
        """
        self._apply_rate(entry, count)

    def _apply_rate(self, entry: SourceEntry, count: int) -> None:
        if entry.rate is None:
            return
        now = time.monotonic()
        bucket = self._buckets.get(entry.name)
        if bucket is None or bucket.rate != entry.rate:
            bucket = self._buckets[entry.name] = Bucket(entry.rate, now)
        wait = bucket.take(count, now) if count else bucket.wait_for(1, now)
        if wait:
            self._limited.labels(entry.name).inc()
            raise RateLimited(entry.name, entry.rate.per_second, wait)

    async def accept(self, entry: SourceEntry, items: Sequence[Any], *, endpoint: str, name_item: NameItem) -> Receipt:
        """Judge items, publish the accepted ones, and wait for their acknowledgement. Never raises because of Kafka."""
        receipt = self.judge(entry, items, name_item=name_item)
        return await self.publish(entry, receipt.verdicts, endpoint=endpoint, items=items)

    def judge(self, entry: SourceEntry, items: Sequence[Any], *, name_item: NameItem) -> Receipt:
        """Judge items and publish nothing."""
        return Receipt(judge(items, entry.terms(), now=datetime.now(UTC), name_item=name_item))

    async def publish(
        self, entry: SourceEntry, verdicts: Sequence[Verdict], *, endpoint: str, items: Sequence[Any] = ()
    ) -> Receipt:
        """Publish the accepted touchpoints among the verdicts.

        Args:
            items: the items as posted; rejected ones are shown to operators.
        """
        accepted = [verdict for verdict in verdicts if type(verdict) is Accepted]
        delivery = await self._deliver([verdict.record for verdict in accepted])
        self._note_types(entry, accepted)
        self._count(entry, endpoint, len(accepted), len(verdicts) - len(accepted), len(delivery.unacknowledged))
        self._record_activity(entry, endpoint, verdicts, accepted, len(delivery.unacknowledged), items)
        if delivery.complete:
            return Receipt(verdicts)
        missing = frozenset(accepted[number].index for number in delivery.unacknowledged)
        return Receipt(verdicts, missing, delivery.reason)

    async def dead_letter(self, entry: SourceEntry, record: Record, reason: str) -> None:
        """Publish a request that could not be read to the dead letters.

        Raises:
            Unavailable: Kafka did not acknowledge it, so the request must not be answered with success.
        """
        delivery = await self._publisher.publish(DEAD_LETTERS, [record])
        if not delivery.complete:
            raise Unavailable(delivery.reason)
        self._dead_letters.labels(entry.name, reason).inc()

    async def _deliver(self, records: list[Record]) -> Delivery:
        if not records:
            return Delivery()
        try:
            return await self._publisher.publish(TOUCHPOINTS, records)
        except Unavailable as error:
            return Delivery(frozenset(range(len(records))), str(error))

    def _note_types(self, entry: SourceEntry, accepted: Sequence[Accepted]) -> None:
        counts = Counter([verdict.type for verdict in accepted])
        for new in self.types_seen.note(entry.name, counts.items(), datetime.now(UTC)):
            meant = near_miss(new)
            if meant is not None:
                log.warning("type_looks_misspelt", source=entry.name, type=new, did_you_mean=meant)

    def _record_activity(
        self,
        entry: SourceEntry,
        endpoint: str,
        verdicts: Sequence[Verdict],
        accepted: Sequence[Accepted],
        missing: int,
        items: Sequence[Any],
    ) -> None:
        """Record what operators may ask about a source: counts, reasons, and the last items as posted."""
        activity = self.activity.get(entry.name)
        if activity is None:
            activity = self.activity[entry.name] = SourceActivity()
        now = datetime.now(UTC)
        rejected_count = len(verdicts) - len(accepted)
        activity.count(now, len(accepted) - missing, rejected_count, missing)
        last = accepted[-MOST_OF_REQUEST:]
        activity.accepted(now, endpoint, [(verdict.id, verdict.record.value) for verdict in last])
        if rejected_count:
            rejected = [verdict for verdict in verdicts if type(verdict) is Rejected]
            activity.count_errors(now, Counter(verdict.error for verdict in rejected))
            for verdict in rejected[-MOST_EVENTS:]:
                posted = as_posted(items[verdict.index]) if verdict.index < len(items) else b""
                activity.rejected(now, endpoint, verdict.id, verdict.error, posted)

    def _count(self, entry: SourceEntry, endpoint: str, accepted: int, rejected: int, missing: int) -> None:
        count = self._touchpoints.labels
        if accepted - missing:
            count(entry.name, endpoint, "accepted").inc(accepted - missing)
        if rejected:
            count(entry.name, endpoint, "rejected").inc(rejected)
        if missing:
            count(entry.name, endpoint, "unacknowledged").inc(missing)


def as_posted(item: Any) -> bytes:
    """An item as JSON again; its text where it can't be written as JSON."""
    try:
        return orjson.dumps(item, default=str)
    except (TypeError, RecursionError):
        return str(item)[:MOST_BYTES].encode("utf-8", "replace")
