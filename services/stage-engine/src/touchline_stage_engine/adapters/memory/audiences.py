"""The members of audiences in memory: implements `ports.AudienceTable` and `ports.AudienceCandidates`.

A customer's summary is worked out from their touchpoints at each question, so it is never out of date.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from touchline_schemas.touchpoint_types import PASSIVE_TYPES

from touchline_stage_engine.adapters.memory.database import MemoryDatabase, Row
from touchline_stage_engine.application.audiences.values import Described, Membership, Progress, Standing
from touchline_stage_engine.application.batches.changes import HISTORY_COLUMNS, MACHINE, OUTBOUND
from touchline_stage_engine.core.audiences.audience import Audience
from touchline_stage_engine.core.audiences.customer_filter import SLIPPED_WITHIN, CustomerFilter
from touchline_stage_engine.core.identity.traits import Profile, read_all

_PAID = frozenset({"purchased", "renewed", "upgraded", "refunded"})


class MemoryAudiences:
    """One partition's members."""

    def __init__(self, database: MemoryDatabase, partition: int) -> None:
        self._database = database
        self._partition = partition

    async def standings(self, audience: Audience, customers: Sequence[str]) -> list[Standing]:
        found = []
        for customer_id in sorted(customers):
            row = self._database.customers.get((self._partition, customer_id))
            merged = row is not None and row["merged_into"] is not None
            member = self._database.audience_members.get((self._partition, audience.id, customer_id))
            found.append(
                Standing(
                    customer_id,
                    row is not None and not merged and matches(self._database, customer_id, audience.filter),
                    True,
                    merged,
                    None if row is None else row["incarnation"],
                    member is not None and member.member,
                    0 if member is None else member.change_no,
                )
            )
        return found

    async def save(self, memberships: Sequence[Membership]) -> None:
        for one in memberships:
            self._database.audience_members[self._partition, one.audience, one.customer_id] = one

    async def count(self, audience: int, more: int, through: int) -> None:
        key = (self._partition, audience)
        progress, members = self._database.audience_progress.get(key, (Progress(), 0))
        latest = progress._replace(through=max(progress.through, through))
        self._database.audience_progress[key] = (latest, members + more)

    async def mark_evaluated(self, audience: int, version: int) -> None:
        key = (self._partition, audience)
        progress, members = self._database.audience_progress.get(key, (Progress(), 0))
        self._database.audience_progress[key] = (progress._replace(version=version), members)

    async def recorded(self, audience: int, limit: int) -> list[Membership]:
        found = sorted(key for key in self._database.audience_members if key[:2] == (self._partition, audience))
        return [self._database.audience_members[key] for key in found[:limit]]

    async def remove(self, audience: int, customers: Sequence[str]) -> None:
        for customer_id in customers:
            del self._database.audience_members[self._partition, audience, customer_id]

    async def remove_progress(self, audience: int) -> None:
        self._database.audience_progress.pop((self._partition, audience), None)

    async def memberships_of(self, customer_id: str) -> list[tuple[Described, Membership]]:
        described = {
            one.id: Described(one.name, one.incarnation, one.version) for one in self._database.audiences.values()
        }
        return [
            (described[one.audience], one)
            for _, one in sorted(self._database.audience_members.items())
            if one.customer_id == customer_id and one.member
        ]


