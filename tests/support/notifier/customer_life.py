"""A customer, and everything in the notifier that says what they get: pages, decisions, checks, operators' views."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import orjson
from fastapi import FastAPI
from touchline_notifier.adapters.postgres.reads.insights import PostgresInsights
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.adapters.postgres.unsubscribe import PostgresSubscriptionStore
from touchline_notifier.application.deciding.decide import DecisionContext, apply_events
from touchline_notifier.application.deciding.fold_touchpoints import fold_touchpoints
from touchline_notifier.application.delivering.limits_before_send import LimitsBeforeSend
from touchline_notifier.application.delivering.pre_send_check import CheckBeforeSend
from touchline_notifier.application.plays.live import FixedPlays
from touchline_notifier.application.unsubscribe import UnsubscribeLinks
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.decisions.stage_events import StageEvent, fact_of
from touchline_notifier.core.delivery.channel import Delivery, Message
from touchline_notifier.core.limits.limits import Circumstances, ways_by_topic
from touchline_notifier.core.limits.pre_send import Asked
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.rendering import Templates
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_notifier.core.unsubscribe.tokens import UnsubscribeTokens, key_of
from touchline_notifier.entrypoints.http.unsubscribe import unsubscribe_router
from touchline_runtime.audit.entry import Actor
from touchline_schemas.events.facts import CustomerMerged, CustomerStalled
from touchline_schemas.ids import fact_id
from touchline_schemas.touchpoint import Touchpoint

HASHES = Hashes("a key")
STREAM = "a-cluster/touchline"
MAIL = {"channel": "email", "endpoint": "mail", "subject": "Hello", "body": "Hello"}
HOOK = {"channel": "webhook", "endpoint": "crm", "body": "Hello"}
PLAYS = {
    name: Play.model_validate(
        {"play": name, "when": {"fact": "customer-stalled"}, "exit": False, "action": action, "limits": limits, **more}
    )
    for name, action, limits, more in (
        ("mails", MAIL, {}, {}),
        ("news", MAIL, {"consent_channel": "product-news"}, {}),
        ("offers", MAIL, {"consent_channel": "offers", "consent": "required"}, {}),
        ("events", MAIL, {"consent_channel": "events"}, {}),
        ("events-by-another-system", HOOK, {"consent_channel": "events"}, {}),
        ("sms-by-another-system", HOOK, {"consent_channel": "sms"}, {}),
        ("receipts", MAIL, {}, {"transactional": True}),
    )
}
TO_CUSTOMERS = frozenset({"email"})
TOPIC = {
    name: play.limits.consent_channel or play.action.channel for name, play in PLAYS.items() if not play.transactional
}
TOPICS = sorted(set(TOPIC.values()))
CHANNELS = ("email", "all", *TOPICS)
BOX = re.compile(r'<input type="checkbox" name="channel" value="([^"]+)"( disabled)?( checked)?>')
CONTEXT = DecisionContext(Decider(PLAYS, Templates()), {}, 1, TO_CUSTOMERS)
ACTOR = Actor("ada", "operator", "r-1")


def topics() -> Mapping[str, Any]:
    return ways_by_topic(PLAYS.values(), TO_CUSTOMERS)


@dataclass
class Life:
    """One customer, and everything that speaks about what they get."""

    pool: asyncpg.Pool
    customer: str = "c-1"
    addresses: tuple[str, str] = ("ada@example.org", "ada@example.com")
    facts: int = 0
    happened: list[str] = field(default_factory=list)
    decided: dict[str, Delivery] = field(default_factory=dict)
    echoed: int = 0

    def __post_init__(self) -> None:
        self.tokens = UnsubscribeTokens(key_of("a secret"))
        store = PostgresSubscriptionStore(self.pool, HASHES, 1)
        self.application = FastAPI()
        self.application.include_router(unsubscribe_router(UnsubscribeLinks(store, 1, self.tokens, topics)))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        async with self.pool.acquire() as connection, connection.transaction():
            yield PostgresTransaction(connection, HASHES, 1)

    async def ask(self, method: str, path: str = "", channel: str = "email", **more: Any) -> httpx.Response:
        link = f"/v1/unsubscribe/{self.tokens.make(self.customer, channel)}{path}"
        transport = httpx.ASGITransport(self.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            answer = await client.request(method, link, **more)
        assert answer.status_code == 200, answer.text
        return answer

    async def page(self) -> dict[str, tuple[bool, bool]]:
        """Topic → (the customer can choose, the box is ticked)."""
        return boxes((await self.ask("GET", "/preferences")).text)

    # What happens

    async def take(self, kind: str, *, ahead: float = 0, **more: Any) -> None:
        now = datetime.now(UTC)
        given: dict[str, Any] = {"channel": "email", "direction": "inbound", "customer_id": self.customer, **more}
        touchpoint = Touchpoint(
            id=str(uuid4()), type=kind, occurred_at=now + timedelta(seconds=ahead), received_at=now, source="shop",
            **given,
        )  # fmt: skip
        await self.fold(touchpoint)

    async def fold(self, *touchpoints: Touchpoint) -> None:
        async with self.transaction() as tx:
            await fold_touchpoints(tx, touchpoints, PLAYS, datetime.now(UTC))

    async def echo(self) -> None:
        """What the page published comes back from Kafka."""
        rows = await self.pool.fetch("SELECT value FROM outbox WHERE topic = 'touchpoints' ORDER BY id")
        await self.fold(*(Touchpoint.model_validate_json(row["value"]) for row in rows[self.echoed :]))
        self.echoed = len(rows)

    async def merge(self, old: str) -> None:
        now = datetime.now(UTC)
        merged = CustomerMerged(
            customer_id=old, into=self.customer, occurred_at=now, decided_at=now, incarnation=0, fact_no=1
        )
        async with self.transaction() as tx:
            await tx.customers.merge([merged], now)

    # What is sent

    async def decisions(self) -> dict[str, bool]:
        """Play → whether a new fact leads to a message."""
        now = datetime.now(UTC)
        self.facts += 1
        event = CustomerStalled(
            customer_id=self.customer, lifecycle="service-cycle", lifecycle_version=1, fact_no=self.facts,
            occurred_at=now, decided_at=now, backfill=False, incarnation=0, stage="retention", since=now, due_at=now,
            level=1,
        )  # fmt: skip
        ident = str(fact_id(self.customer, "service-cycle", 0, self.facts))
        published = StageEvent("touchline.a-fact", fact_of(ident, event), ident, event.model_dump(mode="json"))
        async with self.transaction() as tx:
            await apply_events(tx, [published], CONTEXT, 0, Circumstances(now, to_customers=TO_CUSTOMERS))
        rows = await self.pool.fetch(
            "SELECT a.play, a.outcome, a.action_id, a.channel, a.endpoint, d.id, d.message FROM actions a "
            "LEFT JOIN deliveries d USING (action_id) WHERE a.fact_id = $1",
            ident,
        )
        assert {row["play"] for row in rows} == PLAYS.keys()
        for row in rows:
            if row["outcome"] == "decided":
                message = Message.from_row(orjson.loads(row["message"]))
                self.decided[row["play"]] = Delivery(
                    str(row["id"]), "action", str(row["action_id"]), self.customer, row["channel"], row["endpoint"],
                    message, 1, now,
                )  # fmt: skip
        return {row["play"]: row["outcome"] == "decided" for row in rows}

    async def attempts(self, check: CheckBeforeSend) -> dict[str, bool]:
        """Play → whether the check lets a message go that was decided when it was wanted."""
        asked = [Asked(delivery, None) for delivery in self.decided.values()]
        async with self.transaction() as tx:
            checked = await check(tx, asked, datetime.now(UTC))
        return {play: one.verdict is None for play, one in zip(self.decided, checked, strict=True)}

    async def address(self) -> str | None:
        async with self.transaction() as tx:
            return (await tx.customers.profiles([self.customer]))[self.customer].email

    async def operators_view(self) -> dict[tuple[str, bool], bool]:
        """(topic, by mail) → whether its messages are sent."""
        profile = await PostgresInsights(self.pool, HASHES, topics).profile(self.customer)
        assert profile is not None
        return {(one["topic"], one["channel"] == "email"): one["sent"] for one in profile["messages"]}

    async def compare(self) -> dict[str, tuple[bool, bool]]:
        shown, decided = await self.page(), await self.decisions()
        await self.pool.execute(
            "INSERT INTO positions (stream, partition, epoch, read_through) VALUES ($1, 0, 1, $2) "
            "ON CONFLICT (stream, partition) DO UPDATE SET read_through = $2",
            STREAM, datetime.now(UTC),
        )  # fmt: skip
        story = "\n".join(self.happened)
        checked = await self.attempts(CheckBeforeSend(LimitsBeforeSend(FixedPlays(CONTEXT), STREAM)))
        assert checked == {play: decided[play] for play in checked}, f"the check before an attempt\n{story}"
        without_plays = await self.attempts(CheckBeforeSend())
        # It knows neither a new address nor that a play requires consent.
        present = (None, await self.address())
        known = {play for play, one in self.decided.items() if one.message.to in present} - {"offers"}
        of_all = {play: decided[play] for play in known}
        assert {play: without_plays[play] for play in of_all} == of_all, f"the check without plays\n{story}"
        for topic in TOPICS:
            sent = {play: decided[play] for play in TOPIC if TOPIC[play] == topic}
            assert shown[topic][1] == any(sent.values()), f"{topic} on the page {shown}, sent: {sent}\n{story}"
        view = await self.operators_view()
        of_plays = {(topic, PLAYS[play].action.channel == "email"): decided[play] for play, topic in TOPIC.items()}
        assert view == of_plays, f"the operators' view\n{story}"
        return shown


def boxes(page: str) -> dict[str, tuple[bool, bool]]:
    return {topic: (not disabled, bool(checked)) for topic, disabled, checked in BOX.findall(page)}
