"""The kind: a page that says something else than what is sent.

Random lives of a customer: choices, clicks, opt-outs and opt-ins, complaints, bounces, suppressions by an operator, in
any order and dated by any clock. After each of them the preference page, the operators' view, the decision on a new
fact and the check before an attempt of an old one are compared, each by the real code on a real database.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import asyncpg
import pytest
from touchline_notifier.adapters.postgres.suppressions import PostgresConsent, PostgresSuppressions
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.core.profiles.profile import Suppression

from tests.support.notifier.customer_life import ACTOR, CHANNELS, HASHES, PLAYS, TOPICS, Life, boxes

pytestmark = pytest.mark.stack


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
    named = about(life, rng)
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
    named = about(life, rng)
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
