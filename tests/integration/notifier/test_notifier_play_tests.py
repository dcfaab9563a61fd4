"""*Send a test to me*: one marked message to the address that is named. It counts for nothing and changes nobody."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from touchline_devstack.receivers import Answer, MailCatcher, WebhookReceiver

from tests.support.notifier.published_plays import PATH, call, publish, text
from tests.support.notifier.world import SECRET, Process, World

pytestmark = pytest.mark.stack

MAIL = """
play: win-back
when: {fact: customer-stalled, lifecycle: service-cycle}
action:
  channel: email
  subject: "Hello {{ traits.first_name }}"
  body: "Come back, {{ customer_id }}. Or not: {{ unsubscribe_url }}"
  headers: {x-touchline-test: "no", X-Campaign: spring}
limits: {consent: required, per_customer: {count: 1, within: 7d}}
hold_out: 100%
"""


async def sends(process: Process, **body: Any) -> httpx.Response:
    return await call(process, "POST", f"{PATH}/test", json=body)


async def nothing_counts(world: World) -> None:
    """No row of an action, a delivery or an assignment, and nothing on the topic."""
    pool = await world.database()
    for table in ("actions", "deliveries", "hold_out_assignments", "endpoint_state"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    assert await world.published() == []


def mail_endpoint(world: World, port: int) -> None:
    smtp = f"{{host: 127.0.0.1, port: {port}, tls: none}}"
    world.endpoints(f"endpoints: [{{name: mail, type: email, smtp: {smtp}, from: 'Care <care@example.org>'}}]")


async def test_a_test_mail_goes_to_the_named_address_alone_and_counts_for_nothing(world: World) -> None:
    with MailCatcher() as catcher:
        mail_endpoint(world, catcher.port)
        process = await world.start().ready()
        assert (await sends(process, to="me@example.org", definition=MAIL)).status_code == 409  # nobody is known
        await world.touchpoint("c-1", "identified", email="ada@example.org", properties={"first_name": "Ada"})
        await world.settled()
        await world.touchpoint("c-2", "identified", email="bob@example.org")
        await world.settled()
        answer = await sends(process, to="me@example.org", definition=MAIL, customer_id="c-1")
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["outcome"], found["status"], found["error"]) == ("sent", 250, None)
        assert (found["subject"], found["to"], found["customer_id"]) == ("[test] Hello Ada", "me@example.org", "c-1")
        (mail,) = catcher.mails
        assert mail.envelope_to == ["me@example.org"]
        assert (mail.message["To"], mail.message["Subject"]) == ("me@example.org", "[test] Hello Ada")
        assert mail.message.get_all("X-Touchline-Test") == ["true"]
        assert mail.message["X-Campaign"] == "spring"
        # No way to unsubscribe the customer: no header, and a link that is nobody's.
        assert mail.message["List-Unsubscribe"] is None
        assert f"Or not: {process.url}/v1/unsubscribe/test" in mail.text
        assert "ada@example.org" not in mail.raw.decode()
        async with httpx.AsyncClient(timeout=60) as client:
            assert (await client.post(f"{process.url}/v1/unsubscribe/test")).status_code == 404
        assert (await call(process, "GET", "/v1/profiles/c-1")).json()["consent"] == {}
        await nothing_counts(world)
        (entry,) = (await call(process, "GET", "/v1/audit")).json()["items"]
        assert (entry["action"], entry["target"], entry["actor"]) == ("play_test_sent", "play/win-back", "local")
        assert "me@example.org" not in str(entry)
        # A template that fails for the newest customer says what to do; the play in force is the default.
        failed = await sends(process, to="me@example.org", definition=MAIL, customer_id="c-2")
        assert (failed.status_code, "action.subject" in failed.json()["detail"]) == (422, True)
        assert (await publish(process, MAIL)).status_code == 201
        assert (await sends(process, to=" Me@EXAMPLE.org", customer_id="c-1")).status_code == 200
        assert len(catcher.mails) == 2
        catcher.refuse = lambda address: "550 5.1.1 no such user"
        refused = await sends(process, to="me@example.org", customer_id="c-1")
        assert (refused.json()["outcome"], refused.json()["error"]) == ("failed", "answered 550 5.1.1")
        await nothing_counts(world)


async def test_suppressions_the_switch_and_wrong_requests_hold_a_test_back(world: World) -> None:
    with MailCatcher() as catcher:
        mail_endpoint(world, catcher.port)
        process = await world.start().ready()
        await world.touchpoint("c-1", "identified", properties={"first_name": "Ada"})
        await world.settled()
        for body, word in (
            ({}, "name your own"),
            ({"to": "nobody"}, "to:"),
            ({"to": "me@example.org", "customer_id": "c-9"}, "c-9"),
            ({"to": "me@example.org", "definition": MAIL.replace("customer_id", "custom")}, "custom"),
        ):
            wrong = await sends(process, **({"definition": MAIL} | body))
            assert (wrong.status_code, word in wrong.json()["detail"]) == (422, True), wrong.text
        assert (await sends(process, to="me@example.org")).status_code == 404  # no such play is in force
        me = "/v1/suppressions/me@example.org"
        await call(process, "PUT", me, json={"reason": "left the company"})
        held = await sends(process, to="ME@example.org", definition=MAIL)
        assert (held.status_code, held.json()["type"]) == (409, "/problems/suppressed")
        await call(process, "DELETE", me)
        await call(process, "PUT", "/v1/sending", json={"sending": False})
        off = await sends(process, to="me@example.org", definition=MAIL)
        assert (off.status_code, off.json()["type"]) == (409, "/problems/sending-off")
        await call(process, "PUT", "/v1/sending", json={"sending": True})
        assert catcher.mails == []
        actions = [one["action"] for one in (await call(process, "GET", "/v1/audit")).json()["items"]]
        assert "play_test_sent" not in actions
        assert (await sends(process, to="me@example.org", definition=MAIL)).json()["outcome"] == "sent"
        stopped = await world.start("serve", TOUCHLINE_SENDING="false").ready()
        assert (await sends(stopped, to="me@example.org", definition=MAIL)).status_code == 409
        assert len(catcher.mails) == 1


async def test_a_test_of_a_webhook_is_marked_and_goes_to_the_endpoint_that_works(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        process = await world.start().ready()
        await world.touchpoint("c-1")
        await world.settled()
        assert (await sends(process, to="me@example.org", definition=text(1))).status_code == 422
        for _ in range(2):
            assert (await sends(process, definition=text(1))).json()["outcome"] == "sent"
        first, second = receiver.arrived
        assert (first.verdict, first.headers["x-touchline-test"]) == ("valid", "true")
        assert first.webhook_id != second.webhook_id
        assert first.json["type"] == "touchline.test"
        data = first.json["data"]
        assert (data["test"], data["subject"], data["body"]) == (True, "[test]", "draft 1 for c-1")
        # 410 says nothing about the endpoint's deliveries: tests teach the breaker nothing.
        receiver.answer = lambda arrived: Answer(410)
        gone = (await sends(process, definition=text(1))).json()
        assert (gone["outcome"], gone["status"]) == ("failed", 410)
        await nothing_counts(world)
        assert (await publish(process, text(1))).status_code == 201
        await world.stalled("c-1")
        await world.await_actions(1, "failed")
        disabled = await sends(process)
        assert (disabled.status_code, disabled.json()["type"]) == (409, "/problems/endpoint-disabled")


async def test_one_person_sends_thirty_tests_in_an_hour(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        process = await world.start().ready()
        await world.touchpoint("c-1")
        await world.settled()
        answers = await asyncio.gather(*(sends(process, definition=text(1)) for _ in range(34)))
        assert Counter(answer.status_code for answer in answers) == {200: 30, 429: 4}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["type"] == "/problems/too-many-tests"
        assert int(refused.headers["retry-after"]) > 0
        assert len(receiver.arrived) == 30
        pool = await world.database()
        found = await pool.fetchval("SELECT count(*) FROM audit_log WHERE action = 'play_test_sent'")
        assert found == 30
