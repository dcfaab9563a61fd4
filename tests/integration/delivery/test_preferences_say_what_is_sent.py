"""The kind: a page that says something else than what is sent.

Random lives of a customer: choices, clicks, opt-outs and opt-ins, complaints, bounces, suppressions by an operator, in
any order and dated by any clock. After each of them the preference page, the operators' view, the decision on a new
fact and the check before an attempt of an old one are compared, each by the real code on a real database.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import orjson
import pytest
from fastapi import FastAPI
from touchline_notifier.adapters.postgres.reads.insights import PostgresInsights
from touchline_notifier.adapters.postgres.suppressions import PostgresConsent, PostgresSuppressions
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
from touchline_notifier.core.profiles.profile import Suppression
from touchline_notifier.core.unsubscribe.tokens import UnsubscribeTokens, key_of
from touchline_notifier.entrypoints.http.unsubscribe import unsubscribe_router
from touchline_runtime.audit.entry import Actor
from touchline_schemas.events.facts import CustomerMerged, CustomerStalled
from touchline_schemas.ids import fact_id
from touchline_schemas.touchpoint import Touchpoint

pytestmark = pytest.mark.stack

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


async def choose(life: Life, rng: Random) -> str:
    """Tick and untick what there are boxes for, and save: what is ticked is sent, and nothing else is."""
    shown = [topic for topic, (can_choose, _) in (await life.page()).items() if can_choose]
    wanted = [topic for topic in shown if rng.random() < 0.5]
    fields = {"channel": wanted, "shown": shown}
    if not shown:
        return "nothing to choose"
    if rng.random() < 0.2:
        del fields["shown"]
    saved = boxes((await life.ask("POST", "/preferences", data=fields)).text)
    for topic in shown:
        assert saved[topic] == (True, topic in wanted), f"{topic} of {wanted}: {saved}\n" + "\n".join(life.happened)
    return f"chose {wanted} of {shown}"


async def click(life: Life, rng: Random) -> str:
    channel = rng.choice(CHANNELS)
    await life.ask("POST", channel=channel, data={"List-Unsubscribe": "One-Click"})
    saved = await life.page()
    refused = {"all": TOPICS, "email": ["email", "offers", "product-news"]}.get(channel, [channel])
    assert not any(saved[topic][1] for topic in refused), f"{channel}: {saved}\n" + "\n".join(life.happened)
    return f"clicked the link of {channel}"


def about(life: Life, rng: Random) -> dict[str, Any]:
    """Whom a report names: the customer, their address as well, or the address alone."""
    address = life.addresses[0]
    return rng.choice([{}, {"email": address}, {"email": address, "customer_id": None}])


async def says(life: Life, rng: Random) -> str:
    """An opt-out or an opt-in that the company's systems or a mail service report."""
    kind = rng.choice(["subscribed", "resubscribed", "unsubscribed", "unsubscribed"])
    properties: dict[str, Any] = rng.choice([{}, {"channel": rng.choice(CHANNELS)}])
    named: dict[str, Any] = rng.choice(
        [{}, {"email": life.addresses[0]}, {"email": life.addresses[0], "customer_id": None}]
    )
    ahead = rng.choice([-60, 0, 0, 0, 240])
    channel = rng.choice(["email", "web"])
    await life.take(kind, ahead=ahead, channel=channel, properties={**properties, "recipient": True}, **named)
    return f"{kind} by {channel}, {properties}, {named}, {ahead} s"


async def consents(life: Life, rng: Random) -> str:
    consent = {rng.choice(CHANNELS): rng.random() < 0.6}
    await life.take("form_submitted", properties={"consent": consent}, channel="web")
    return f"consent {consent}"


async def trouble(life: Life, rng: Random) -> str:
    kind = rng.choice(["email_bounced", "email_complained", "email_suppressed"])
    named: dict[str, Any] = rng.choice(
        [{}, {"email": life.addresses[0]}, {"email": life.addresses[0], "customer_id": None}]
    )
    ahead = rng.choice([-30, 0, 0, 200])
    await life.take(kind, ahead=ahead, **named)
    return f"{kind} {named}, {ahead} s"


