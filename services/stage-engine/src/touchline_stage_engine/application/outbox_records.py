"""Records that the engine publishes: facts, latest stages, tombstones, identity messages and dead letters."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgpack
import orjson
from touchline_schemas import topics
from touchline_schemas.cloudevents import Headers
from touchline_schemas.events import dead_letters
from touchline_schemas.ids import FACT_NAMESPACE, audience_change_id, fact_name
from touchline_schemas.times import micros_to_wire
from uuid_utils import UUID, uuid5, uuid7

from touchline_stage_engine.application.audiences.values import Described, Membership
from touchline_stage_engine.core.folding.corrections import Numbered, Published
from touchline_stage_engine.core.folding.facts import Move, Stall

SOURCE = "/touchline/stage-engine"
_FACTS = UUID(str(FACT_NAMESPACE))
MAX_DEAD_LETTER_KEY = 16_384
"""Bytes of a dead letter's key that are kept."""

# Numbers in the outbox's column `topic`: fixed for as long as there are rows.
STAGE_CHANGES, CUSTOMER_STAGES, IDENTITY, DEAD_LETTERS, AUDIENCE_CHANGES = 1, 2, 3, 4, 5
TOPIC_OF = {
    STAGE_CHANGES: topics.STAGE_CHANGES,
    CUSTOMER_STAGES: topics.CUSTOMER_STAGES,
    IDENTITY: topics.IDENTITY,
    DEAD_LETTERS: topics.DEAD_LETTERS,
    AUDIENCE_CHANGES: topics.AUDIENCE_CHANGES,
}


def fact_id_text(customer_id: str, lifecycle: str, incarnation: int, fact_no: int, era: int = 0) -> str:
    """The ``ce_id`` of a fact (`touchline_schemas.ids.fact_id`) as text."""
    return str(uuid5(_FACTS, fact_name(customer_id, lifecycle, incarnation, fact_no, era)))


class About(NamedTuple):
    """The CloudEvents context of an event of ours. Most records are kept as this until they are sent: headers in full
    would take more room, in memory and in the outbox, than all the rest."""

    id: str
    type: str
    time: str
    subject: bytes


class Outgoing(NamedTuple):
    """One record to publish. ``partition`` None: that of the key.

    ``about`` is headers as they are where a record is no event of ours: a dead letter, or a tombstone.
    """

    topic: int
    partition: int | None
    key: bytes | None
    about: About | Headers
    value: bytes | None

    @property
    def size(self) -> int:
        """Bytes it takes in a transaction, about; the headers of an event of ours are short."""
        about = self.about
        headers = sum(len(name) + len(content) for name, content in about) if isinstance(about, list) else 250
        return len(self.key or b"") + len(self.value or b"") + headers

    @property
    def headers(self) -> Headers:
        """The headers to send."""
        about = self.about
        if isinstance(about, list):
            return about
        return [
            _SPECVERSION,
            ("ce_id", about.id.encode()),
            ("ce_type", about.type.encode()),
            _SOURCE,
            ("ce_time", about.time.encode()),
            ("ce_subject", about.subject),
            _CONTENT_TYPE,
        ]


def in_chunks(records: Sequence[Outgoing], most_records: int, most_bytes: int) -> Iterator[list[Outgoing]]:
    """Cut records, in order, into chunks bounded in number and in bytes; a chunk holds one record at least."""
    chunk: list[Outgoing] = []
    size = 0
    for record in records:
        more = record.size
        if chunk and (len(chunk) >= most_records or size + more > most_bytes):
            yield chunk
            chunk, size = [], 0
        chunk.append(record)
        size += more
    if chunk:
        yield chunk


def pack(records: Sequence[Outgoing]) -> bytes:
    """Records as a row of the outbox holds them (MessagePack: their keys, headers and values are bytes)."""
    packed: bytes = msgpack.packb(records)
    return packed


def unpack(packed: bytes) -> list[Outgoing]:
    """What `pack` packed."""
    return [
        Outgoing(topic, partition, key, _about(about), value)
        for topic, partition, key, about, value in msgpack.unpackb(packed)
    ]


def _about(packed: list[Any]) -> About | Headers:
    if packed and isinstance(packed[0], str):
        return About(*packed)
    return [(name, content) for name, content in packed]


_SPECVERSION = ("ce_specversion", b"1.0")
_SOURCE = ("ce_source", SOURCE.encode())
_CONTENT_TYPE = ("content-type", b"application/json")


