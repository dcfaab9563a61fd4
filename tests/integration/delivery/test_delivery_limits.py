"""Limits hold at the send, however long ago it was decided: after a retry, an outage, a breaker, a pause."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from touchline_devstack.receivers import MailCatcher
from touchline_notifier.adapters.postgres.delivery_queue import PostgresDeliveryQueue
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.application.deciding.decide import DecisionContext, apply_events
from touchline_notifier.application.deciding.fold_touchpoints import fold_touchpoints
from touchline_notifier.application.delivering.limits_before_send import LimitsBeforeSend
from touchline_notifier.application.delivering.pre_send_check import CheckBeforeSend
from touchline_notifier.application.plays.live import FixedPlays
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.decisions.stage_events import StageEvent, fact_of
from touchline_notifier.core.delivery.endpoints import Endpoint, Smtp
from touchline_notifier.core.limits.limits import Circumstances
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.rendering import Templates
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_schemas.events.facts import CustomerRecovered, CustomerStalled, StageChanged
from touchline_schemas.ids import fact_id
from touchline_schemas.touchpoint import Touchpoint

from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
Working = Callable[..., Any]
HASHES = Hashes("a key")
STREAM = "a-cluster/touchline"
MAIL: dict[str, Any] = {
    "when": {"fact": "customer-stalled"},
    "action": {"channel": "email", "endpoint": "mail", "subject": "Hello", "body": "Hello"},
}


def hour(offset: float) -> str:
    """A time of the day in UTC, so many hours from now."""
    return f"{datetime.now(UTC) + timedelta(hours=offset):%H:%M}"


def a_context(*plays: dict[str, Any]) -> DecisionContext:
    read = [Play.model_validate({**MAIL, "play": f"play-{n}", **more}) for n, more in enumerate(plays)]
    return DecisionContext(Decider({play.play: play for play in read}, Templates()), {}, 1, frozenset({"email"}))


class Company:
    """A database with a customer, c-1, and what was decided about them at some time."""

    def __init__(self, pool: asyncpg.Pool, context: DecisionContext) -> None:
        self.pool = pool
        self.context = context
        self.facts = 0

    async def touchpoint(self, kind: str = "identified", **more: Any) -> None:
        now = datetime.now(UTC)
        given: dict[str, Any] = {"id": f"t-{kind}-{more}"[:120], "occurred_at": now, "received_at": now, **more}
        touchpoint = Touchpoint(
            type=kind, channel="web", direction="inbound", source="shop", customer_id="c-1", **given
        )
        async with self.pool.acquire() as connection, connection.transaction():
            tx = PostgresTransaction(connection, HASHES, 1)
            await fold_touchpoints(tx, [touchpoint], self.context.decider.plays, datetime.now(UTC))

    async def fact(self, at: datetime, model: Any = CustomerStalled, **more: Any) -> None:
        """A fact that was taken at a time."""
        self.facts += 1
        given: dict[str, Any] = {} if model is StageChanged else {"stage": "retention"}
        if model is CustomerStalled:
            given |= {"since": at, "due_at": at, "level": 1}
        event = model(
            **{
                "customer_id": "c-1", "lifecycle": "service-cycle", "lifecycle_version": 1, "fact_no": self.facts,
                "occurred_at": at, "decided_at": at, "backfill": False, **given, **more,
            }
        )  # fmt: skip
        ident = str(fact_id("c-1", "service-cycle", 0, self.facts))
        published = StageEvent("touchline.a-fact", fact_of(ident, event), ident, event.model_dump(mode="json"))
        async with self.pool.acquire() as connection, connection.transaction():
            now = Circumstances(at, to_customers=self.context.to_customers)
            await apply_events(PostgresTransaction(connection, HASHES, 1), [published], self.context, 0, now)

    async def read_through(self, at: datetime) -> None:
        """Note that everything up to an instant was read."""
        await self.pool.execute(
            "INSERT INTO positions (stream, partition, epoch, read_through) VALUES ($1, 0, 1, $2) "
            "ON CONFLICT (stream, partition) DO UPDATE SET read_through = $2",
            STREAM, at,
        )  # fmt: skip

    async def rows(self) -> list[tuple[str, str, str | None, str | None]]:
        """(outcome, delivery's status, reason code, last error), in the order of decisions."""
        return [
            tuple(row)
            for row in await self.pool.fetch(
                "SELECT outcome, status, reason_code, last_error FROM actions JOIN deliveries USING (action_id) "
                "ORDER BY actions.fact_at, actions.play"
            )
        ]


def endpoint(mailbox: MailCatcher) -> Endpoint:
    smtp = Smtp(host=mailbox.host, port=mailbox.port, tls="none", timeout_seconds=60)
    return Endpoint(name="mail", type="email", smtp=smtp, sender="care@example.org")


async def sent_now(company: Company, working: Working, mailbox: MailCatcher, settled: Callable[[], Any]) -> None:
    """Run a worker until what was due is settled."""
    async with working(endpoint(mailbox), limits=LimitsBeforeSend(FixedPlays(company.context), STREAM)) as worker:

        async def woken() -> bool:
            worker.wake()
            return bool(await settled())

        await wait_until(woken, "what was due is settled")


LATE = timedelta(hours=5)
"""How long what follows waited behind an outage."""


@pytest.mark.parametrize(
    ("limits", "status", "outcome", "code"),
    [
        pytest.param({}, "sent", "sent", None, id="nothing forbids it"),
        pytest.param({"quiet_hours": {}}, "pending", "decided", None, id="quiet hours"),
        pytest.param(
            {"business_days": {"days": ["mon"], "holidays": []}, "max_age": "30d"}, None, None, None, id="business days"
        ),
        pytest.param({"max_age": "4h"}, "cancelled", "cancelled", "too_old", id="max_age"),
        pytest.param({"max_age": "6h"}, "sent", "sent", None, id="max_age not over"),
    ],
)
async def test_a_limit_that_let_a_decision_pass_is_asked_again_when_an_outage_is_over(
    pool: asyncpg.Pool, working: Working, mailbox: MailCatcher, limits: dict[str, Any], status: str | None,
    outcome: str | None, code: str | None,
) -> None:  # fmt: skip
    now = datetime.now(UTC)
    if "quiet_hours" in limits:
        limits = {"quiet_hours": {"from": hour(-1), "to": hour(2)}}
    if "business_days" in limits:
        # Decided on a business day; today is none.
        yesterday = (now - timedelta(days=1)).strftime("%a").lower()
        limits = {"business_days": {"days": [yesterday]}, "max_age": "30d"}
        decided_at, status, outcome = now - timedelta(days=1), "pending", "decided"
    else:
        decided_at = now - LATE
    company = Company(pool, a_context({"limits": limits}))
    await company.touchpoint(email="ada@example.org")
    await company.fact(decided_at)
    assert [row[:2] for row in await company.rows()] == [("decided", "pending")]
    await company.read_through(datetime.now(UTC))

    async def settled() -> bool:
        ((_, state, _, error),) = await company.rows()
        return state != "delivering" and (state != "pending" or error is not None)

    await sent_now(company, working, mailbox, settled)
    ((found, state, reason, error),) = await company.rows()
    assert (found, state, reason) == (outcome, status, code)
    assert len(mailbox.mails) == (1 if status == "sent" else 0)
    if status == "pending":
        # Put off, at no cost of an attempt, and until it may be sent.
        row = await pool.fetchrow("SELECT attempts, next_attempt_at FROM deliveries")
        assert row is not None
        assert row["attempts"] == 0
        assert row["next_attempt_at"] > now + timedelta(minutes=1)
        assert error is not None
        assert error.startswith(("quiet_hours: ", "not_a_business_day: "))


@pytest.mark.parametrize(
    ("since", "outcome", "code"),
    [
        ("recovered", "cancelled", "recovered"),
        ("moved", "cancelled", "moved_on"),
        ("bought", "cancelled", "not_concerned"),
        ("unsubscribed", "held", "suppressed"),
        ("refused", "held", "no_consent"),
        ("refused all mail", "held", "no_consent"),
        ("play gone", "cancelled", "play_gone"),
        ("nothing", "sent", None),
    ],
)
async def test_a_delivery_is_withheld_when_consent_or_address_changed_meanwhile(
    pool: asyncpg.Pool, working: Working, mailbox: MailCatcher, since: str, outcome: str, code: str | None
) -> None:
    # The mails of a list, which a refusal of the list ends, and one of all mail.
    limits = {"consent_channel": "product-news"} if since == "refused all mail" else {}
    play = {"if": {"history": [{"type": "purchased", "count": 0}]}, "limits": limits}
    company = Company(pool, a_context(play))
    await company.touchpoint(email="ada@example.org")
    now = datetime.now(UTC)
    await company.fact(now - LATE)
    # Facts cancel what was tried: here they come while nothing is known to have been tried.
    await pool.execute("UPDATE deliveries SET status = 'delivering', locked_until = now()")
    match since:
        case "recovered":
            await company.fact(now, CustomerRecovered, stalled_seconds=1.0, touchpoint_id="t-1")
        case "moved":
            more = {"from_stage": "retention", "to_stage": "advocacy", "move": "advance", "sequence": 2}
            await company.fact(now, StageChanged, reason={"kind": "rule", "text": "a test"}, **more)
        case "bought":
            await company.touchpoint("purchased")
        case "unsubscribed":
            await company.touchpoint("unsubscribed", email="ada@example.org", properties={"channel": "email"})
        case "refused" | "refused all mail":
            await company.touchpoint("identified", properties={"consent": {"email": False}})
        case "play gone":
            company.context = a_context()
    await company.read_through(datetime.now(UTC))
    await pool.execute("UPDATE deliveries SET status = 'pending'")

    async def settled() -> bool:
        return (await company.rows())[0][1] in ("cancelled", "sent")

    await sent_now(company, working, mailbox, settled)
    ((found, _, reason, _),) = await company.rows()
    assert (found, reason) == (outcome, code)
    assert len(mailbox.mails) == (1 if outcome == "sent" else 0)


async def test_after_an_outage_nothing_old_is_sent_before_the_topics_have_been_read(
    pool: asyncpg.Pool, working: Working, mailbox: MailCatcher
) -> None:
    company = Company(pool, a_context({}))
    await company.touchpoint(email="ada@example.org")
    await company.fact(datetime.now(UTC) - LATE)
    await company.read_through(datetime.now(UTC) - LATE)

    async def put_off() -> bool:
        return (await company.rows())[0][3] is not None

    await sent_now(company, working, mailbox, put_off)
    assert mailbox.mails == []
    await company.read_through(datetime.now(UTC))
    await pool.execute("UPDATE deliveries SET next_attempt_at = now()")

    async def sent() -> bool:
        return (await company.rows())[0][1] == "sent"

    await sent_now(company, working, mailbox, sent)
    assert len(mailbox.mails) == 1


async def test_a_mail_goes_to_the_address_of_now(pool: asyncpg.Pool, working: Working, mailbox: MailCatcher) -> None:
    company = Company(pool, a_context({}))
    await company.touchpoint(email="old@example.org")
    await company.fact(datetime.now(UTC) - LATE)
    await company.touchpoint(email="new@example.org")
    await company.read_through(datetime.now(UTC))

    async def sent() -> bool:
        return (await company.rows())[0][1] == "sent"

    await sent_now(company, working, mailbox, sent)
    assert [mail.envelope_to for mail in mailbox.mails] == [["new@example.org"]]


@pytest.mark.parametrize("priorities", [(0, 5, 1), (5, 0, 1), (0, 0, 0)])
async def test_what_piled_up_behind_an_outage_keeps_to_the_cap_the_higher_priority_first(
    pool: asyncpg.Pool, priorities: tuple[int, ...]
) -> None:
    """Decided at times so far apart that each was allowed; due at one moment, and claimed by many workers at once."""
    cap = {"per_customer": {"count": 1, "within": "2h"}, "max_age": "30d"}
    company = Company(
        pool,
        a_context(*({"limits": cap, "priority": priority, "when": {"fact": "customer-stalled", "level": n + 1}}
                 for n, priority in enumerate(priorities))),
    )  # fmt: skip
    await company.touchpoint(email="ada@example.org")
    start = datetime.now(UTC) - timedelta(hours=20)
    for n in range(len(priorities)):
        at = start + timedelta(hours=3 * n)
        # What was decided before counts as delivered then: nothing tells it apart from a delivery in time.
        await pool.execute("UPDATE actions SET outcome = 'sent', finished_at = decided_at")
        await company.fact(at, level=n + 1, since=start, due_at=at)
    await pool.execute("UPDATE actions SET outcome = 'decided', finished_at = NULL")
    await company.read_through(datetime.now(UTC))
    check = CheckBeforeSend(LimitsBeforeSend(FixedPlays(company.context), STREAM))
    queues = [PostgresDeliveryQueue(pool, HASHES, check, partitions=1) for _ in range(4)]
    now = datetime.now(UTC)
    lease = timedelta(seconds=15)
    claims = await asyncio.gather(*(queue.claim({"mail": 1}, now, lease=lease, probe=lease) for queue in queues))
    going = [one for claimed in claims for one in claimed if one.dropped is None]
    assert len(going) <= 1
    # Asked again, when the first of them is through: still one at most, and the one that matters most.
    await pool.execute("UPDATE deliveries SET status = 'pending', next_attempt_at = now(), locked_by = NULL")
    claimed = await queues[0].claim({"mail": 8}, datetime.now(UTC), lease=lease, probe=lease)
    (first,) = [one for one in claimed if one.dropped is None]
    play = await pool.fetchval("SELECT play FROM actions WHERE action_id = $1::uuid", first.delivery.action_id)
    if len(set(priorities)) > 1:
        assert play == f"play-{priorities.index(max(priorities))}"
    assert await pool.fetchval("SELECT count(*) FROM deliveries WHERE status = 'pending'") == len(priorities) - 1


@pytest.mark.parametrize("state", ["disabled", "open"])
async def test_what_waits_for_a_breaker_is_given_up_when_it_is_too_old(
    pool: asyncpg.Pool, working: Working, mailbox: MailCatcher, state: str
) -> None:
    company = Company(pool, a_context({"limits": {"max_age": "4h"}}, {"limits": {"max_age": "6h"}}))
    await company.touchpoint(email="ada@example.org")
    await company.fact(datetime.now(UTC) - LATE)
    await company.read_through(datetime.now(UTC))
    await pool.execute(
        "INSERT INTO endpoint_state (endpoint, breaker, disabled_at, retry_after, updated_at) "
        "VALUES ('mail', $1, $2, now() + interval '1 hour', now())",
        "closed" if state == "disabled" else "open",
        datetime.now(UTC) if state == "disabled" else None,
    )

    async def given_up() -> bool:
        return any(row[1] == "cancelled" for row in await company.rows())

    await sent_now(company, working, mailbox, given_up)
    assert sorted(row[:3] for row in await company.rows()) == [
        ("cancelled", "cancelled", "too_old"), ("decided", "pending", None)
    ]  # fmt: skip
    assert mailbox.mails == []
