"""From the raw bytes of a tracked mail to the customer's stage."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default as modern
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import lxml.html
import pytest
from touchline_devstack.processes import Service, command
from touchline_devstack.receivers import CaughtMail, MailCatcher
from touchline_notifier.core.tracking.events import PROMPT
from touchline_schemas.topics import TOUCHPOINTS

from tests.support.notifier.mails import is_sound
from tests.support.notifier.world import PARTITIONS, Process, World
from tests.support.waiting import wait_for, wait_until

pytestmark = pytest.mark.stack

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
APPLE = "Mozilla/5.0"
PLAY = """
play: win-back
when: {fact: customer-stalled, lifecycle: service-cycle}
action:
  channel: email
  endpoint: mail
  subject: Hello
  html: |
    <a href="https://shop.example/book?a=1&amp;b=2" data-link="book">Book</a>
    <a href="https://shop.example/terms" data-no-track>Terms</a>
    <a href="mailto:care@shop.example">Write</a>
"""
TRACK = "  track: {opens: true, clicks: true}\n"


@pytest.fixture
def mailbox() -> Iterator[MailCatcher]:
    with MailCatcher() as running:
        yield running


def prepared(world: World, mailbox: MailCatcher, track: str = TRACK) -> None:
    world.endpoints(
        "endpoints: [{name: mail, type: email, from: 'Care <care@shop.example>', "
        f"smtp: {{host: 127.0.0.1, port: {mailbox.port}, tls: none}}}}]"
    )
    world.play(PLAY + track, "win-back")


async def mail_of(world: World, mailbox: MailCatcher, customer: str) -> CaughtMail:
    """Lets a customer stall; the mail that arrives, once nobody takes its reader for a scanner."""
    address = f"{customer}@example.org"
    await world.touchpoint(customer, "identified", email=address)
    await world.settled()
    await world.stalled(customer)
    mail: CaughtMail = await wait_until(
        lambda: next((one for one in mailbox.mails if one.envelope_to == [address]), None)
    )
    pool = await world.database()

    async def may_be_read() -> bool:
        accepted = await pool.fetchval(
            "SELECT finished_at FROM actions WHERE customer_id = $1 AND outcome = 'sent'", customer
        )
        return accepted is not None and datetime.now(UTC) > accepted + PROMPT + timedelta(seconds=0.5)

    await wait_until(may_be_read)
    return mail


def parts(mail: CaughtMail) -> tuple[str, str]:
    is_sound(mail)
    text, html = message_from_bytes(mail.raw, policy=modern).iter_parts()
    return text.get_content(), html.get_content()


def addresses(mail: CaughtMail) -> tuple[str, str]:
    """The paths of a mail's pixel and of its tracked link."""
    page = lxml.html.document_fromstring(parts(mail)[1])
    (image,) = page.iter("img")
    assert image.getparent().tag == "body"
    assert image.getnext() is None, "it is the end"
    link, terms, write, out = (one.get("href") for one in page.iter("a"))
    assert (terms, write) == ("https://shop.example/terms", "mailto:care@shop.example")
    assert "/v1/unsubscribe/" in out
    return urlsplit(image.get("src")).path, urlsplit(link).path


async def ask(process: Process, path: str, agent: str = BROWSER) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.get(f"{process.url}{path}", headers={"user-agent": agent})


def shown(url: str) -> str:
    """The words of a page."""
    return " ".join(" ".join(lxml.html.fromstring(httpx.get(url, timeout=60).text).itertext()).split())


async def events(world: World, count: int) -> list[tuple[str, str, bool]]:
    """(customer, type, machine) of published touchpoints of mails, as soon as there are so many."""

    async def published() -> list[tuple[str, str, bool]]:
        found = await world.published(TOUCHPOINTS.full_name(world.prefix))
        ours = [one for one in found if one["source"] == "mail-tracking"]
        assert len({one["id"] for one in ours}) == len(ours), "each once"
        done = sorted((one["customer_id"], one["type"], one["machine"]) for one in ours)
        return done if len(done) >= count else []

    return list(await wait_until(published))