class RecordBuilder:
    """Builds the records of one partition's customers; ``decided_at`` is the clock of the batch, on the wire."""

    def __init__(self, partition: int, era: int = 0) -> None:
        self.partition = partition
        self.era = era
        self.decided_at = ""

    def fact(self, customer_id: str, incarnation: int, lifecycle: str, numbered: Numbered) -> Outgoing:
        """A move, stall or recovery, for stage-changes."""
        fact, fact_no, sequence = numbered
        data: dict[str, Any]
        if isinstance(fact, Move):
            type_, time = "touchline.stage-changed", micros_to_wire(fact.occurred_at)
            data = {
                "from_stage": fact.from_stage,
                "to_stage": fact.to_stage,
                "move": fact.kind,
                "reason": {
                    "kind": fact.reason_kind,
                    "text": fact.reason_text,
                    "touchpoint_id": fact.touchpoint_id,
                },
                "sequence": sequence,
                "previous_stage_seconds": fact.previous_stage_seconds,
            }
        elif isinstance(fact, Stall):
            type_, time = "touchline.customer-stalled", micros_to_wire(fact.due_at)
            data = {"stage": fact.stage, "level": fact.level, "since": micros_to_wire(fact.since), "due_at": time}
        else:
            type_, time = "touchline.customer-recovered", micros_to_wire(fact.occurred_at)
            data = {
                "stage": fact.stage,
                "stalled_seconds": fact.stalled_seconds,
                "touchpoint_id": fact.touchpoint_id,
            }
        data["customer_id"] = customer_id
        data["lifecycle"] = lifecycle
        data["lifecycle_version"] = fact.version
        data["fact_no"] = fact_no
        data["incarnation"] = incarnation
        if self.era:
            data["era"] = self.era
        data["occurred_at"] = time
        data["decided_at"] = self.decided_at
        data["backfill"] = fact.backfill
        key = customer_id.encode()
        ce_id = fact_id_text(customer_id, lifecycle, incarnation, fact_no, self.era)
        return Outgoing(STAGE_CHANGES, self.partition, key, About(ce_id, type_, time, key), orjson.dumps(data))

    def latest_stage(self, customer_id: str, incarnation: int, lifecycle: str, published: Published) -> Outgoing:
        """The compacted record of a customer in a lifecycle; a tombstone where there is no stage."""
        key = f"{customer_id}/{lifecycle}"
        if published.stage is None:
            return self.no_stage(customer_id, lifecycle)
        data = {
            "customer_id": customer_id,
            "lifecycle": lifecycle,
            "lifecycle_version": published.version,
            "stage": published.stage,
            "entered_at": micros_to_wire(published.entered_at),
            "sequence": published.sequence,
            "stalled_level": published.level,
            "updated_at": self.decided_at,
        }
        # The same state may be written again with nothing new but the entry time: the id identifies the write.
        ce_id = (
            f"{fact_id_text(customer_id, lifecycle, incarnation, published.fact_no, self.era)}:{published.entered_at}"
        )
        about = About(ce_id, "touchline.customer-stage", self.decided_at, customer_id.encode())
        return Outgoing(CUSTOMER_STAGES, self.partition, key.encode(), about, orjson.dumps(data))

    def no_stage(self, customer_id: str, lifecycle: str) -> Outgoing:
        """The tombstone of a customer in a lifecycle."""
        return Outgoing(CUSTOMER_STAGES, self.partition, f"{customer_id}/{lifecycle}".encode(), [], None)

    def merged(self, customer_id: str, incarnation: int, into: str, merge_no: int, occurred_at: int) -> Outgoing:
        """That a key is now part of a customer."""
        time, key = micros_to_wire(occurred_at), customer_id.encode()
        data = {
            "customer_id": customer_id,
            "into": into,
            "fact_no": merge_no,
            "incarnation": incarnation,
            "occurred_at": time,
            "decided_at": self.decided_at,
        }
        ce_id = fact_id_text(customer_id, "", incarnation, merge_no, self.era)
        about = About(ce_id, "touchline.customer-merged", time, key)
        return Outgoing(STAGE_CHANGES, self.partition, key, about, orjson.dumps(data))

    def erased(self, customer_id: str, incarnation: int, erased_at: int) -> Outgoing:
        """That a customer is to be forgotten; the last word of an incarnation."""
        time, key = micros_to_wire(erased_at), customer_id.encode()
        data = {
            "customer_id": customer_id,
            "incarnation": incarnation,
            "occurred_at": time,
            "decided_at": self.decided_at,
        }
        ce_id = fact_id_text(customer_id, "", incarnation, 0, self.era)
        about = About(ce_id, "touchline.customer-erased", time, key)
        return Outgoing(STAGE_CHANGES, self.partition, key, about, orjson.dumps(data))

    def audience_change(self, audience: Described, changed: Membership, kind: str, occurred_at: int) -> Outgoing:
        """That a customer entered an audience or left it."""
        time, key = micros_to_wire(occurred_at), changed.customer_id.encode()
        data = {
            "audience": audience.name,
            "audience_incarnation": audience.incarnation,
            "audience_version": audience.version,
            "customer_id": changed.customer_id,
            "incarnation": changed.incarnation,
            "change_no": changed.change_no,
            "occurred_at": time,
            "decided_at": self.decided_at,
            "reason": {"kind": kind},
        }
        if self.era:
            data["era"] = self.era
        ce_id = audience_change_id(
            audience.name, audience.incarnation, changed.customer_id, changed.incarnation, changed.change_no, self.era
        )
        type_ = "touchline.audience-entered" if changed.member else "touchline.audience-left"
        return Outgoing(AUDIENCE_CHANGES, self.partition, key, About(str(ce_id), type_, time, key), orjson.dumps(data))

    def dead_letter(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes | None]],
        reason: str,
        error: str,
        origin: str,
    ) -> Outgoing:
        """A record that could not be understood."""
        if key is not None and len(key) > MAX_DEAD_LETTER_KEY:
            key = key[:MAX_DEAD_LETTER_KEY]
        kept, kept_headers = dead_letters.dead_letter(value or b"", headers, reason=reason, error=error, origin=origin)
        return Outgoing(DEAD_LETTERS, self.partition, key, kept_headers, kept)


def identity_message(recipient: str, kind: str, data: dict[str, Any], sent_at: str) -> Outgoing:
    """A message to the owner of a key, on the identity topic. Kinds: see ``adapters/messages.py``."""
    key = recipient.encode()
    return Outgoing(IDENTITY, None, key, About(str(uuid7()), kind, sent_at, key), orjson.dumps(data))
