"""Webhooks from the database to real receivers, and what is written down and published of them."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import svix.webhooks
from touchline_devstack.receivers import Answer, WebhookReceiver
from touchline_notifier.adapters.http.guarded_client import GuardedHttp
from touchline_notifier.adapters.postgres.operations import PostgresOperations
from touchline_runtime.audit.command_line import command_line_actor
from touchline_schemas.events.actions import Action
from touchline_schemas.touchpoint import Touchpoint

from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
ACTOR = command_line_actor()
Working = Callable[..., Any]


async def test_an_action_arrives_signed_and_is_published_as_delivered(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any, secret: str
) -> None:
    action, delivery = await stored.action("crm", data={"play": "win-back"}, subject="Hello", text="We miss you")
    async with working(webhook_endpoint("crm", receiver.url)):
        row = await stored.until_status(delivery, "sent")
    (arrived,) = receiver.arrived
    assert arrived.verdict == "valid"
    svix.webhooks.Webhook(secret).verify(arrived.body, arrived.headers)
    assert arrived.json == {
        "type": "touchline.action",
        "timestamp": "2026-03-01T12:00:00Z",
        "data": {"customer_id": "c-1", "play": "win-back", "subject": "Hello", "body": "We miss you"},
    }
    assert (row["attempts"], row["last_status"], row["locked_by"]) == (1, 204, None)
    assert row["finished_at"] is not None

    (expected_text, touched) = await stored.outbox()
    assert (expected_text[0], expected_text[1], expected_text[2]["ce_type"]) == (
        "retention-actions",
        "c-1",
        "touchline.action-delivered",
    )
    event = Action.model_validate(expected_text[3])
    assert (event.action_id, event.outcome, event.endpoint, event.sequence) == (action, "sent", "crm", 2)
    touchpoint = Touchpoint.model_validate(touched[3])
    assert (touched[0], touchpoint.key, touchpoint.source, touchpoint.type, touchpoint.direction) == (
        "touchpoints", "c-1", "notifier", "contacted", "outbound",
    )  # fmt: skip


async def test_a_retry_carries_the_same_id_and_body_and_a_fresh_timestamp(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any
) -> None:
    receiver.answer = lambda arrived: Answer(204 if len(receiver.arrived) > 2 else 500, body=b"out of order")
    delivery = await stored.subscription("crm")
    began = datetime.now(UTC)
    async with working(webhook_endpoint("crm", receiver.url)):
        failed = await stored.until_attempted(delivery, 1)
        assert failed["last_error"] == "answered 500: out of order"
        assert failed["next_attempt_at"] - began > timedelta(seconds=4)
        began = datetime.now(UTC)
        await stored.due_now(attempts=1)
        again = await stored.until_attempted(delivery, 2)
        assert again["next_attempt_at"] - began > timedelta(minutes=4)
        await stored.due_now(attempts=2)
        await stored.until_status(delivery, "sent")
    assert [one.verdict for one in receiver.arrived] == ["valid"] * 3
    assert len({one.webhook_id for one in receiver.arrived}) == 1
    assert len({one.body for one in receiver.arrived}) == 1
    assert receiver.counts() == {"valid": 3, "invalid": 0, "duplicates": 2}


async def test_after_the_last_attempt_an_action_is_published_as_failed_and_can_be_replayed(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any, pool: asyncpg.Pool
) -> None:
    receiver.answer = lambda arrived: Answer(400, body=b"what is this?")
    _, delivery = await stored.action("crm")
    await pool.execute("UPDATE deliveries SET attempts = 9")
    async with working(webhook_endpoint("crm", receiver.url)):
        row = await stored.until_status(delivery, "failed")
        assert row["last_error"] == "gave up after 10 attempts; the last: answered 400: what is this?"
        (expected_text, touched) = await stored.outbox()
        assert expected_text[2]["ce_type"] == "touchline.action-failed"
        assert expected_text[3]["reason"].startswith("delivery_failed: gave up after 10 attempts")
        assert touched[3]["type"] == "contact_failed"

        receiver.answer = lambda arrived: Answer()
        assert await PostgresOperations(pool).replay(row["id"], datetime.now(UTC), ACTOR) == "pending"
        await stored.until_status(delivery, "sent")
    assert len({one.webhook_id for one in receiver.arrived}) == 1
    assert [expected_text[2]["ce_type"] for expected_text in (await stored.outbox())[2:]] == [
        "touchline.action-delivered", "touchline.touchpoint",
    ]  # fmt: skip


async def test_a_replay_of_what_was_sent_goes_out_again_and_tells_nobody_twice(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any, pool: asyncpg.Pool
) -> None:
    _, delivery = await stored.action("crm")
    async with working(webhook_endpoint("crm", receiver.url)):
        row = await stored.until_status(delivery, "sent")
        assert await PostgresOperations(pool).replay(row["id"], datetime.now(UTC), ACTOR) == "pending"
        await stored.until_status(delivery, "sent")
    assert receiver.counts() == {"valid": 2, "invalid": 0, "duplicates": 1}
    assert len(await stored.outbox()) == 2


async def test_410_disables_the_endpoint_until_an_operator_opens_it(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any, pool: asyncpg.Pool
) -> None:
    receiver.answer = lambda arrived: Answer(410)
    first = await stored.subscription("crm")
    async with working(webhook_endpoint("crm", receiver.url)):
        assert (await stored.until_status(first, "failed"))["last_status"] == 410
        second = await stored.subscription("crm")
    # Another worker, after a restart, knows it too. What waits is neither tried nor failed.
    async with working(webhook_endpoint("crm", receiver.url)) as worker:
        third = await stored.subscription("crm")
        worker.wake()
        await asyncio.sleep(1)
        for waiting in (second, third):
            row = await stored.delivery(waiting)
            assert (row["status"], row["attempts"], row["last_error"]) == ("pending", 0, None)
        assert len(receiver.arrived) == 1
        receiver.answer = lambda arrived: Answer()
        await PostgresOperations(pool).enable("crm", datetime.now(UTC), ACTOR)
        for waiting in (second, third):
            await stored.until_status(waiting, "sent")
    assert len(receiver.arrived) == 3


async def test_429_with_retry_after_holds_the_whole_endpoint_back_for_that_long(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any, pool: asyncpg.Pool
) -> None:
    receiver.answer = lambda arrived: Answer(429, {"Retry-After": "3000"})
    pause = timedelta(seconds=3000)
    throttled = await stored.subscription("crm")
    began = datetime.now(UTC)
    async with working(webhook_endpoint("crm", receiver.url)):
        row = await stored.until_attempted(throttled, 1)
        assert began + pause <= row["next_attempt_at"] <= datetime.now(UTC) + pause
        until = await pool.fetchval("SELECT retry_after FROM endpoint_state WHERE endpoint = 'crm'")
        assert began + pause <= until <= datetime.now(UTC) + pause
        waiting = await stored.subscription("crm")
    async with working(webhook_endpoint("crm", receiver.url)) as worker:
        worker.wake()
        receiver.answer = lambda arrived: Answer()
        await stored.due_now()
        await stored.until_status(throttled, "sent")
        row = await stored.until_status(waiting, "sent")
        assert row["attempts"] == 1  # what waited for the endpoint was no attempt
    assert len(receiver.arrived) == 3


async def test_a_failing_endpoint_opens_its_breaker_and_a_single_probe_closes_it_after_a_restart(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any, pool: asyncpg.Pool
) -> None:
    receiver.answer = lambda arrived: Answer(500)
    deliveries = [await stored.subscription("crm") for _ in range(30)]

    async def opened() -> bool:
        return bool(await pool.fetchval("SELECT true FROM endpoint_state WHERE breaker = 'open'"))

    async with working(webhook_endpoint("crm", receiver.url)):
        await wait_until(opened)
    tried = len(receiver.arrived)
    assert tried < len(deliveries)

    answered = threading.Event()
    receiver.answer = lambda arrived: Answer(204 if answered.wait(60) else 500)
    async with working(webhook_endpoint("crm", receiver.url)):
        await pool.execute("UPDATE endpoint_state SET retry_after = now()")

        async def probing() -> bool:
            return len(receiver.arrived) > tried

        await wait_until(probing)
        await pool.execute("UPDATE deliveries SET next_attempt_at = now() WHERE status = 'pending'")
        await asyncio.sleep(0.5)
        assert len(receiver.arrived) == tried + 1  # the probe goes alone
        answered.set()
        await stored.due_now()
        for delivery in deliveries:
            await stored.until_status(delivery, "sent")
    assert await pool.fetchval("SELECT breaker FROM endpoint_state") == "closed"


async def test_an_endpoint_that_hangs_holds_up_nobody_else(
    stored: Any, working: Working, receiver: WebhookReceiver, second_receiver: WebhookReceiver, webhook_endpoint: Any
) -> None:
    receiver.answer = lambda arrived: Answer(pause_seconds=60)
    hanging = [await stored.subscription("slow") for _ in range(50)]
    quick = [await stored.subscription("quick") for _ in range(100)]
    slow_endpoint = webhook_endpoint("slow", receiver.url, timeout_seconds=60)
    async with working(slow_endpoint, webhook_endpoint("quick", second_receiver.url), cut_off=True):
        for delivery in quick:
            await stored.until_status(delivery, "sent")
        assert len(receiver.arrived) <= 8
        assert (await stored.delivery(hanging[0]))["status"] == "delivering"


async def test_an_endpoint_that_never_answers_is_given_its_time_and_no_more(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any
) -> None:
    receiver.answer = lambda arrived: Answer(pause_seconds=60)
    delivery = await stored.subscription("slow")
    began = asyncio.get_running_loop().time()
    async with working(webhook_endpoint("slow", receiver.url, timeout_seconds=1)):
        row = await stored.until_attempted(delivery, 1)
    assert asyncio.get_running_loop().time() - began >= 1
    assert row["last_error"] == "no answer within 1 s"


async def test_an_answer_whose_body_drips_counts_by_its_status_and_costs_little_time(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any
) -> None:
    receiver.answer = lambda arrived: Answer(200, body=b"x" * 300, body_pause_seconds=1.0)
    delivery = await stored.subscription("crm")
    async with working(webhook_endpoint("crm", receiver.url)):
        # The whole body would take five minutes.
        await stored.until_status(delivery, "sent")


async def test_a_large_answer_is_cut(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any
) -> None:
    receiver.answer = lambda arrived: Answer(500, body=b"x" * 50_000_000)
    delivery = await stored.subscription("crm")
    async with working(webhook_endpoint("crm", receiver.url)):
        row = await stored.until_attempted(delivery, 1)
    assert row["last_error"] == "answered 500: " + "x" * 300


async def test_a_redirect_is_never_followed(
    stored: Any, working: Working, receiver: WebhookReceiver, second_receiver: WebhookReceiver, webhook_endpoint: Any
) -> None:
    for status in (301, 302, 303, 307, 308):
        receiver.answer = lambda arrived, status=status: Answer(status, {"Location": second_receiver.url})  # type: ignore[misc]
        delivery = await stored.subscription("crm")
        async with working(webhook_endpoint("crm", receiver.url)):
            row = await stored.until_attempted(delivery, 1)
        assert row["last_status"] == status
        assert "redirects are not followed" in row["last_error"]
        await stored.pool.execute("DELETE FROM endpoint_state")
    assert second_receiver.arrived == []


async def test_an_endpoint_on_this_machine_is_refused_unless_its_network_is_allowed(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any
) -> None:
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"):
        delivery = await stored.subscription("crm")
        endpoint = webhook_endpoint("crm", f"http://{host}:{receiver.port}/hook")
        async with working(endpoint, http=GuardedHttp(())):
            row = await stored.until_attempted(delivery, 1)
        assert "leads where nothing is sent" in row["last_error"], host
        await stored.pool.execute("DELETE FROM endpoint_state")
    assert receiver.arrived == []


async def test_a_message_that_waited_past_its_age_is_cancelled_and_never_sent(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any
) -> None:
    _, delivery = await stored.action("crm", first_before=datetime.now(UTC) - timedelta(seconds=1))
    async with working(webhook_endpoint("crm", receiver.url)):
        await stored.until_status(delivery, "cancelled")
    assert receiver.arrived == []
    ((_, _, headers, value),) = await stored.outbox()
    assert headers["ce_type"] == "touchline.action-decided"
    assert (value["outcome"], value["reason"].partition(":")[0]) == ("cancelled", "too_old")


async def test_a_delivery_to_an_endpoint_that_left_the_file_says_so(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any
) -> None:
    delivery = await stored.subscription("gone")
    async with working(webhook_endpoint("crm", receiver.url)):
        row = await stored.until_attempted(delivery, 1)
    assert row["last_error"] == "the endpoints file has no endpoint 'gone'"


async def test_a_message_too_large_for_a_webhook_fails_at_once_and_leaves_the_endpoint_in_peace(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any, pool: asyncpg.Pool
) -> None:
    _, delivery = await stored.action("crm", text="x" * 20_001)
    async with working(webhook_endpoint("crm", receiver.url)):
        row = await stored.until_status(delivery, "failed")
    assert "20000 at most" in row["last_error"]
    assert await pool.fetchval("SELECT coalesce(max(failures), 0) FROM endpoint_state") == 0


async def test_with_sending_switched_off_plays_wait_and_subscribers_are_served(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any, pool: asyncpg.Pool
) -> None:
    await pool.execute("INSERT INTO kept (name, value) VALUES ('sending_off', '{}')")
    _, of_a_play = await stored.action("crm")
    of_a_fact = await stored.subscription("crm")
    async with working(webhook_endpoint("crm", receiver.url)):
        await stored.until_status(of_a_fact, "sent")
        assert (await stored.delivery(of_a_play))["attempts"] == 0
        await pool.execute("DELETE FROM kept WHERE name = 'sending_off'")
        await stored.until_status(of_a_play, "sent")


async def test_several_workers_share_the_deliveries_and_send_each_once(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any
) -> None:
    deliveries = [await stored.subscription("crm") for _ in range(200)]
    endpoint = webhook_endpoint("crm", receiver.url)
    async with working(endpoint), working(endpoint), working(endpoint):
        for delivery in deliveries:
            await stored.until_status(delivery, "sent")
    assert receiver.counts() == {"valid": 200, "invalid": 0, "duplicates": 0}


async def test_what_a_worker_was_delivering_when_it_was_cut_off_another_delivers_under_the_same_id(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any, pool: asyncpg.Pool
) -> None:
    receiver.answer = lambda arrived: Answer(pause_seconds=60 if len(receiver.arrived) == 1 else 0)
    _, delivery = await stored.action("crm")
    began = datetime.now(UTC)
    endpoint = webhook_endpoint("crm", receiver.url)
    async with working(endpoint, cut_off=True):

        async def arrived() -> bool:
            return bool(receiver.arrived)

        await wait_until(arrived)
    row = await stored.delivery(delivery)
    assert row["status"] == "delivering"
    assert began < row["locked_until"] <= datetime.now(UTC) + timedelta(seconds=15)
    await pool.execute("UPDATE deliveries SET next_attempt_at = now(), locked_until = now()")
    async with working(endpoint):
        row = await stored.until_status(delivery, "sent")
    assert row["attempts"] == 2
    assert len({one.webhook_id for one in receiver.arrived}) == 1


async def test_an_erased_delivery_is_forgotten_even_while_it_is_under_way(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any, pool: asyncpg.Pool
) -> None:
    erased = threading.Event()
    receiver.answer = lambda arrived: Answer(204 if erased.wait(60) else 500)
    await stored.action("crm")
    async with working(webhook_endpoint("crm", receiver.url)):

        async def arrived() -> bool:
            return bool(receiver.arrived)

        await wait_until(arrived)
        await pool.execute("DELETE FROM actions")
        erased.set()
    assert await pool.fetchval("SELECT count(*) FROM deliveries") == 0
    assert await stored.outbox() == []


async def test_words_that_no_database_takes_end_no_worker(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Callable[..., Any]
) -> None:
    receiver.answer = lambda arrived: Answer(500, body=b"out of \x00 order \xff\xfe")
    delivery = await stored.subscription("crm")
    async with working(webhook_endpoint("crm", receiver.url)):
        row = await stored.until_attempted(delivery, 1)
    assert row["last_error"].startswith("answered 500: out of \ufffd order")


@pytest.mark.parametrize("value", ["Zoë", "田中 太郎", "🎉", "a\tb", 'naïve "quoted"; x=1'])
async def test_a_header_with_any_name_in_it_arrives_as_utf_8(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any, value: str
) -> None:
    async with working(webhook_endpoint("crm", receiver.url)):
        _, delivery = await stored.action("crm", headers={"X-Name": value})
        await stored.until_status(delivery, "sent")
    (arrived,) = receiver.arrived
    assert arrived.headers["x-name"].encode("latin-1").decode() == value


async def test_customers_whose_data_can_not_be_sent_fail_alone_and_the_endpoint_serves_the_others(
    stored: Any, working: Working, receiver: WebhookReceiver, webhook_endpoint: Any, pool: asyncpg.Pool
) -> None:
    receiver.answer = lambda arrived: Answer(422 if b"refuse me" in arrived.body else 204)
    async with working(webhook_endpoint("crm", receiver.url)):
        bad = [{"headers": {"X-Name": value}} for value in ("a\nb", "a\r\nX-Evil: 1", "\x1b[31m", "\x7f")] * 2
        large: list[Any] = [{"text": "x" * 30_000}] * 8
        failed = [(await stored.action("crm", **message))[1] for message in (*bad, *large)]
        refused = [(await stored.action("crm", text="refuse me"))[1] for _ in range(8)]
        for delivery in failed:
            assert (await stored.until_status(delivery, "failed"))["attempts"] == 1
        for delivery in refused:
            await stored.until_attempted(delivery, 1)
        _, good = await stored.action("crm", text="fine")
        await stored.until_status(good, "sent")
    assert "x-evil" not in {name.lower() for arrived in receiver.arrived for name in arrived.headers}
    assert await pool.fetchval("SELECT count(*) FROM endpoint_state WHERE breaker <> 'closed' OR failures > 0") == 0
