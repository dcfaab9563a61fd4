"""What all doors share: who knocks, how fast and how much, and the way from judged items to an answer."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from touchline_runtime.errors import Unavailable
from touchline_runtime.metrics import Metrics
from touchline_runtime.problems import Problem
from touchline_schemas.topics import DEAD_LETTERS, TOUCHPOINTS

from touchline_ingest import metrics as declared
from touchline_ingest.adapters.publisher import Delivery, Overloaded, Publisher
from touchline_ingest.core.acceptance import Accepted, NameItem, Rejected, Verdict, judge
from touchline_ingest.core.decoding import BodyDecoder, too_large
from touchline_ingest.core.keys import presented_key
from touchline_ingest.core.limits import Limits
from touchline_ingest.core.rate import Bucket, Rate, retry_after
from touchline_ingest.core.records import Record
from touchline_ingest.core.refusals import BodyTooLarge
from touchline_ingest.core.source_book import DOORS, SourceBook, SourceEntry
from touchline_ingest.core.strangers import Strangers

RETRY_AFTER_SECONDS = "2"


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one request's items.

    Attributes:
        verdicts: one an item, in order.
        unacknowledged: indices (into the items) that were accepted and that Kafka did not acknowledge.
        reason: why not.
    """

    verdicts: Sequence[Verdict]
    unacknowledged: frozenset[int] = field(default_factory=frozenset)
    reason: str = ""

    @property
    def rejected(self) -> list[Rejected]:
        """The items that are no touchpoints."""
        return [verdict for verdict in self.verdicts if type(verdict) is Rejected]


