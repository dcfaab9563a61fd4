"""Addresses suppressed and lifted by hand, and everything stored of a customer."""

import re

import httpx
import pytest
from touchline_devstack.receivers import MailCatcher
from touchline_schemas.topics import TOUCHPOINTS

from tests.support.notifier.world import World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

MAILS = """
play: mails
title: Mails
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: email, subject: "Hello <b>{{ traits.name }}</b>", body: "Read on"}
"""


async def test_an_address_is_suppressed_and_lifted_with_a_reason_and_a_customer_exported(world: World) -> None:
    with MailCatcher() as catcher:
        world.endpoints(
            f"endpoints: [{{name: mail, type: email, smtp: {{host: 127.0.0.1, port: {catcher.port}, tls: none}}, "
            "from: 'Care <care@example.org>'}]"
        )
        world.play(MAILS)
        process = await world.start().ready()
        await world.touchpoint("c-1", "identified", properties={"email": "ada@example.org", "name": "Ada"})
        async with httpx.AsyncClient(base_url=process.url, timeout=60) as client:
            address = "/v1/suppressions/ada@example.org"
            assert (await client.get(address)).json()["suppressed"] is False
            suppressed = await client.put("/v1/suppressions/ADA@Example.ORG", json={"reason": "asked by phone"})
            assert (suppressed.status_code, suppressed.json()["reason"]) == (200, "suppressed_by_hand")
            await world.stalled("c-1", level=1)
            (held,) = await world.await_actions(1, "held")
            assert held["reason"].startswith("suppressed")
            profile = (await client.get("/v1/profiles/c-1")).json()
            assert [one["reason"] for one in profile["suppressions"]] == ["suppressed_by_hand"]
            unstorable = await client.delete(address, params={"reason": "asked\x00again"})
            assert (unstorable.status_code, "reason" in unstorable.text) == (422, True), unstorable.text
            lifted = await client.delete(address, params={"reason": "asked again"})
            assert lifted.json()["suppressed"] is False
            await world.stalled("c-1", level=2)
            await world.await_actions(1, "sent")
            assert len(catcher.mails) == 1
            assert (await client.put(address)).json()["suppressed"] is True
            assert (await client.get("/v1/profiles/c-1")).json()["suppressions"] != []
            entries = (await client.get("/v1/audit")).json()["items"]
            assert [(one["action"], one["reason"], one["before"], one["after"]) for one in reversed(entries)] == [
                ("address_suppressed", "asked by phone", {"suppressed": False}, {"suppressed": True}),
                ("suppression_lifted", "asked again", {"suppressed": True}, {"suppressed": False}),
                ("address_suppressed", None, {"suppressed": False}, {"suppressed": True}),
            ]
            assert "example.org" not in str(entries), "the log outlives an erasure and names nobody"
            assert (await client.put("/v1/suppressions/nobody")).status_code == 422

            exported = (await client.get("/v1/profiles/c-1/export")).json()
            assert exported["traits"]["name"] == "Ada"
            assert sorted(one["outcome"] for one in exported["actions"]) == ["held", "sent"]
            (delivery,) = exported["deliveries"]
            assert "Hello <b>Ada</b>" in str(delivery)
            page = await client.get("/v1/profiles/c-1/export", params={"format": "html"})
            assert page.headers["content-type"].startswith("text/html")
            assert "<b>Ada" not in page.text
            assert "Ada" in page.text
            assert (await client.get("/v1/profiles/nobody/export")).status_code == 404


async def test_a_customer_chooses_topics_behind_the_link_and_an_operator_records_consent(world: World) -> None:
    with MailCatcher() as catcher:
        world.endpoints(
            f"endpoints: [{{name: mail, type: email, smtp: {{host: 127.0.0.1, port: {catcher.port}, tls: none}}, "
            "from: 'Care <care@example.org>'}]"
        )
        world.play(MAILS + "limits: {consent_channel: product-news}\n")
        world.play(MAILS.replace("play: mails", "play: offers").replace("stalled", "recovered"), "offers")
        process = await world.start().ready()
        await world.touchpoint("c-1", "identified", properties={"email": "ada@example.org", "name": "Ada"})
        await world.stalled("c-1", level=1)
        await world.await_actions(1, "sent")
        link = re.fullmatch(r"<(http://.*)>", str(catcher.mails[0].message["List-Unsubscribe"]))
        assert link is not None
        async with httpx.AsyncClient(base_url=process.url, timeout=60) as client:
            page = await client.get(link[1])
            onward = re.search(r'href="([^"]+)"', page.text)
            assert onward is not None
            redirected = await client.get(str(httpx.URL(link[1]).join(onward[1])))
            assert redirected.status_code == 303
            preferences = str(redirected.url.join(redirected.headers["location"]))
            shown = await client.get(preferences)
            assert (shown.text.count('type="checkbox"'), shown.text.count(" checked>")) == (2, 2)
            assert "Product news" in shown.text
            saved = await client.post(preferences, data={"channel": ["email"]})
            assert (saved.text.count(" checked>"), "Your choice is saved" in saved.text) == (1, True)
            consent = (await client.get("/v1/profiles/c-1")).json()["consent"]
            assert consent["product-news"] is False
            await world.stalled("c-1", level=2)
            (held,) = await world.await_actions(1, "held")
            assert held["reason"] == "no_consent: consent for product-news was refused"
            again = await client.post(preferences, data={"channel": ["email", "product-news", "made-up"]})
            assert again.text.count(" checked>") == 2
            consent = (await client.get("/v1/profiles/c-1")).json()["consent"]
            assert (consent["product-news"], "made-up" in consent) == (True, False)
            assert (await client.get(preferences.replace("/preferences", "x/preferences"))).status_code == 404

            wrong = {"channel": "email", "given": False}
            assert (await client.put("/v1/profiles/c-1/consent", json=wrong)).status_code == 422
            refused = await client.put("/v1/profiles/c-1/consent", json=wrong | {"reason": "asked by phone"})
            assert refused.json()["consent"]["email"] is False
            given = await client.put("/v1/profiles/c-1/consent", json=wrong | {"given": True, "reason": "a letter"})
            assert given.json()["consent"]["email"] is True
            entries = (await client.get("/v1/audit")).json()["items"]
            assert [(one["action"], one["reason"], one["after"]["given"]) for one in reversed(entries)] == [
                ("consent_set", "asked by phone", False),
                ("consent_set", "a letter", True),
            ]

    async def on_the_timeline() -> list[str]:
        told = await world.published(TOUCHPOINTS.full_name(world.prefix))
        kinds = [one["type"] for one in told if one["type"] in ("subscribed", "unsubscribed")]
        return kinds if len(kinds) == 4 else []

    assert sorted(await wait_until(on_the_timeline)) == ["subscribed"] * 2 + ["unsubscribed"] * 2
