"""The notifier's API and pages, and the way out for customers."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from touchline_devstack.receivers import Answer, MailCatcher, WebhookReceiver
from touchline_schemas.topics import TOUCHPOINTS

from tests.support.notifier.world import SECRET, World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

MAILS = """
play: mails
title: Mails
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: email, subject: "Hello {{ traits.name | default('you') }}", body: "Read on", html: "<p>Read on</p>"}
"""


async def test_a_mail_carries_a_one_click_way_out_that_counts_at_once(world: World) -> None:
    with MailCatcher() as catcher:
        world.endpoints(
            f"endpoints: [{{name: mail, type: email, smtp: {{host: 127.0.0.1, port: {catcher.port}, tls: none}}, "
            "from: 'Care <care@example.org>'}]"
        )
        world.play(MAILS)
        process = await world.start().ready()
        await world.touchpoint("c-1", "identified", properties={"email": "ada@example.org", "name": "Ada"})
        await world.stalled("c-1", level=1)
        await world.await_actions(1, "sent")
        (mail,) = catcher.mails
        assert mail.message["Subject"] == "Hello Ada"
        assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        link = re.fullmatch(r"<(http://.*)>", str(mail.message["List-Unsubscribe"]))
        assert link is not None

        async with httpx.AsyncClient(timeout=60) as client:
            looked = await client.get(link[1])
            assert looked.status_code == 200
            assert "Unsubscribe</button>" in looked.text
            # Scanners follow links: looking changes nothing.
            await world.stalled("c-1", level=2)
            await world.await_actions(2, "sent")
            clicked = await client.post(link[1], files={"List-Unsubscribe": (None, "One-Click")})
            assert clicked.status_code == 200
            assert (await client.post(link[1][:-4] + "AAAA", data={})).status_code == 404
            assert (await client.post(link[1], data={"List-Unsubscribe": "One-Click"})).status_code == 200
        assert link[1].rpartition("/")[2] not in process.log.read_text()
        await world.stalled("c-1", level=3)
        (held,) = await world.await_actions(1, "held")
        assert held["reason"].split(":")[0] in ("suppressed", "no_consent")

        async def on_the_timeline() -> list[dict[str, object]]:
            reported = await world.published(TOUCHPOINTS.full_name(world.prefix))
            return [one for one in reported if one["type"] == "unsubscribed"]

        (unsubscribed,) = await wait_until(on_the_timeline)
        assert unsubscribed["customer_id"] == "c-1"
        assert unsubscribed["direction"] == "inbound"
        reported = await world.published(TOUCHPOINTS.full_name(world.prefix))
        assert [one["type"] for one in reported if one["source"] == "notifier"] == ["email_delivered"] * 2
        assert process.popen.poll() is None


async def test_a_link_outlives_its_play_its_endpoint_and_its_secret(world: World) -> None:
    with MailCatcher() as catcher:
        world.endpoints(
            f"endpoints: [{{name: mail, type: email, smtp: {{host: 127.0.0.1, port: {catcher.port}, tls: none}}, "
            "from: 'Care <care@example.org>'}]"
        )
        world.play(MAILS + "limits: {consent_channel: product-news}\n")
        process = await world.start(TOUCHLINE_PUBLIC_URL="http://localhost:1/").ready()
        await world.touchpoint("c-1", "identified", properties={"email": "ada@example.org"})
        await world.stalled("c-1", level=1)
        await world.await_actions(1, "sent")
        process.stop()
    (line,) = (line for line in catcher.mails[0].raw.split(b"\r\n") if line.startswith(b"List-Unsubscribe: "))
    path = line.decode().removeprefix("List-Unsubscribe: <http://localhost:1").removesuffix(">")
    world.endpoints("endpoints: []")
    (world.folder / "plays" / "play.yaml").unlink()
    process = await world.start(TOUCHLINE_PUBLIC_URL="", TOUCHLINE_UNSUBSCRIBE_SECRET="set later").ready()
    async with httpx.AsyncClient(timeout=60, base_url=process.url) as client:
        assert (await client.post(path, files={"List-Unsubscribe": (None, "One-Click")})).status_code == 200

    async def on_the_timeline() -> list[dict[str, object]]:
        reported = await world.published(TOUCHPOINTS.full_name(world.prefix))
        return [one for one in reported if one["type"] == "unsubscribed"]

    (unsubscribed,) = await wait_until(on_the_timeline)
    assert unsubscribed["properties"] == {"channel": "product-news"}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "TOUCHLINE_PUBLIC_URL) is not set, and these plays write to customers: mails"),
        ("http://notify.example.org", "plain http reaches no mailbox provider"),
        ("ftp://notify.example.org", "TOUCHLINE_PUBLIC_URL"),
    ],
)
async def test_plays_that_write_to_customers_do_not_start_without_a_public_https_address(
    world: World, url: str, why: str
) -> None:
    world.endpoints(
        "endpoints: [{name: mail, type: email, smtp: {host: 127.0.0.1, tls: none}, from: 'Care <care@example.org>'}]"
    )
    world.play(MAILS)
    process = world.start(TOUCHLINE_PUBLIC_URL=url)
    assert await asyncio.to_thread(process.popen.wait, 180) == 2
    assert why in " ".join(process.log.read_text().split())


HALF = """
play: half
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: webhook, endpoint: crm, body: "{{ customer_id }}"}
hold_out: 50%
"""


async def test_actions_deliveries_and_results_can_be_asked_for(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        receiver.answer = lambda arrived: Answer(400 if arrived.json["data"]["customer_id"] == "c-3" else 204)
        world.crm(receiver)
        world.play(HALF, "half")
        process = await world.start().ready()
        for number in range(12):
            await world.stalled(f"c-{number}")

        async def decided() -> bool:
            events = await world.actions()
            return len({one["customer_id"] for one in events if one["outcome"] in ("held_out", "sent")}) >= 11

        await wait_until(decided)
        later = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
        for number in range(6):
            await world.touchpoint(f"c-{number}", "purchased", occurred_at=later)
            await world.recovered(f"c-{number}", occurred_at=later)
        await world.settled()

        async with httpx.AsyncClient(timeout=60, base_url=process.url) as client:
            seen: list[str] = []
            cursor: str | None = None
            while True:
                params = {"limit": "5"} | ({"cursor": cursor} if cursor else {})
                page = (await client.get("/v1/actions", params=params)).json()
                seen += [one["action_id"] for one in page["items"]]
                cursor = page["next"]
                if cursor is None:
                    break
            assert len(seen) == len(set(seen)) == 12
            held_out = (await client.get("/v1/actions", params={"outcome": "held_out"})).json()["items"]
            assert 0 < len(held_out) < 12
            assert held_out[0]["reason"].startswith("hold_out:")
            one = (await client.get("/v1/actions", params={"customer_id": "c-5"})).json()["items"][0]
            assert one["recovered_at"] is not None
            assert one["returned_at"] is not None
            assert one["converted_at"] is not None

            results = (await client.get("/v1/plays/half/results")).json()
            recovered = results["measures"]["recovered"]
            assert recovered["treated"]["customers"] + recovered["held_out"]["customers"] >= 11
            assert recovered["treated"]["did"] + recovered["held_out"]["did"] in (5, 6)
            (play,) = (await client.get("/v1/plays")).json()["items"]
            assert play["outcomes"]["held_out"] == len(held_out)

            delivery = (await client.get("/v1/deliveries", params={"status": "sent"})).json()["items"][0]
            before = len(receiver.arrived)
            replayed = await client.post(f"/v1/deliveries/{delivery['id']}/replay")
            assert replayed.status_code == 202

            async def again() -> bool:
                return len(receiver.arrived) > before

            await wait_until(again)
            assert receiver.counts()["duplicates"] >= 1
            before = len(receiver.arrived)
            by_command = world.start("replay", delivery["id"])
            assert await asyncio.to_thread(by_command.popen.wait, 180) == 0
            await wait_until(again)
            nowhere = world.start("replay", "00000000-0000-0000-0000-000000000000")
            assert await asyncio.to_thread(nowhere.popen.wait, 180) == 1
            assert (await client.get(f"/v1/deliveries/{delivery['id']}")).json()["message"]["type"]

            for address, status in (
                ("/v1/actions?cursor=nonsense", 400), ("/v1/actions?limit=0", 422), ("/v1/plays/none", 404),
                ("/v1/deliveries/00000000-0000-0000-0000-000000000000", 404), ("/v1/actions/nonsense", 422),
            ):  # fmt: skip
                answer = await client.get(address)
                assert answer.status_code == status, address
                assert answer.headers["content-type"] == "application/problem+json"
            for address in ("/", "/actions?play=half", f"/actions/{seen[0]}", "/deliveries", "/plays/half"):
                answer = await client.get(address)
                assert (answer.status_code, answer.headers["location"]) == (307, f"http://127.0.0.1:8090{address}")
            for address in ("/docs", "/metrics"):
                answer = await client.get(address)
                assert answer.status_code == 200, address
            assert "touchline_notifier_decisions_total" in answer.text


async def test_the_switch_holds_everything_until_it_is_on_again(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(HALF.replace("hold_out: 50%", ""), "all")
        process = await world.start().ready()
        async with httpx.AsyncClient(timeout=60, base_url=process.url) as client:
            assert (await client.put("/v1/sending", json={"sending": False, "reason": "a test"})).status_code == 200
            assert (await client.get("/v1/sending")).json() == {"sending": False, "reason": "a test"}
            await world.stalled("c-1")
            (held,) = await world.await_actions(1, "held")
            assert held["reason"].startswith("sending_off:")
            assert receiver.arrived == []
            await client.put("/v1/sending", json={"sending": True})
        pool = await world.database()
        await pool.execute("UPDATE actions SET decide_at = now()")
        await world.await_actions(1, "sent")
        assert len(receiver.arrived) == 1


async def test_the_api_asks_for_a_token_where_there_is_one_but_never_for_unsubscribing(world: World) -> None:
    process = await world.start("serve", TOUCHLINE_API_TOKENS="open-sesame").ready()
    async with httpx.AsyncClient(timeout=60, base_url=process.url) as client:
        assert (await client.get("/v1/actions")).status_code == 401
        assert (await client.get("/")).status_code == 401
        allowed = {"Authorization": "Bearer open-sesame"}
        assert (await client.get("/v1/actions", headers=allowed)).json() == {"items": [], "next": None}
        assert (await client.get("/v1/unsubscribe/nonsense")).status_code == 404
        assert (await client.get("/healthz")).status_code == 200
