"""From a mail service's or a CRM's raw request, as ingest publishes it, to the mail that is sent or held back.

Kinds: whose address; from what somebody opted out; coming back; which bounces count.
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from touchline_devstack.receivers import MailCatcher
from touchline_ingest.core.sources.interface import Request, SourceConfig, Understood
from touchline_ingest.core.sources.mail.postmark import Postmark
from touchline_ingest.core.sources.mail.sendgrid import _draft as sendgrid_draft
from touchline_ingest.core.touchpoints.acceptance import Accepted, Terms, judge, named_by
from touchline_schemas.topics import TOUCHPOINTS

from tests.support.notifier.world import World

pytestmark = pytest.mark.stack

MAILS = """
play: mails
when: {fact: stage-changed, move: advance}
exit: false
action: {channel: email, subject: Hello, body: Hello}
"""
NEWS = """
play: news
when: {fact: stage-changed, move: regress}
action: {channel: email, subject: News, body: News}
limits: {consent_channel: product-news}
"""


async def publish(world: World, drafts: list[dict[str, Any]]) -> None:
    """As ingest does: through its gate, under the key it files them under."""
    for verdict in judge(drafts, Terms("mailer"), now=datetime.now(UTC), name_item=named_by("mailer", "k")):
        assert isinstance(verdict, Accepted), verdict
        record = verdict.record
        await world.producer.send_and_wait(
            TOUCHPOINTS.full_name(world.prefix), record.value, key=record.key, headers=record.headers
        )


async def sendgrid(world: World, event: str, customer: str, address: str, **more: Any) -> None:
    text = {"event": event, "email": address, "customer_id": customer, "timestamp": int(datetime.now(UTC).timestamp())}
    config = SourceConfig("mailer", "sendgrid", (), {"topics": {7: "product-news"}})
    await publish(world, [sendgrid_draft(text | more, config, json.dumps(text | more).encode())])


async def postmark(world: World, record: dict[str, Any], customer: str, address: str) -> None:
    now = datetime.now(UTC).isoformat()
    named = {"Recipient": address, "Metadata": {"customer_id": customer}, "ChangedAt": now, "BouncedAt": now}
    headers = {"authorization": "Basic " + base64.b64encode(b"u:p").decode()}
    request = Request("POST", "https://in.example.org/", headers, json.dumps(named | record).encode())
    reading = Postmark().read(request, SourceConfig("mailer", "postmark", ("u:p",)), datetime.now(UTC))
    assert isinstance(reading, Understood)
    await publish(world, list(reading.touchpoints))


async def test_opt_outs_bounces_and_addresses_are_what_the_vendors_say(world: World) -> None:
    suppressing: dict[str, Any] = {"RecordType": "SubscriptionChange", "SuppressSending": True}
    with MailCatcher() as catcher:
        world.endpoints(
            f"endpoints: [{{name: mail, type: email, smtp: {{host: 127.0.0.1, port: {catcher.port}, tls: none}}, "
            "from: 'care@example.org'}]"
        )
        world.play(MAILS)
        world.play(NEWS, "news")
        await world.start().ready()
        customers = ("moved-house", "left-group", "scanner", "came-back", "soft", "hard", "argument")
        for customer in customers:
            await world.touchpoint(customer, "identified", email=f"{customer}@example.org")
        earlier = datetime.now(UTC) - timedelta(days=1)
        await world.touchpoint(
            "moved-house", "identified", email="old@example.org", occurred_at=earlier.isoformat().replace("+00:00", "Z")
        )
        await sendgrid(world, "open", "moved-house", "old@example.org")
        await sendgrid(world, "group_unsubscribe", "left-group", "left-group@example.org", asm_group_id=7)
        await sendgrid(world, "unsubscribe", "scanner", "scanner@example.org", useragent="Go-http-client/1.1")
        await sendgrid(world, "unsubscribe", "argument", "argument@example.org", channel="newsletter")
        await postmark(world, suppressing, "came-back", "came-back@example.org")
        await postmark(world, suppressing | {"SuppressSending": False}, "came-back", "came-back@example.org")
        bounce = {"RecordType": "Bounce", "Type": "Blocked", "Inactive": False}
        await postmark(world, bounce, "soft", "soft@example.org")
        await postmark(world, bounce | {"Type": "HardBounce", "Inactive": True}, "hard", "hard@example.org")
        await world.settled()
        for customer in customers:
            await world.moved(customer, "acquisition")
        await world.moved("left-group", "reach", "regress", before="acquisition")
        await world.moved("came-back", "reach", "regress", before="acquisition")
        await world.await_actions(5, "sent")
        held = await world.await_actions(4, "held")
    assert {(*mail.envelope_to, mail.message["Subject"]) for mail in catcher.mails} == {
        ("moved-house@example.org", "Hello"),
        ("left-group@example.org", "Hello"),
        ("came-back@example.org", "Hello"),
        ("came-back@example.org", "News"),
        ("soft@example.org", "Hello"),
    }
    assert {(one["customer_id"], one["play"], one["reason"].split(":")[0]) for one in held} == {
        ("left-group", "news", "no_consent"),
        ("scanner", "mails", "suppressed"),
        ("argument", "mails", "suppressed"),
        ("hard", "mails", "suppressed"),
    }
