"""Facts that were published before, from the topic or a file, for a preview."""

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime, timedelta

import orjson
from aiokafka import TopicPartition
from pydantic import ValidationError
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.kafka import clients as kafka
from touchline_schemas.events.facts import CustomerRecovered, CustomerStalled, StageChanged
from touchline_schemas.partitions import partition_of
from touchline_schemas.topics import STAGE_CHANGES

from touchline_notifier.application.deciding.records import read_events
from touchline_notifier.core.decisions.stage_events import Fact, fact_of
from touchline_notifier.core.plays.preview import RecordedFact, Wanted

_MARGIN = timedelta(hours=1)
"""A record's own time is when it was published, somewhat later than when its fact was decided."""


async def from_topic(
    settings: ServiceSettings, start: datetime, end: datetime, customer_id: str | None
) -> AsyncIterator[RecordedFact]:
    """Facts decided in [start, end), of one customer or of all."""
    topic = STAGE_CHANGES.full_name(settings.topic_prefix)
    reader = kafka.consumer(settings, f"{settings.topic_prefix}-notifier-preview", group_id=None)
    await kafka.start_when_reachable(reader, settings)
    try:
        numbers = range(settings.partitions)
        if customer_id is not None:
            numbers = range(partition_of(customer_id, settings.partitions), settings.partitions)[:1]
        for number in numbers:
            where = TopicPartition(topic, number)
            reader.assign([where])
            begins = await reader.offsets_for_times({where: int((start - _MARGIN).timestamp() * 1000)})
            last = (await reader.end_offsets([where]))[where]
            if begins[where] is None:
                continue
            reader.seek(where, begins[where].offset)
            while await reader.position(where) < last:
                records = (await reader.getmany(where, timeout_ms=200)).get(where, [])
                for event in read_events(records).events:
                    at = datetime.fromisoformat(event.data["decided_at"])
                    fact = event.event
                    if isinstance(fact, Fact) and start <= at < end and customer_id in (None, fact.customer_id):
                        yield RecordedFact(fact, at)
    finally:
        await reader.stop()


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
