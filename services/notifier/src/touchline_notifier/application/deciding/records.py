"""Decode records into touchpoints and facts. A record that cannot be decoded becomes a dead letter."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from touchline_runtime.tracing import header_of
from touchline_schemas.cloudevents import from_headers
from touchline_schemas.events.dead_letters import dead_letter, kafka_origin
from touchline_schemas.events.facts import (
    CustomerErased,
    CustomerMerged,
    CustomerRecovered,
    CustomerStalled,
    StageChanged,
)
from touchline_schemas.topics import DEAD_LETTERS, STAGE_CHANGES
from touchline_schemas.touchpoint import Touchpoint, unstorable

from touchline_notifier.application.session_ports import Record
from touchline_notifier.core.decisions.outbox_records import Outgoing
from touchline_notifier.core.decisions.stage_events import StageEvent, fact_of

T = TypeVar("T")
_MAX_KEY = 16_384


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that could be decoded, in order, and dead letters of the others."""

    touchpoints: Sequence[Touchpoint] = ()
    events: Sequence[StageEvent] = ()
    dead_letters: Sequence[Outgoing] = ()


def read_touchpoints(records: Iterable[Record]) -> Batch:
    """Touchpoints of a partition."""
    touchpoints, dead = each(records, _touchpoint)
    return Batch(touchpoints=touchpoints, dead_letters=dead)


def read_events(records: Iterable[Record]) -> Batch:
    """Events of the stage-changes topic of a partition; types of later versions are skipped."""
    events, dead = each(records, _event)
    return Batch(events=[event for event in events if event is not None], dead_letters=dead)


def each(records: Iterable[Record], read: Callable[[Record], T]) -> tuple[list[T], list[Outgoing]]:
    """What records say, and dead letters of those that cannot be read."""
    good: list[T] = []
    dead: list[Outgoing] = []
    for record in records:
        try:
            good.append(read(record))
        except Exception as error:  # whatever the error: this record cannot be decoded
            dead.append(_dead(record, error))
    return good, dead


def _touchpoint(record: Record) -> Touchpoint:
    return Touchpoint.model_validate_json(record.value or b"")


def _event(record: Record) -> StageEvent | None:
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
        found = StageEvent(context.type, fact_of(context.id, event), context.id, data)
        trace = header_of(record.headers)
        return found.traced(trace) if trace else found
    assert isinstance(event, CustomerMerged | CustomerErased), "the registry has no other event"
    return StageEvent(context.type, event, context.id, data)


def rejected(record: Record, error: Exception) -> Outgoing:
    """The dead letter of a record that could be decoded and not be processed."""
    return _dead(record, error, "unprocessable")


def _dead(record: Record, error: Exception, reason: str = "unreadable_record") -> Outgoing:
    value, headers = dead_letter(
        record.value or b"",
        record.headers or (),
        reason=reason,
        error=str(error),
        origin=kafka_origin(record.topic, record.partition, record.offset),
    )
    readable = [(name, _text(content).encode()) for name, content in headers]
    return Outgoing(DEAD_LETTERS.name, _text((record.key or b"")[:_MAX_KEY]), readable, value)


def _text(content: bytes) -> str:
    # The outbox keeps keys and headers as text, which in PostgreSQL holds no NUL.
    return content.decode(errors="backslashreplace").replace("\x00", "\\x00")
