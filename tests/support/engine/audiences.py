"""Audiences of a world: asked over HTTP, and folded from the topic as a subscriber would."""

import random
from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx
import orjson
from touchline_schemas.times import parse_micros, to_wire
from touchline_stage_engine.core.audiences.audience import FaultyAudienceError, read_filter

from tests.support.engine.expected import utc_now
from tests.support.engine.world import Process, World, touchpoint

ENTERED, LEFT = "touchline.audience-entered", "touchline.audience-left"
STAGES = ("reach", "try", "buy", "angry")
PLANS = ("free", "pro", "7", "true")


def random_filter(randomly: random.Random) -> dict[str, Any]:
    """A filter of one to four conditions of every kind."""
    instant = to_wire(utc_now() - timedelta(days=randomly.randint(1, 120)))
    kinds: list[dict[str, Any]] = [
        {"lifecycle": "trial"},
        {"stage": randomly.choice(STAGES)},
        {"lifecycle": "trial", "stage": randomly.choice(STAGES)},
        {"stalled": randomly.random() < 0.5},
        {"at_risk": True},
        {"entered_since": instant},
        {"entered_before": instant},
        {"in_stage_for": f"P{randomly.randint(1, 90)}D"},
        {"entered_within": f"{randomly.randint(1, 90)}d"},
        {"min_value": randomly.choice([0, 10, 100])},
        {"max_value": randomly.choice([0, 50, 500])},
        {"seen_since": instant},
        {"seen_before": instant},
        {"not_seen_for": f"P{randomly.randint(1, 60)}D"},
        {"seen_within": f"{randomly.randint(1, 60)}d"},
        {"first_channel": randomly.choice(["web", "email"])},
        {"trait": f"plan:{randomly.choice(PLANS)}"},
    ]
    while True:
        found: dict[str, Any] = {}
        for kind in randomly.sample(kinds, randomly.randint(1, 3)):
            found |= kind
        with suppress(FaultyAudienceError):
            # Two conditions may contradict each other.
            read_filter(found)
            return found


def random_lives(randomly: random.Random, name: str, people: int, most: int = 8) -> list[dict[str, Any]]:
    """Touchpoints of some customers, some of whom are linked later, in a random order."""
    found = []
    for number in range(people):
        keys = [{"customer_id": f"{name}{number}"}]
        if number % 3 == 0:
            keys = [{"anonymous_id": f"{name}-a{number}"}, {"customer_id": f"{name}{number}"}]
            keys.append(keys[0] | keys[1])
        for step in range(randomly.randint(1, most)):
            at = utc_now() - timedelta(days=randomly.randint(0, 130), seconds=randomly.randint(1, 80_000))
            kind = randomly.choice(["page_viewed", "purchased", "demo_booked", "complaint_made", "identified"])
            properties: dict[str, Any] = {}
            if kind == "purchased":
                properties = {"value": randomly.choice([5, 40, 200])}
            elif kind == "identified":
                plan = randomly.choice(["free", "pro", 7, True])
                properties = {"traits": {"plan": plan}}
            found.append(
                touchpoint(
                    f"{name}-{number}-{step}", at, type=kind, properties=properties,
                    channel=randomly.choice(["web", "email"]), **randomly.choice(keys),
                )
            )  # fmt: skip
    randomly.shuffle(found)
    return found


class Subscriber:
    """What a subscriber of the topic knows, and that every change came once and in order."""

    def __init__(self) -> None:
        self.members: dict[str, set[str]] = {}
        self.changes: list[dict[str, Any]] = []

    @classmethod
    async def of(cls, world: World) -> "Subscriber":
        """One that has read the topic to its end."""
        found = cls()
        numbers: dict[tuple[Any, ...], int] = {}
        ids = set()
        for record in await world.records("audience-changes"):
            headers = {name: value.decode() for name, value in record.headers}
            change = orjson.loads(record.value) | {"ce_type": headers["ce_type"], "ce_id": headers["ce_id"]}
            assert record.key.decode() == change["customer_id"] == headers["ce_subject"]
            assert headers["ce_id"] not in ids, "a change came twice"
            ids.add(headers["ce_id"])
            key = tuple(change[name] for name in ("audience", "audience_incarnation", "customer_id", "incarnation"))
            entered = change["ce_type"] == ENTERED
            numbers[key] = numbers.get(key, 0) + 1
            assert change["change_no"] == numbers[key], change
            assert entered == bool(numbers[key] % 2), change
            members = found.members.setdefault(change["audience"], set())
            (members.add if entered else members.discard)(change["customer_id"])
            found.changes.append(change)
        return found

    def of_kind(self, ce_type: str, kind: str) -> list[dict[str, Any]]:
        """The changes of a kind."""
        return [one for one in self.changes if one["ce_type"] == ce_type and one["reason"]["kind"] == kind]


