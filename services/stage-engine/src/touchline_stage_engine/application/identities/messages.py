"""Messages between the owners of partitions, on the identity topic, keyed by the recipient key.

kind (header ``ce_type``)          data
touchline.link-requested           other, weight, label: a link with the key `other`, as its own touchpoints make it
                                   (null where none does any more), and what that key says of itself (null: its links
                                   don't count, because it is shared, or a customer of whom no touchpoint has come)
touchline.links-requested          links: the same of several keys, each as [other, weight without the keys, label]
touchline.link-removed             other, before: it was erased; links by touchpoints from before then are to go
touchline.touchpoints-transferred  alias, touchpoints, bulk: now the recipient's. bulk: the past of a key
                                   that has just become an alias; otherwise what came later under the old key
touchline.touchpoints-withdrawn    alias: the key belongs to another customer after all
touchline.erase-requested          erased_at, by: null from outside, else the root that asks for one of its aliases;
                                   receipt: UUID under which what was removed is counted (or null); linked_to: an
                                   erased key whose link may have made the recipient an alias of the root: if it has
                                   not, only the link is removed
touchline.rebuild-requested        (partition) fold all customers again
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel
from touchline_schemas.cloudevents import NotACloudEventError, from_headers

from touchline_stage_engine.application.batches.changes import BACKFILL, MACHINE, OUTBOUND, touchpoint_row
from touchline_stage_engine.application.identities import message_fields
from touchline_stage_engine.application.outbox_records import Outgoing, identity_message
from touchline_stage_engine.core.decoding import Arrival, Poison
from touchline_stage_engine.core.identity.labels import Label, Weight, weigh
from touchline_stage_engine.core.touchpoint import Touchpoint

LINK_REQUESTED = "touchline.link-requested"
LINKS_REQUESTED = "touchline.links-requested"
LINK_REMOVED = "touchline.link-removed"
TRANSFERRED = "touchline.touchpoints-transferred"
WITHDRAWN = "touchline.touchpoints-withdrawn"
ERASE_REQUESTED = "touchline.erase-requested"
REBUILD_REQUESTED = "touchline.rebuild-requested"
KINDS = frozenset(
    {LINK_REQUESTED, LINKS_REQUESTED, LINK_REMOVED, TRANSFERRED, WITHDRAWN, ERASE_REQUESTED, REBUILD_REQUESTED}
)
_FIELDS: dict[str, type[BaseModel]] = {
    LINK_REQUESTED: message_fields.LinkRequested,
    LINKS_REQUESTED: message_fields.LinksRequested,
    LINK_REMOVED: message_fields.LinkRemoved,
    TRANSFERRED: message_fields.Transferred,
    WITHDRAWN: message_fields.Withdrawn,
    ERASE_REQUESTED: message_fields.EraseRequested,
}

TRANSFER_CHUNK = 200
"""Touchpoints of one transfer at most."""
TRANSFER_BYTES = 700_000
"""Bytes of one transfer at most: below a broker's default limit."""


LINKS_AT_ONCE = 500
"""Links of one message at most."""


class Message(NamedTuple):
    """A message as it was received."""

    recipient: str
    kind: str
    data: dict[str, Any]


class Request(NamedTuple):
    """A link that another key makes (None: none any more) and that key's label (None: its links don't count)."""

    other: str
    weight: Weight | None
    label: Label | None


def is_erase_request(record: Any) -> bool:
    """Whether a record of the identity topic is an erase request, by its headers alone."""
    return ("ce_type", ERASE_REQUESTED.encode()) in (record.headers or ())


def read_messages(record: Any) -> list[Message] | Poison:
    """Read one record of the identity topic: one message, or one for each of several links."""
    message = _read_message(record)
    if isinstance(message, Poison) or message.kind != LINKS_REQUESTED:
        return message if isinstance(message, Poison) else [message]
    recipient = message.recipient
    return [
        Message(recipient, LINK_REQUESTED, {"other": other, "weight": _weight(recipient, other, made), "label": label})
        for other, made, label in message.data["links"]
    ]


def _weight(recipient: str, other: str, made: list[Any] | None) -> Weight | None:
    return None if made is None else weigh(made[0], made[1], made[2], recipient, other)


def _read_message(record: Any) -> Message | Poison:
    try:
        kind = from_headers(record.headers).type
        data = orjson.loads(record.value or b"")
        recipient = record.key.decode()
    except (NotACloudEventError, ValueError, AttributeError) as error:
        return Poison("invalid_message", str(error))
    if kind not in KINDS or not isinstance(data, dict):
        return Poison("invalid_message", f"{kind!r} is not a kind of message that this engine knows")
    if (problem := message_fields.problem_with(recipient, data, _FIELDS.get(kind))) is not None:
        return Poison("invalid_message", f"{kind}: {problem}")
    return Message(recipient, kind, data)


def link_requested(recipient: str, sender: str, weight: Weight | None, label: Label | None, sent_at: str) -> Outgoing:
    """Report a link to the other key, with the label of this end."""
    reported = None if label is None else label.dump()
    return identity_message(recipient, LINK_REQUESTED, {"other": sender, "weight": weight, "label": reported}, sent_at)


def links_requested(recipient: str, requests: Sequence[Request], sent_at: str) -> list[Outgoing]:
    """Report links of several keys with the same key: what many customers name costs few records."""
    if len(requests) == 1:
        other, weight, label = requests[0]
        return [link_requested(recipient, other, weight, label, sent_at)]
    links = [
        (other, None if weight is None else weight[:3], None if label is None else label.dump())
        for other, weight, label in requests
    ]
    message = identity_message(recipient, LINKS_REQUESTED, {"links": links}, sent_at)
    if len(links) <= LINKS_AT_ONCE and (message.value is None or len(message.value) <= TRANSFER_BYTES):
        return [message]
    middle = len(requests) // 2
    return [
        *links_requested(recipient, requests[:middle], sent_at),
        *links_requested(recipient, requests[middle:], sent_at),
    ]


def transferred(recipient: str, alias: str, arrivals: Iterable[Arrival], bulk: bool, sent_at: str) -> Outgoing:
    """Transfer touchpoints of an alias to the customer it belongs to."""
    rows = [touchpoint_row(alias, arrival)[1:11] for arrival in arrivals]
    data = {"alias": alias, "touchpoints": rows, "bulk": bulk}
    return identity_message(recipient, TRANSFERRED, data, sent_at)


def transferred_arrivals(data: dict[str, Any]) -> list[Arrival]:
    """The touchpoints of a transfer."""
    arrivals = []
    for occurred_at, id_, source, hash_, type_, channel, flags, received_at, properties, identifiers in data[
        "touchpoints"
    ]:
        touchpoint = Touchpoint(
            occurred_at,
            id_,
            source,
            type_,
            channel,
            "outbound" if flags & OUTBOUND else "inbound",
            orjson.loads(properties),
            bool(flags & MACHINE),
            bool(flags & BACKFILL),
            received_at,
        )
        arrivals.append(
            Arrival(touchpoint, data["alias"], (), None if identifiers is None else orjson.loads(identifiers), hash_)
        )
    return arrivals
