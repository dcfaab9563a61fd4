"""Records from Kafka into what the core reads; what can't be read, into dead letters."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from aiokafka import ConsumerRecord
from pydantic import ValidationError
from touchline_schemas.cloudevents import NotACloudEventError, from_headers
from touchline_schemas.dead_letters import dead_letter, kafka_origin
from touchline_schemas.facts import (
    CustomerErased,
    CustomerMerged,
    CustomerRecovered,
    CustomerStalled,
    StageChanged,
)
from touchline_schemas.topics import DEAD_LETTERS, STAGE_CHANGES
from touchline_schemas.touchpoint import Touchpoint, unstorable

from touchline_notifier.core.facts import Told, fact_of
from touchline_notifier.core.outgoing import Outgoing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that could be read, in order, and dead letters of those that couldn't."""

    touchpoints: Sequence[Touchpoint] = ()
    told: Sequence[Told] = ()
    dead_letters: Sequence[Outgoing] = ()


def read_touchpoints(records: Iterable[ConsumerRecord]) -> Batch:
    """Touchpoints of a partition."""
    touchpoints, dead = _each(records, _touchpoint)
    return Batch(touchpoints=touchpoints, dead_letters=dead)


def read_told(records: Iterable[ConsumerRecord]) -> Batch:
    """Events of the stage-changes topic of a partition; types of later versions are passed over."""
    told, dead = _each(records, _told)
    return Batch(told=[one for one in told if one is not None], dead_letters=dead)


def _each(records: Iterable[ConsumerRecord], read: Callable[[ConsumerRecord], T]) -> tuple[list[T], list[Outgoing]]:
    good: list[T] = []
    dead: list[Outgoing] = []
    for record in records:
        try:
            good.append(read(record))
        except (ValidationError, NotACloudEventError, ValueError) as error:
            dead.append(_dead(record, error))
    return good, dead


def _touchpoint(record: ConsumerRecord) -> Touchpoint:
    return Touchpoint.model_validate_json(record.value or b"")


def _told(record: ConsumerRecord) -> Told | None:
    context = from_headers(record.headers)
    model = STAGE_CHANGES.events.get(context.type)
    if model is None:
        return None
    event = model.model_validate_json(record.value or b"")
    data = event.model_dump(mode="json")
    why = unstorable(data)
    if why:
        raise ValueError(why)
    if isinstance(event, StageChanged | CustomerStalled | CustomerRecovered):
        return Told(context.type, fact_of(context.id, event), context.id, data)
    assert isinstance(event, CustomerMerged | CustomerErased), "the registry has no other event"
    return Told(context.type, event, context.id, data)


def _dead(record: ConsumerRecord, error: Exception) -> Outgoing:
    value, headers = dead_letter(
        record.value or b"",
        record.headers or (),
        reason="unreadable_record",
        error=str(error),
        origin=kafka_origin(record.topic, record.partition, record.offset),
    )
    readable = [(name, _text(content).encode()) for name, content in headers]
    return Outgoing(DEAD_LETTERS.name, _text(record.key or b""), readable, value)


def _text(content: bytes) -> str:
    # The outbox keeps keys and headers as text, which in PostgreSQL holds no NUL.
    return content.decode(errors="backslashreplace").replace("\x00", "\\x00")