class Reception:
    """Receives requests for all doors.

    Args:
        book: the sources in force right now.
        body_timeout: seconds a sender may take for its body.
        reading_bytes: of all bodies being received at once.
        stranger_rate: how often one address may be told that its key is wrong.
    """

    def __init__(
        self,
        *,
        book: Callable[[], SourceBook],
        publisher: Publisher,
        metrics: Metrics,
        limits: Limits,
        body_timeout: float,
        reading_bytes: int,
        stranger_rate: Rate,
    ) -> None:
        self._book = book
        self._publisher = publisher
        self.limits = limits
        self._body_timeout = body_timeout
        self._most_reading = reading_bytes
        self._reading = 0
        self._strangers = Strangers(stranger_rate)
        self._buckets: dict[str, Bucket] = {}
        self._touchpoints = metrics.counter(declared.TOUCHPOINTS)
        self._limited = metrics.counter(declared.RATE_LIMITED)
        self._letters = metrics.counter(declared.DEAD_LETTERS)

    @property
    def book(self) -> SourceBook:
        """The sources in force."""
        return self._book()

    def source_of(self, request: Request, door: str, *, key: str | None = None) -> SourceEntry:
        """The source whose key the request shows, which must open the door.

        Raises:
            Problem: 401 when it does not; 429 when its address shows too many that don't.
        """
        presented = key or presented_key(request.headers.get("authorization", ""))
        entry = self.book.opened_by(presented, door, datetime.now(UTC)) if presented else None
        if entry is None:
            self.count_stranger(request)
            raise unauthorized("wrong" if presented else "missing")
        return entry

    def count_stranger(self, request: Request) -> None:
        """Count a wrong key or signature of the request's address.

        Raises:
            Problem: 429 when it shows too many.
        """
        wait = self._strangers.knock(request.client.host if request.client else "", time.monotonic())
        if wait:
            raise Problem(
                429,
                "too many wrong keys or signatures come from this address: stop, and check the key; a right one opens "
                "at any time",
                type="too-many-wrong-keys",
                headers={"Retry-After": retry_after(wait)},
            )

    async def read_body(self, request: Request, entry: SourceEntry | None = None, *, most: int | None = None) -> bytes:
        """The body, decompressed.

        Args:
            most: bytes, where a door takes less than the service does.

        Raises:
            RequestRefused: too large, or in an encoding that is not read here.
            Problem: 408 when it takes too long, 429 when the source may post nothing now anyway.
            Overloaded: too much is being received at once.
        """
        if entry is not None:
            self._hold_to_rate(entry, 0)
        limits = (self.limits.body_bytes, entry and entry.max_bytes, most)
        limit = min(limit for limit in limits if limit)
        headers = request.headers
        decoder = BodyDecoder(headers.get("content-encoding", ""), limit)
        declared_length = headers.get("content-length", "")
        if declared_length.isdigit() and int(declared_length) > limit:
            raise too_large(limit)
        held = 0
        try:
            async with asyncio.timeout(self._body_timeout):
                async for chunk in request.stream():
                    held += len(chunk)
                    self._reading += len(chunk)
                    if self._reading > self._most_reading:
                        raise Overloaded("too many bodies are being received at once: try again shortly")
                    decoder.feed(chunk)
        except TimeoutError:
            raise Problem(
                408,
                f"the body did not arrive within {self._body_timeout:g} s",
                type="too-slow",
                headers={"Connection": "close"},
            ) from None
        finally:
            self._reading -= held
        return decoder.finish()

    def opening(self, door: str) -> list[SourceEntry]:
        """All sources whose key opens a door."""
        return [entry for entry in self.book.entries.values() if entry.kind in DOORS[door]]

    def check_count(self, count: int) -> None:
        """Hold a number of items against the limit.

        Raises:
            BodyTooLarge: too many.
        """
        if count > self.limits.items:
            raise BodyTooLarge(f"{count} items in one request, {self.limits.items} are allowed: send fewer at once")

    def charge(self, entry: SourceEntry, count: int) -> None:
        """Take that many touchpoints off the source's rate limit.

        Raises:
            Problem: 429 when there are not as many.
        """
        self._hold_to_rate(entry, count)

    def _hold_to_rate(self, entry: SourceEntry, count: int) -> None:
        """Take that many; none: only look whether there is one, before work is spent on more."""
        if entry.rate is None:
            return
        now = time.monotonic()
        bucket = self._buckets.get(entry.name)
        if bucket is None or bucket.rate != entry.rate:
            bucket = self._buckets[entry.name] = Bucket(entry.rate, now)
        wait = bucket.take(count, now) if count else bucket.wait_for(1, now)
        if wait:
            self._limited.labels(entry.name).inc()
            raise Problem(
                429,
                f"source {entry.name!r} may post {entry.rate.per_second:g} touchpoints a second: wait {wait:.1f} s",
                type="rate-limited",
                headers={"Retry-After": retry_after(wait)},
            )

    async def take(self, entry: SourceEntry, items: Sequence[Any], *, door: str, name_item: NameItem) -> Taken:
        """Judge items, publish the accepted ones, and wait for their acknowledgement. Never raises for Kafka."""
        taken = self.judge(entry, items, name_item=name_item)
        return await self.publish(entry, taken.verdicts, door=door)

    def judge(self, entry: SourceEntry, items: Sequence[Any], *, name_item: NameItem) -> Taken:
        """Judge items and publish nothing."""
        return Taken(judge(items, entry.terms(), now=datetime.now(UTC), name_item=name_item))

    async def publish(self, entry: SourceEntry, verdicts: Sequence[Verdict], *, door: str) -> Taken:
        """Publish what was accepted among the verdicts."""
        accepted = [verdict for verdict in verdicts if type(verdict) is Accepted]
        delivery = await self._deliver([verdict.record for verdict in accepted])
        self._count(entry, door, len(accepted), len(verdicts) - len(accepted), len(delivery.unacknowledged))
        if delivery.complete:
            return Taken(verdicts)
        missing = frozenset(accepted[number].index for number in delivery.unacknowledged)
        return Taken(verdicts, missing, delivery.reason)

    async def dead_letter(self, entry: SourceEntry, record: Record, reason: str) -> None:
        """Keep what could not be understood.

        Raises:
            Unavailable: Kafka did not acknowledge it, so that the sender must not be told that all is well.
        """
        delivery = await self._publisher.publish(DEAD_LETTERS, [record])
        if not delivery.complete:
            raise Unavailable(delivery.reason)
        self._letters.labels(entry.name, reason).inc()

    async def _deliver(self, records: list[Record]) -> Delivery:
        if not records:
            return Delivery()
        try:
            return await self._publisher.publish(TOUCHPOINTS, records)
        except Unavailable as error:
            return Delivery(frozenset(range(len(records))), str(error))

    def _count(self, entry: SourceEntry, door: str, accepted: int, rejected: int, missing: int) -> None:
        count = self._touchpoints.labels
        if accepted - missing:
            count(entry.name, door, "accepted").inc(accepted - missing)
        if rejected:
            count(entry.name, door, "rejected").inc(rejected)
        if missing:
            count(entry.name, door, "unacknowledged").inc(missing)


def unauthorized(what: str) -> Problem:
    """401: the key is missing or wrong."""
    return Problem(
        401,
        f"the write key is {what}: send Authorization: Bearer KEY, with a key that the sources file knows and that "
        "opens this door",
        type="unauthorized",
        headers={"WWW-Authenticate": 'Bearer realm="touchline"'},
    )