async def operator(life: Life, rng: Random) -> str:
    lifted = rng.random() < 0.6
    suppressions = PostgresSuppressions(life.pool, HASHES)
    now = datetime.now(UTC)
    await suppressions.change(life.addresses[0], lifted=lifted, reason="a test", actor=ACTOR, now=now)
    state = await suppressions.state(life.addresses[0])
    assert state is not None
    assert state["suppressed"] is not lifted, "the operator's word is the last"
    return f"an operator {'lifts' if lifted else 'suppresses'}"


async def recorded(life: Life, rng: Random) -> str:
    channel, given = rng.choice(CHANNELS), rng.random() < 0.5
    consent = PostgresConsent(life.pool, HASHES, 1)
    await consent.change(life.customer, channel, given=given, reason="a test", actor=ACTOR, now=datetime.now(UTC))
    return f"an operator records {channel}: {given}"


async def moves(life: Life, rng: Random) -> str:
    address = rng.choice(life.addresses)
    await life.take("identified", channel="web", email=address)
    return f"now {address}"


async def echoes(life: Life, rng: Random) -> str:
    await life.echo()
    return "what the page said comes back"


async def links(life: Life, rng: Random) -> str:
    await life.merge(f"email:{life.addresses[0]}")
    return "the address is linked"


REPORTS = (
    ("email_bounced", False, False),
    ("email_complained", False, False),
    ("suppressed_by_hand", False, False),
    ("unsubscribed", False, False),
    ("unsubscribed", False, True),
    ("subscribed", True, False),
    ("subscribed", True, True),
)
"""(reason, lifted, by the page)"""

STEPS: tuple[Callable[[Life, Random], Any], ...] = (
    choose, choose, choose, click, says, says, says, consents, trouble, operator, operator, recorded, moves, echoes,
    links,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
async def test_the_page_the_operators_the_decision_and_the_attempt_agree(pool: asyncpg.Pool, seed: int) -> None:
    rng, life = Random(seed), Life(pool)
    await life.take("identified", ahead=-600, channel="web", email=life.addresses[0])
    await life.take("subscribed", ahead=-600, properties={"channel": "offers"})
    assert set(await life.compare()) == set(TOPICS)
    assert set(life.decided) == set(PLAYS)
    for number in range(40):
        happens = rng.choice(STEPS)
        life.happened.append(f"{number}: {await happens(life, rng)}")
        await life.compare()


REFUSALS: tuple[Callable[[Life], Any], ...] = (
    lambda life: life.take("unsubscribed", email=life.addresses[0]),
    lambda life: life.take("unsubscribed", channel="web", email=life.addresses[0]),
    lambda life: life.take("unsubscribed", email=life.addresses[0], customer_id=None),
    lambda life: life.take("unsubscribed"),
    lambda life: life.take("form_submitted", properties={"consent": {"all": False}}),
    lambda life: life.ask("POST", data={"List-Unsubscribe": "One-Click"}),
)


@pytest.fixture
async def life(pool: asyncpg.Pool) -> Life:
    """A customer who gets everything."""
    life = Life(pool)
    await life.take("identified", ahead=-600, channel="web", email=life.addresses[0])
    await life.take("subscribed", ahead=-600, properties={"channel": "offers"})
    assert set((await life.compare()).values()) == {(True, True)}
    return life


@pytest.mark.parametrize("number", range(len(REFUSALS)))
async def test_who_refused_all_mail_sees_no_list_ticked_and_gets_the_one_that_they_tick(
    life: Life, number: int
) -> None:
    await REFUSALS[number](life)
    shown = await life.compare()
    by_mail_alone = ("email", "offers", "product-news")
    assert [shown[topic] for topic in by_mail_alone] == [(True, False)] * 3
    wanted = ["product-news", *(topic for topic, (_, ticked) in shown.items() if ticked)]
    await life.ask("POST", "/preferences", data={"channel": wanted, "shown": list(shown)})
    after = await life.compare()
    assert [after[topic][1] for topic in by_mail_alone] == [False, False, True]
    # What was published says the same to a notifier that hears of it alone.
    await life.echo()
    assert await life.compare() == after


async def test_who_unticks_mail_and_leaves_a_list_ticked_gets_the_list_alone(life: Life) -> None:
    await life.ask("POST", "/preferences", data={"channel": ["product-news"], "shown": TOPICS})
    shown = await life.compare()
    assert {topic for topic, (_, ticked) in shown.items() if ticked} == {"product-news"}
    assert await PostgresSuppressions(life.pool, HASHES).state(life.addresses[0]) is not None
    # Then nothing at all, and then all mail again.
    await life.ask("POST", "/preferences", data={"shown": TOPICS})
    assert {ticked for _, ticked in (await life.compare()).values()} == {False}
    await life.ask("POST", "/preferences", data={"channel": TOPICS, "shown": TOPICS})
    assert {ticked for _, ticked in (await life.compare()).values()} == {True}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("email_bounced", "mail to your address came back"),
        ("email_complained", "you reported our mail as spam"),
        ("email_suppressed", "our mail service does not deliver to your address"),
        ("by hand", "we have stopped writing to your address"),
    ],
)
@pytest.mark.parametrize("named", [True, False], ids=["names the address", "names none"])
async def test_no_tick_lifts_a_block_and_the_page_says_why_nothing_comes(
    life: Life, kind: str, text: str, named: bool
) -> None:
    if kind == "by hand":
        await PostgresSuppressions(life.pool, HASHES).change(
            life.addresses[0], lifted=False, reason=None, actor=ACTOR, now=datetime.now(UTC)
        )
    else:
        await life.take(kind, email=life.addresses[0] if named else None)
    page = (await life.ask("GET", "/preferences")).text
    assert text in page
    assert [boxes(page)[topic] for topic in ("email", "offers", "product-news")] == [(False, False)] * 3
    await life.ask("POST", "/preferences", data={"channel": TOPICS, "shown": TOPICS})
    await PostgresConsent(life.pool, HASHES, 1).change(
        life.customer, "email", given=True, reason="asked", actor=ACTOR, now=datetime.now(UTC)
    )
    await life.echo()
    assert (await life.compare())["email"] == (False, False)
    await PostgresSuppressions(life.pool, HASHES).change(
        life.addresses[0], lifted=True, reason=None, actor=ACTOR, now=datetime.now(UTC)
    )
    assert set((await life.compare()).values()) == {(True, True)}