async def test_what_is_done_with_a_mail_moves_the_customer(
    world: World, mailbox: MailCatcher, tmp_path: Path, kafka_bootstrap: str, database_url: str
) -> None:
    prepared(world, mailbox)
    process = await world.start().ready()
    human, proxy = await mail_of(world, mailbox, "c-1"), await mail_of(world, mailbox, "c-2")
    text, html = parts(human)
    assert "Book <https://shop.example/book?a=1&b=2>" in text
    assert "/v1/mail/" not in text
    assert "shop.example/book" not in html

    pixel, link = addresses(human)
    assert (await ask(process, pixel)).headers["content-type"] == "image/gif"
    assert (await ask(process, link)).headers["location"] == "https://shop.example/book?a=1&b=2"
    await ask(process, link)
    await ask(process, addresses(proxy)[0], APPLE)
    # Whatever else happens to the process, what it answered is recorded.
    process.kill()
    process = await world.start().ready()
    assert await events(world, 3) == [
        ("c-1", "email_clicked", False), ("c-1", "email_opened", False), ("c-2", "email_opened", True),
    ]  # fmt: skip

    await world.settled()
    async with httpx.AsyncClient(timeout=60, base_url=process.url) as client:
        figures = (await client.get("/v1/plays/win-back/figures")).json()
        assert figures["mails"] == {
            "opened": 1, "clicked": 1, "machines": {"opened": 1, "clicked": 0},
            "links": [{"number": 1, "name": "book", "clicked": 1}],
        }  # fmt: skip
        metrics = (await client.get("/metrics")).text
        assert 'touchline_notifier_mail_events_total{by="human",kind="clicked"}' in metrics
    pool = await world.database()
    assert await pool.fetchval("SELECT count(*) FROM actions WHERE returned_at IS NOT NULL") == 0
    assert not any("/v1/mail/" in one.log.read_text() for one in world.processes), "a token is in no log"

    environment = {
        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "TOUCHLINE_DATABASE_URL": database_url,
        "TOUCHLINE_TOPIC_PREFIX": world.prefix,
        "TOUCHLINE_PARTITIONS": str(PARTITIONS),
        "TOUCHLINE_LIFECYCLES": "journey",
    }
    arguments = [command("touchline-stage-engine"), "run"]
    with Service("engine", arguments, environment=environment, logs=tmp_path) as engine:
        engine.wait_ready()

        def stage(customer: str) -> str | None:
            found = httpx.get(f"{engine.url}/v1/customers/{customer}", timeout=60)
            stages = found.json().get("stages", {}) if found.status_code == 200 else {}
            return str(stages["journey"]["stage"]) if "journey" in stages else None

        moved = wait_for(lambda: (one := stage("c-1")) not in (None, "discover") and one)
        assert moved == "learn"
        assert stage("c-2") == "discover", "a machine moves nobody"
        urls = {
            "TOUCHLINE_INGEST_URL": "http://127.0.0.1:9",
            "TOUCHLINE_ENGINE_URL": engine.url,
            "TOUCHLINE_NOTIFIER_URL": process.url,
        }
        with Service("console", [command("touchline-console"), "serve"], environment=urls, logs=tmp_path) as console:
            console.wait_ready()
            page = shown(f"{console.url}/plays/win-back")
            assert "Sent 2 Opened 1 Clicked 1 Recovered 0" in page
            assert "Machines, such as mail scanners and privacy proxies, opened 1 and clicked in 0." in page
            assert "book 1" in page


async def test_nothing_is_different_unless_the_play_says_so(world: World, mailbox: MailCatcher) -> None:
    prepared(world, mailbox, track="")
    await world.start().ready()
    text, html = parts(await mail_of(world, mailbox, "c-1"))
    assert "/v1/mail/" not in html + text
    assert "<img" not in html
    assert 'href="https://shop.example/book?a=1&amp;b=2" data-link="book"' in html
