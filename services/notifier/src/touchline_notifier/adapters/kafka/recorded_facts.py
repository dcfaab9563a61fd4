"""Facts that were published before, from the topic or a file, for a preview."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import accumulate

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import ValidationError
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.kafka import clients as kafka
from touchline_schemas.events.facts import CustomerRecovered, CustomerStalled, StageChanged
from touchline_schemas.partitions import partition_of
from touchline_schemas.topics import STAGE_CHANGES

from touchline_notifier.application.deciding.records import read_events
from touchline_notifier.application.plays.previewing import RecordedSample
from touchline_notifier.core.decisions.stage_events import Fact, fact_of
from touchline_notifier.core.plays.preview import RecordedFact, Wanted

_MARGIN = timedelta(hours=1)
"""A record's own time is when it was published, somewhat later than when its fact was decided."""


async def from_topic(
    settings: ServiceSettings, start: datetime, end: datetime, customer_id: str | None
) -> AsyncIterator[RecordedFact]:
    """Facts of [start, end), of one customer or of all."""
    topic = STAGE_CHANGES.full_name(settings.topic_prefix)
    reader = kafka.consumer(settings, f"{settings.topic_prefix}-notifier-preview", group_id=None)
    await kafka.start_when_reachable(reader, settings)
    try:
        for number in _partitions(settings, customer_id):
            where = TopicPartition(topic, number)
            reader.assign([where])
            begins, last = await _offsets(reader, [where], start)
            if begins[where] == last[where]:
                continue
            async for recorded in _read(reader, where, begins[where], last[where]):
                if recorded.belongs_to(start, end) and customer_id in (None, recorded.fact.customer_id):
                    yield recorded
    finally:
        await reader.stop()


async def sample_from_topic(
    settings: ServiceSettings, start: datetime, end: datetime, customer_id: str | None, at_most: int
) -> RecordedSample:
    """About ``at_most`` facts decided in [start, end), of one customer or of all.

    Whole partitions are read, so that all facts of a customer are there or none. Where one has too many alone, its
    newest are read.
    """
    topic = STAGE_CHANGES.full_name(settings.topic_prefix)
    reader = kafka.consumer(settings, f"{settings.topic_prefix}-notifier-preview", group_id=None)
    await kafka.start_when_reachable(reader, settings)
    try:
        partitions = [TopicPartition(topic, number) for number in _partitions(settings, customer_id)]
        reader.assign(partitions)
        begins, last = await _offsets(reader, partitions, start)
        sizes = [last[where] - begins[where] for where in partitions]
        wanted = newest_of_each(sizes, at_most)
        facts: list[RecordedFact] = []
        for where, size in zip(partitions, wanted, strict=True):
            if not size:
                continue
            reader.assign([where])
            async for recorded in _read(reader, where, last[where] - size, last[where]):
                if recorded.belongs_to(start, end) and customer_id in (None, recorded.fact.customer_id):
                    facts.append(recorded)
        cut = wanted[0] < sizes[0]
        since = min((recorded.at for recorded in facts), default=start) if cut else start
        read = 1 if cut else sum(size == all_of_it for size, all_of_it in zip(wanted, sizes, strict=True))
        return RecordedSample(facts, since, end, 1.0 if customer_id is not None else read / len(partitions))
    finally:
        await reader.stop()


def newest_of_each(sizes: Sequence[int], at_most: int) -> list[int]:
    """How many of the newest records of each partition to read, at most so many in all: all of the first partitions
    that fit, and none of the others. Where the first does not fit, as many of it as do.
    """
    wanted = list(sizes)
    fitting = next((n for n, total in enumerate(accumulate(sizes)) if total > at_most), len(sizes))
    wanted[fitting:] = [0] * (len(sizes) - fitting)
    if fitting == 0:
        wanted[0] = at_most
    return wanted


def _partitions(settings: ServiceSettings, customer_id: str | None) -> range:
    """The partitions that have a customer's facts, or everybody's."""
    if customer_id is None:
        return range(settings.partitions)
    number = partition_of(customer_id, settings.partitions)
    return range(number, number + 1)


async def _offsets(
    reader: AIOKafkaConsumer, partitions: Sequence[TopicPartition], start: datetime
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Partition → the first offset that may be of the time asked for, and the end."""
    last = dict(await reader.end_offsets(partitions))
    asked = dict.fromkeys(partitions, int((start - _MARGIN).timestamp() * 1000))
    found = await reader.offsets_for_times(asked)
    return {where: last[where] if found[where] is None else found[where].offset for where in partitions}, last


async def _read(reader: AIOKafkaConsumer, where: TopicPartition, begin: int, last: int) -> AsyncIterator[RecordedFact]:
    reader.seek(where, begin)
    while await reader.position(where) < last:
        records = (await reader.getmany(where, timeout_ms=200)).get(where, [])
        for event in read_events(records).events:
            if isinstance(event.event, Fact):
                yield RecordedFact(event.event, datetime.fromisoformat(event.data["decided_at"]))


def from_file(lines: Iterable[str], file: str) -> Iterator[RecordedFact]:
    """Facts from NDJSON: CloudEvents in structured mode (``{"id", "type", "data": {…}}``), one a line.

    Raises:
        ConfigurationError: a line is no fact, with its number.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = orjson.loads(line)
            model = STAGE_CHANGES.events[event["type"]]
            fact = model.model_validate(event["data"])
            ident = str(event["id"])
        except (ValidationError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f'{file}:{number}: no fact: write {{"id": …, "type": "touchline.customer-stalled", "data": {{…}}}} '
                f"({type(error).__name__}: {error})"
            ) from None
        if isinstance(fact, StageChanged | CustomerStalled | CustomerRecovered):
            yield RecordedFact(fact_of(ident, fact), fact.decided_at)


async def recorded_facts(settings: ServiceSettings, wanted: Wanted, now: datetime) -> list[RecordedFact]:
    """The facts that are wanted.

    Raises:
        ConfigurationError: there is no such day, or the file can't be read.
    """
    if wanted.facts is not None:
        try:
            lines = wanted.facts.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ConfigurationError(f"--facts {wanted.facts}: {error.strerror}") from None
        found = list(from_file(lines, str(wanted.facts)))
        return [recorded for recorded in found if wanted.customer in (None, recorded.fact.customer_id)]
    try:
        start, end = wanted.span(now)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return [recorded async for recorded in from_topic(settings, start, end, wanted.customer)]
