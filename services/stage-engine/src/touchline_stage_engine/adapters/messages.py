"""Messages between the owners of partitions, on the identity topic, keyed by the recipient key.

kind (header ``ce_type``)          data
touchline.link-requested           other, weight, label: a link with the key `other`, as its own touchpoints make it
                                   (null where none does any more), and what that key says of itself
touchline.link-removed             other, before: it was erased; links by touchpoints from before then are to go
touchline.touchpoints-transferred  alias, touchpoints, fired_through, bulk: now the recipient's. bulk: the past of a key
                                   that has just become an alias; otherwise what came later under the old key
touchline.touchpoints-withdrawn    alias: the key belongs to somebody else after all
touchline.erase-requested          erased_at, by: null from outside, else the root that asks for one of its aliases
touchline.rebuild-requested        (partition) fold everybody again
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
from touchline_schemas.cloudevents import NotACloudEventError, from_headers

from touchline_stage_engine.adapters.changes import BACKFILL, MACHINE, OUTBOUND, touchpoint_row
from touchline_stage_engine.adapters.decoding import Arrival, Poison
from touchline_stage_engine.adapters.outgoing import Outgoing, identity_message
from touchline_stage_engine.core.identity import Label, Weight
from touchline_stage_engine.core.touchpoint import Touchpoint

LINK_REQUESTED = "touchline.link-requested"
LINK_REMOVED = "touchline.link-removed"
TRANSFERRED = "touchline.touchpoints-transferred"
WITHDRAWN = "touchline.touchpoints-withdrawn"
ERASE_REQUESTED = "touchline.erase-requested"
REBUILD_REQUESTED = "touchline.rebuild-requested"
KINDS = frozenset({LINK_REQUESTED, LINK_REMOVED, TRANSFERRED, WITHDRAWN, ERASE_REQUESTED, REBUILD_REQUESTED})

TRANSFER_CHUNK = 200
"""Touchpoints of one transfer at most."""
TRANSFER_BYTES = 700_000
"""Bytes of one transfer at most: below a broker's default limit."""


class Message(NamedTuple):
    """A message as it was received."""

    recipient: str
    kind: str
    data: dict[str, Any]


def read_message(record: Any) -> Message | Poison:
    """Read one record of the identity topic."""
    try:
        kind = from_headers(record.headers).type
        data = orjson.loads(record.value or b"")
        recipient = record.key.decode()
    except (NotACloudEventError, orjson.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        return Poison("invalid_message", str(error))
    if kind not in KINDS or not isinstance(data, dict):
        return Poison("invalid_message", f"{kind!r} is no kind of message this engine knows")
    return Message(recipient, kind, data)


def link_requested(recipient: str, sender: str, weight: Weight | None, label: Label, sent_at: str) -> Outgoing:
    """Tell a key of a link to it, and what this end says of itself."""
    return identity_message(
        recipient, LINK_REQUESTED, {"other": sender, "weight": weight, "label": label.dump()}, sent_at
    )


def transferred(
    recipient: str, alias: str, arrivals: Iterable[Arrival], fired_through: int, bulk: bool, sent_at: str
) -> Outgoing:
    """Hand touchpoints of an alias over to the customer it belongs to."""
    rows = [touchpoint_row(alias, arrival)[1:11] for arrival in arrivals]
    data = {"alias": alias, "touchpoints": rows, "fired_through": fired_through, "bulk": bulk}
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