class MemoryAudienceCandidates:
    """Candidates on all partitions."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def progress(self, partition: int) -> dict[int, Progress]:
        stored = self._database.audience_progress
        return {key[1]: progress for key, (progress, _) in stored.items() if key[0] == partition}

    async def customers_after(self, partition: int, customer_id: str, limit: int) -> list[str]:
        found = sorted(key for owner, key in self._database.customers if owner == partition and key > customer_id)
        return found[:limit]

    async def standings(self, partition: int, audience: Audience, customers: Sequence[str]) -> list[Standing]:
        found = await MemoryAudiences(self._database, partition).standings(audience, customers)
        return [one for one in found if one.differs]

    async def passed(self, partition: int, audience: Audience, since: int, until: int, limit: int) -> list[str]:
        customers = await self.customers_after(partition, "", limit)
        before, after = (audience.filter.at(instant) for instant in (since, until))
        database = self._database
        return [one for one in customers if matches(database, one, before) != matches(database, one, after)]


def matches(database: MemoryDatabase, customer_id: str, wanted: CustomerFilter) -> bool:
    """Whether the filter holds for a customer with touchpoints."""
    rows = sorted(
        (row for row in database.touchpoints.values() if row["customer_id"] == customer_id),
        key=lambda row: (row["occurred_at"], row["id"], row["source"]),
    )
    return bool(rows) and _summary_matches(rows, wanted) and _stage_matches(database, customer_id, wanted)


def _summary_matches(rows: list[Row], wanted: CustomerFilter) -> bool:
    value, active_at = 0.0, 0
    for row in rows:
        if not row["flags"] & (MACHINE | OUTBOUND) and row["type"] not in PASSIVE_TYPES:
            active_at = row["occurred_at"]
        if row["type"] in _PAID and not row["flags"] & MACHINE:
            amount = _amount(orjson.loads(row["properties"]))
            value += -abs(amount) if row["type"] == "refunded" else amount
    traits = _traits(rows) if wanted.trait is not None else {}
    now = wanted.now
    return all(
        (
            wanted.min_value is None or value >= wanted.min_value,
            wanted.max_value is None or value <= wanted.max_value,
            wanted.seen_since is None or active_at >= wanted.seen_since,
            wanted.seen_before is None or active_at < wanted.seen_before,
            wanted.seen_within is None or active_at > now - wanted.seen_within,
            wanted.not_seen_for is None or active_at <= now - wanted.not_seen_for,
            wanted.first_channel is None or rows[0]["channel"] == wanted.first_channel,
            wanted.first_source is None or rows[0]["source"] == wanted.first_source,
            wanted.trait is None or _shown(traits.get(wanted.trait)) == wanted.trait_value,
        )
    )


def _stage_matches(database: MemoryDatabase, customer_id: str, wanted: CustomerFilter) -> bool:
    if not wanted.asks_for_stages:
        return True
    return any(
        _one_stage_matches(database, key, stage, wanted)
        for key, stage in database.stages.items()
        if key[0] == customer_id
    )


def _one_stage_matches(
    database: MemoryDatabase, key: tuple[str, str], stage: tuple[Any, ...], wanted: CustomerFilter
) -> bool:
    _, name, entered_at, _, level, _ = stage
    return all(
        (
            wanted.lifecycle is None or key[1] == wanted.lifecycle,
            wanted.stage is None or name == wanted.stage,
            wanted.stalled is None or (level > 0) == wanted.stalled,
            wanted.entered_since is None or entered_at >= wanted.entered_since,
            wanted.entered_before is None or entered_at < wanted.entered_before,
            wanted.entered_within is None or entered_at > wanted.now - wanted.entered_within,
            wanted.in_stage_for is None or entered_at <= wanted.now - wanted.in_stage_for,
            not wanted.at_risk or level > 0 or _slipped(database, key, wanted.now - SLIPPED_WITHIN),
        )
    )


def _slipped(database: MemoryDatabase, key: tuple[str, str], since: int) -> bool:
    """Whether the last move was backward, and recent."""
    rows = [
        dict(zip(HISTORY_COLUMNS, row, strict=True)) for at, row in sorted(database.history.items()) if at[:2] == key
    ]
    moves = [row for row in rows if row["fact"] == "move"]
    return bool(moves) and moves[-1]["move"] in ("regress", "lapse") and moves[-1]["occurred_at"] >= since


def _amount(properties: dict[str, Any]) -> float:
    for name in ("value", "amount", "total"):
        amount = properties.get(name)
        if isinstance(amount, int | float) and not isinstance(amount, bool):
            return float(amount) if abs(amount) < 1e12 else 0.0
    return 0.0


def _traits(rows: list[Row]) -> dict[str, Any]:
    said = read_all(
        ("", row["type"], row["channel"], orjson.loads(row["properties"]), orjson.loads(row["identifiers"] or "{}"))
        for row in rows
        if not row["flags"] & MACHINE
    )
    return said.get("", Profile()).traits


def _shown(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
