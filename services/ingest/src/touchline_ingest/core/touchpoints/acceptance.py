"""Judges touchpoints from all endpoints by the same rules: each becomes a record, or a reason for its rejection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from touchline_schemas.ids import idempotent_touchpoint_id
from touchline_schemas.times import to_micros, to_wire
from touchline_schemas.touchpoint import MAX_ID, PostedTouchpoint
from touchline_schemas.touchpoint_types import STAGE_SET

from touchline_ingest.core.access.public_keys import PublicTerms, without_user_hash
from touchline_ingest.core.touchpoints.bodies import BrokenItem
from touchline_ingest.core.touchpoints.fast_path import fast_record
from touchline_ingest.core.touchpoints.limits import MAX_AHEAD, MAX_TOUCHPOINT_BYTES
from touchline_ingest.core.touchpoints.records import Record, printable, touchpoint_record

_validate = PostedTouchpoint.__pydantic_validator__.validate_python


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms on which a source's touchpoints are accepted.

    Attributes:
        source: its name; touchpoints carry it.
        may_set_stage: whether it may move customers by hand (``stage_set``).
        types: the types it may post; None: any.
        touchpoint_bytes: the most one touchpoint may take as JSON.
        backfill: True flags everything as history; None leaves it to each touchpoint.
        public: what a key that is readable in web pages may post; None: the key is secret.
    """

    source: str
    may_set_stage: bool = False
    types: frozenset[str] | None = None
    touchpoint_bytes: int = MAX_TOUCHPOINT_BYTES
    backfill: bool | None = None
    public: PublicTerms | None = None


@dataclass(slots=True)
class Accepted:
    """A touchpoint that may be published. Not frozen: that would double the cost of creating one."""

    index: int
    id: str
    record: Record
    type: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An item that is not a valid touchpoint, and why; ``id`` is the sender's own, where it is usable."""

    index: int
    id: str | None
    error: str


Verdict: TypeAlias = Accepted | Rejected
NameItem: TypeAlias = Callable[[int], str]
"""The id for an item that has none, by its index."""


def named_by(source: str, idempotency_key: str) -> NameItem:
    """Ids derived from an ``Idempotency-Key``: the same request sent again names its items the same."""
    return lambda index: str(idempotent_touchpoint_id(source, idempotency_key, index))


def judge(items: Sequence[Any], terms: Terms, *, now: datetime, name_item: NameItem) -> list[Verdict]:
    """Judge each item by itself; an invalid item does not affect the others.

    Args:
        items: JSON values, drafts of a source, or broken items.
        now: aware; the time of receipt.
    """
    latest = now + MAX_AHEAD
    received_at, latest_micros = to_wire(now), to_micros(latest)
    verdicts: list[Verdict] = []
    for index, item in enumerate(items):
        if type(item) is not dict:
            error = item.error if isinstance(item, BrokenItem) else "a touchpoint is a JSON object"
            verdicts.append(Rejected(index, None, error))
            continue
        if "user_hash" in item or terms.public is not None:
            item, user_hash = without_user_hash(item)
            refusal = terms.public.refusal(item, user_hash) if terms.public is not None else None
            if refusal is not None:
                verdicts.append(Rejected(index, _usable_id(item), refusal))
                continue
        # An item without an id gets one id, on the fast path and with the model.
        name = name_item(index) if item.get("id") is None else ""
        record = None
        if terms.types is None:
            record = fast_record(
                item,
                id=name,
                source=terms.source,
                received_at=received_at,
                latest=latest_micros,
                backfill=terms.backfill,
            )
        if record is not None and len(record.value) <= terms.touchpoint_bytes:
            verdicts.append(Accepted(index, name or item["id"], record, item["type"]))
        else:
            verdicts.append(_judge(index, item, terms, received_at, latest, name))
    return verdicts


def _judge(index: int, item: dict[str, Any], terms: Terms, received_at: str, latest: datetime, name: str) -> Verdict:
    try:
        posted: PostedTouchpoint = _validate(item)
    except ValidationError as error:
        return Rejected(
            index, _usable_id(item), "; ".join(explain(detail) for detail in error.errors(include_url=False))
        )
    except RecursionError:
        return Rejected(index, _usable_id(item), "properties: nested too deep: flatten it")
    why = _wrongly_decoded(posted) or _not_allowed(posted, terms, latest)
    if why:
        return Rejected(index, posted.id, why)
    touchpoint_id = posted.id or name
    try:
        record = touchpoint_record(
            posted, id=touchpoint_id, source=terms.source, received_at=received_at, backfill=terms.backfill
        )
    except TypeError:
        return Rejected(index, posted.id, "properties: hold a number that does not fit 64 bits: send it as a text")
    if len(record.value) > terms.touchpoint_bytes:
        size = f"{len(record.value)} bytes as JSON, {terms.touchpoint_bytes} are allowed"
        return Rejected(index, posted.id, f"too large: {size}: keep documents elsewhere and send their address")
    return Accepted(index, touchpoint_id, record, posted.type)


def _wrongly_decoded(posted: PostedTouchpoint) -> str | None:
    """Who an id names can't be known once a wrong decoding has put U+FFFD into it: it may be any of several people."""
    for name in ("customer_id", "anonymous_id", "email", "external_id", "id"):
        value = getattr(posted, name)
        if value is not None and "\ufffd" in value:
            return f"{name}: holds U+FFFD, which is left where a text was read in a wrong encoding: send UTF-8"
    return None


def _not_allowed(posted: PostedTouchpoint, terms: Terms, latest: datetime) -> str | None:
    if posted.occurred_at > latest:
        return (
            "occurred_at is more than 5 minutes ahead of this server's clock: send the time at which it happened, "
            "and check the sender's clock and time zone"
        )
    if terms.types is not None and posted.type not in terms.types:
        return f"type {posted.type!r} is not among the types that source {terms.source!r} may post"
    if posted.type == STAGE_SET:
        if not terms.may_set_stage:
            return (
                f"source {terms.source!r} may not set stages: only one with `may_set_stage: true` in the sources file "
                "may post stage_set"
            )
        for name in ("lifecycle", "stage"):
            if not isinstance(posted.properties.get(name), str) or not posted.properties[name]:
                return f"properties.{name}: stage_set has to name the lifecycle and the stage to go to"
    return None


def explain(detail: ErrorDetails) -> str:
    """One validation error as a person reads it: the field, and what to send instead."""
    where = ".".join(str(part)[:80] for part in detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = "is not a field of a touchpoint: put it into properties"
    elif detail["type"] == "missing":
        message = "is missing"
    return printable(f"{where}: {message}" if where else message)


def _usable_id(item: dict[str, Any]) -> str | None:
    value = item.get("id")
    if isinstance(value, str) and len(value) <= MAX_ID and printable(value) == value:
        return value
    return None