class AudienceApi:
    """The audiences of one engine process."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def put(self, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Create an audience, or change it."""
        body = {"title": name.title(), "filter": wanted}
        present = await self.client.get(f"/v1/audiences/{name}")
        if present.status_code == 404:
            saved = await self.client.post("/v1/audiences", json=body | {"name": name})
        else:
            saved = await self.client.put(f"/v1/audiences/{name}", json=body | {"base": present.json()["version"]})
        assert saved.is_success, saved.text
        found: dict[str, Any] = saved.json()
        return found

    async def all(self) -> dict[str, dict[str, Any]]:
        """Name → audience."""
        found = await self.pages("/v1/audiences")
        return {one["name"]: one for one in found}

    async def pages(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """Every item of a list."""
        items: list[dict[str, Any]] = []
        cursor: dict[str, Any] = {}
        while True:
            answer = await self.client.get(path, params={"limit": 40} | parameters | cursor)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            items += page["items"]
            if page["next"] is None:
                return items
            cursor = {"cursor": page["next"]}

    async def members(self, name: str) -> set[str]:
        """The ids of the members, each listed once."""
        found = [one["customer_id"] for one in await self.pages(f"/v1/audiences/{name}/members")]
        assert found == sorted(set(found))
        return set(found)

    async def listed(self, wanted: dict[str, Any]) -> set[str]:
        """The ids of the customers that the list shows by the same filter."""
        parameters = {
            field: str(value).lower() if isinstance(value, bool) else value for field, value in wanted.items()
        }
        return {one["customer_id"] for one in await self.pages("/v1/customers", sort="id", **parameters)}


def client_of(process: Process) -> httpx.AsyncClient:
    """A client of an engine's API."""
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{process.port}", timeout=60, trust_env=False)


STALE_SUMMARIES = """
SELECT c.customer_id
FROM customers c
LEFT JOIN customer_summaries s ON s.customer_id = c.customer_id AND s.touchpoints = c.touchpoints
WHERE c.touchpoints > 0 AND c.merged_into IS NULL AND s.customer_id IS NULL
"""


async def at_rest(world: World, api: AudienceApi) -> list[str]:
    """What differs between list, members and subscriber; empty once everything has come to an end."""
    differences = []
    if await world.sql("SELECT 1 FROM outbox LIMIT 1") or await world.sql(STALE_SUMMARIES):
        return ["something is still being published or summarised"]
    audiences = await api.all()
    for name, audience in audiences.items():
        members, listed = await api.members(name), await api.listed(audience["filter"])
        if members != listed:
            differences.append(f"{name} {audience['filter']}: members {members ^ listed} differ from the list")
        if audience["members"] != len(members):
            differences.append(f"{name}: {audience['members']} are counted, {len(members)} listed")
        if audience["evaluated"] != audience["partitions"]:
            differences.append(f"{name}: evaluated on {audience['evaluated']} partitions")
    if differences:
        return differences
    subscriber = await Subscriber.of(world)
    for name in {*subscriber.members, *audiences}:
        known = subscriber.members.get(name, set())
        members = await api.members(name) if name in audiences else set()
        if known != members:
            differences.append(f"{name}: the subscriber differs by {known ^ members}")
    return differences


def micros_of(text: str) -> int:
    """Microseconds of a time on the wire."""
    return parse_micros(text)