@pytest.mark.parametrize("channel", ["email", "all"])
async def test_a_click_that_refuses_all_mail_refuses_a_list_that_was_joined_after_an_earlier_one(
    life: Life, channel: str
) -> None:
    for _ in range(2):
        await life.ask("POST", channel=channel, data={"List-Unsubscribe": "One-Click"})
        assert (await life.compare())["product-news"] == (True, False)
        await life.ask("POST", "/preferences", data={"channel": ["product-news"], "shown": ["product-news"]})
        assert (await life.compare())["product-news"] == (True, True)
    before = await life.pool.fetchval("SELECT count(*) FROM outbox WHERE topic = 'touchpoints'")
    for _ in range(3):
        await life.ask("POST", channel=channel, data={"List-Unsubscribe": "One-Click"})
    assert await life.pool.fetchval("SELECT count(*) FROM outbox WHERE topic = 'touchpoints'") == before + 1


async def test_a_topic_without_a_box_is_neither_given_nor_refused(life: Life) -> None:
    await life.ask("POST", "/preferences", data={"channel": ["email"], "shown": ["email"]})
    assert set((await life.compare()).values()) == {(True, True)}


async def test_reports_about_an_address_count_the_same_in_any_order_of_arrival(pool: asyncpg.Pool) -> None:
    rng = Random(11)
    for number in range(25):
        reports = [
            Suppression("", reason, datetime(2026, 3, 1, 12, rng.randrange(5), tzinfo=UTC), lifted, by_page)
            for reason, lifted, by_page in rng.choices(REPORTS, k=rng.randrange(1, 7))
        ]
        found = []
        for order in range(4):
            address = f"a{number}.{order}@example.org"
            named = [replace(report, address=address) for report in rng.sample(reports, len(reports))]
            async with pool.acquire() as connection, connection.transaction():
                customers = PostgresTransaction(connection, HASHES, 1).customers
                for batch in [named] if order == 0 else [[one] for one in named]:
                    await customers.save_suppressions(batch)
                stored = (await customers.suppressions([address]))[address]
            found.append((stored.in_force, stored.lifted_at))
        assert found == [found[0]] * 4, reports
