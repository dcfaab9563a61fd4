"""The kind: a request that must be answered. The real routes over a real database, with neither Kafka nor plays."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import UUID, uuid4

import asyncpg
import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from touchline_notifier.adapters.postgres.mail_events import PostgresMailEvents
from touchline_notifier.adapters.postgres.reads.insights import PostgresInsights
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.adapters.postgres.unsubscribe import link_keys
from touchline_notifier.application.tracking import MailEventJudge, MailEventWriter, TrackedMails
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_notifier.core.tracking.events import SETTLING
from touchline_notifier.core.tracking.links import CLICKED, OPENED
from touchline_notifier.core.tracking.tokens import MailLink, MailTokens, OpenedMail
from touchline_notifier.core.unsubscribe.tokens import UnsubscribeTokens, key_of
from touchline_notifier.entrypoints.http.api import LINKS
from touchline_notifier.entrypoints.http.mail_links import mail_links_router
from touchline_runtime.http.app import build_app
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.health import Health
from touchline_schemas.events.facts import CustomerErased, CustomerMerged
from touchline_schemas.partitions import partition_of
from touchline_schemas.touchpoint import Touchpoint

pytestmark = pytest.mark.stack

KEPT = "the secret that the database keeps"
HASHES = Hashes(KEPT)
PARTITIONS = 8
TARGET = "https://shop.example/?a=1&b=%20#top"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
HUMANS = [
    BROWSER,
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17328; Pro)",
]
MACHINES = [
    "Mozilla/5.0", "Barracuda Sentinel (EE)", "Mozilla/5.0 (compatible; Proofpoint URL Defense)",
    "python-requests/2.32.0", "curl/8.5.0", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Go-http-client/2.0",
]  # fmt: skip


class Reader:
    """A notifier's routes, and what a reader of mails does with them."""

    def __init__(self, pool: asyncpg.Pool, tokens: MailTokens) -> None:
        self.pool = pool
        self.tokens = tokens
        self.lost = 0
        self.events = PostgresMailEvents(pool, PARTITIONS)
        self.writer = MailEventWriter(self.events, self._lose)
        self.stopping = asyncio.Event()
        self.application = build_app(
            "t", version="1", about="", health=Health(), metrics=Metrics([]),
            proven=lambda path: path.startswith(LINKS), cross_origin=lambda path: path.startswith(LINKS),
        )  # fmt: skip
        self.application.include_router(mail_links_router(TrackedMails(tokens, self.events, self.writer)))
        self.task = asyncio.create_task(self.writer.run(self.stopping))

    def _lose(self, count: int) -> None:
        self.lost += count

    async def stop(self) -> None:
        self.stopping.set()
        await self.task

    async def action(self, customer_id: str = "c-1", *, sent_ago: float | None = 3600) -> str:
        """An action whose mail was accepted so many seconds ago."""
        identifier, now = str(uuid4()), datetime.now(UTC)
        at = now - timedelta(seconds=sent_ago) if sent_ago is not None else now
        await self.pool.execute(
            """
            INSERT INTO actions (action_id, partition, play, fact_id, fact_type, fact, customer_id, lifecycle,
                                 stage, channel, endpoint, outcome, fact_at, decided_at, finished_at, events)
            VALUES ($1, $2, 'win-back', 'f-1', 'customer-stalled', '{}', $3, 'service-cycle', 'retention', 'email',
                    'mail', $4, $5, $5, $6, 1)
            """,
            identifier, partition_of(customer_id, PARTITIONS), customer_id, "decided" if sent_ago is None else "sent",
            at, None if sent_ago is None else at,
        )  # fmt: skip
        return identifier

    def pixel(self, action: str) -> str:
        return f"{OPENED}{self.tokens.make(OpenedMail(action))}"

    def link(self, action: str, number: int = 1, target: str = TARGET, name: str = "book") -> str:
        return f"{CLICKED}{self.tokens.make(MailLink(action, number, name, target))}"

    async def ask(self, path: str, agent: str = BROWSER, method: str = "GET", **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            return await client.request(method, path, headers={"user-agent": agent, **headers})

    async def settle(self) -> None:
        """Let events be judged as when they have settled."""
        judge = MailEventJudge(self.events)
        while await judge.judge(datetime.now(UTC) + SETTLING):
            pass

    async def touchpoints(self) -> list[Touchpoint]:
        await self.settle()
        rows = await self.pool.fetch("SELECT partition, key, value FROM outbox WHERE topic = 'touchpoints' ORDER BY id")
        for row in rows:
            assert row["partition"] == partition_of(row["key"], PARTITIONS)
        return [Touchpoint.model_validate_json(row["value"]) for row in rows]

    async def done(self) -> list[tuple[str, bool]]:
        return sorted((one.type, one.machine) for one in await self.touchpoints())

    async def apply(self, change: CustomerMerged | CustomerErased) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            customers = PostgresTransaction(connection, HASHES, PARTITIONS).customers
            if isinstance(change, CustomerMerged):
                await customers.merge([change], datetime.now(UTC))
            else:
                await customers.erase(change)


async def opened(pool: asyncpg.Pool, secrets: tuple[str, ...] = ()) -> Reader:
    keys = await link_keys(pool, secrets, KEPT)
    return Reader(pool, MailTokens(keys[0], keys))


@pytest.fixture
async def reader(pool: asyncpg.Pool) -> AsyncIterator[Reader]:
    one = await opened(pool)
    yield one
    await one.stop()


# The answers


async def test_a_pixel_is_a_picture_and_a_link_leads_to_its_target(reader: Reader) -> None:
    action = await reader.action()
    pixel, link = await reader.ask(reader.pixel(action)), await reader.ask(reader.link(action))
    assert (pixel.status_code, pixel.headers["content-type"], pixel.content[:6]) == (200, "image/gif", b"GIF89a")
    assert (link.status_code, link.headers["location"]) == (302, TARGET)
    for answer in (pixel, link):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in answer.headers
        # A mail program shows pictures on pages of other origins.
        assert "cross-origin-resource-policy" not in answer.headers
    clicked, seen = sorted(await reader.touchpoints(), key=lambda one: one.type)
    assert (clicked.type, clicked.customer_id, clicked.source, clicked.machine) == (
        "email_clicked", "c-1", "mail-tracking", False,
    )  # fmt: skip
    assert clicked.properties["action_id"] == seen.properties["action_id"] == action
    assert (clicked.properties["link"], clicked.properties["link_number"]) == ("book", 1)
    assert (clicked.properties["url"], clicked.properties["play"]) == (TARGET, "win-back")
    assert (seen.type, seen.direction) == ("email_opened", "inbound")


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("https://shop.example/ü?ö=ß", "https://shop.example/%C3%BC?%C3%B6=%C3%9F"),
        ("https://shop.example/a b", "https://shop.example/a%20b"),
        ("https://shop.example/%41;x='(1)'!*~[]|{}^`", "https://shop.example/%41;x='(1)'!*~[]|{}^`"),
        ("https://shop.example/\x7f\u2028", "https://shop.example/%7F%E2%80%A8"),
    ],
)
async def test_the_target_is_written_as_it_is_as_far_as_a_header_may_hold_it(
    reader: Reader, target: str, location: str
) -> None:
    assert (await reader.ask(reader.link(str(uuid4()), target=target))).headers["location"] == location


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(token=st.text(st.characters(codec="utf-8"), min_size=1, max_size=120))
def test_no_token_but_ours_leads_anywhere(token: str) -> None:
    async def ask() -> None:
        tokens = MailTokens(key_of("a"))

        class Nothing:
            async def link_keys(self) -> list[bytes]:
                return []

        application = build_app("t", version="1", about="", health=Health(), metrics=Metrics([]), proven=lambda _: True)
        events = Nothing()
        links = TrackedMails(tokens, events, MailEventWriter(events))  # type: ignore[arg-type]
        application.include_router(mail_links_router(links))
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            for one in (token, f"https://evil.example/{token}"):
                answer = await client.get(f"{CLICKED}{quote(one, safe='')}")
                assert answer.status_code in (400, 404)
                assert "location" not in answer.headers

    asyncio.run(ask())


async def test_a_token_of_another_purpose_or_that_was_changed_leads_nowhere(reader: Reader) -> None:
    action = await reader.action()
    link = reader.link(action)
    unsubscribing = UnsubscribeTokens(key_of(KEPT)).make("c-1", "email")
    pixel = reader.pixel(action).removeprefix(OPENED)
    for path in (link[:-4], f"{link}AAAA", f"{CLICKED}{unsubscribing}", f"{CLICKED}{pixel}", f"{CLICKED}https:e.org"):
        answer = await reader.ask(path, **{"accept-language": "de"})
        assert (answer.status_code, "location" in answer.headers) == (404, False)
        assert "nicht vollständig" in answer.text
    for path in (f"{OPENED}{link.removeprefix(CLICKED)}", f"{OPENED}x", f"{OPENED}{unsubscribing}"):
        assert (await reader.ask(path)).headers["content-type"] == "image/gif"
    assert await reader.touchpoints() == []


async def test_other_methods_change_nothing(reader: Reader) -> None:
    action = await reader.action()
    for path, status in ((reader.pixel(action), 200), (reader.link(action), 302)):
        head = await reader.ask(path, method="HEAD")
        assert (head.status_code, head.content) == (status, b"")
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert (await reader.ask(path, method=method)).status_code == 405
    assert await reader.touchpoints() == []


# What counts once


async def test_what_is_repeated_in_a_piece_of_the_clock_is_one(reader: Reader) -> None:
    action, other = await reader.action(), await reader.action("c-2")
    pixels = [reader.pixel(action)] * 5 + [reader.pixel(other)]
    links = [reader.link(action)] * 5 + [reader.link(action, 2), reader.link(other)]
    begun = datetime.now(UTC)
    await asyncio.gather(*(reader.ask(path) for path in (*pixels, *links)))
    minutes = {begun.minute, datetime.now(UTC).minute}
    found = await reader.done()
    if len(minutes) == 1:
        assert found == [("email_clicked", False)] * 3 + [("email_opened", False)] * 2
    await reader.ask(pixels[0])
    assert len(await reader.touchpoints()) <= len(found) + 1
    ids = [one.id for one in await reader.touchpoints()]
    assert len(set(ids)) == len(ids)


async def test_of_one_mail_so_many_events_are_kept_and_every_click_leads_on(reader: Reader) -> None:
    action = await reader.action()
    for begin in range(0, 300, 50):
        answers = await asyncio.gather(
            *(reader.ask(reader.link(action, number)) for number in range(begin, begin + 50))
        )
        assert {answer.status_code for answer in answers} == {302}
    assert await reader.pool.fetchval("SELECT count(*) FROM mail_events") <= 250


# Who did it


@pytest.mark.parametrize("agent", HUMANS)
async def test_a_human_s_program_is_a_human(reader: Reader, agent: str) -> None:
    action = await reader.action()
    await reader.ask(reader.pixel(action), agent)
    await reader.ask(reader.link(action), agent)
    assert await reader.done() == [("email_clicked", False), ("email_opened", False)]


@pytest.mark.parametrize("agent", MACHINES)
async def test_a_machine_counts_apart_and_a_human_after_it_counts(reader: Reader, agent: str) -> None:
    action = await reader.action()
    for path in (reader.pixel(action), reader.link(action)):
        await reader.ask(path, agent)
        await reader.ask(path)
    both = [("email_clicked", False), ("email_clicked", True), ("email_opened", False), ("email_opened", True)]
    assert await reader.done() == both


async def test_a_browser_that_fetches_ahead_is_a_machine(reader: Reader) -> None:
    await reader.ask(reader.link(await reader.action()), **{"sec-purpose": "prefetch;prerender"})
    assert await reader.done() == [("email_clicked", True)]


async def test_a_scanner_with_a_browser_s_name_is_known_by_what_it_does(reader: Reader) -> None:
    action = await reader.action()
    for number in (1, 2, 3, 4):
        await reader.ask(reader.link(action, number))
    await reader.settle()
    # The customer, in the same minute.
    await reader.pool.execute("UPDATE mail_events SET occurred_at = occurred_at - interval '20 s'")
    await reader.ask(reader.link(action, 2))
    found = [(one.properties["link_number"], one.machine) for one in await reader.touchpoints()]
    assert found[:4] == [(number, True) for number in (1, 2, 3, 4)]
    assert found[4:] == [(2, False)]


async def test_what_comes_the_moment_the_mail_is_accepted_is_a_scanner(reader: Reader) -> None:
    await reader.ask(reader.pixel(await reader.action(sent_ago=0)))
    await reader.ask(reader.pixel(await reader.action(sent_ago=None)))
    assert await reader.done() == [("email_opened", False), ("email_opened", True)]


# Customers who change


async def test_nothing_is_recorded_of_an_erased_customer_and_the_link_leads_on(reader: Reader) -> None:
    action, now = await reader.action(), datetime.now(UTC)
    link, pixel = reader.link(action), reader.pixel(action)
    await reader.ask(link)  # not judged yet
    erased = CustomerErased(customer_id="c-1", incarnation=0, occurred_at=now, decided_at=now)
    await reader.apply(erased)
    assert (await reader.ask(link)).headers["location"] == TARGET
    assert (await reader.ask(pixel)).status_code == 200
    assert await reader.touchpoints() == []
    assert await reader.pool.fetchval("SELECT count(*) FROM mail_events") == 0


async def test_what_is_done_with_a_merged_customer_s_mail_is_the_customer_s(reader: Reader) -> None:
    action, now = await reader.action("anon:1"), datetime.now(UTC)
    merged = CustomerMerged(customer_id="anon:1", into="c-9", incarnation=0, fact_no=1, occurred_at=now, decided_at=now)
    await reader.ask(reader.pixel(action))
    await reader.apply(merged)
    await reader.ask(reader.link(action))
    assert {one.key for one in await reader.touchpoints()} == {"c-9"}


async def test_a_test_message_s_link_leads_on_and_is_nobody_s(reader: Reader) -> None:
    assert (await reader.ask(reader.link(str(UUID(int=1))))).status_code == 302
    assert await reader.touchpoints() == []


# Faults


async def test_links_outlive_the_secret_and_other_processes_read_them(pool: asyncpg.Pool) -> None:
    first, old = await opened(pool, ("one",)), await opened(pool, ("two",))
    newest = await opened(pool, ("three", "two"))
    action = await first.action()
    for maker in (first, old, newest):
        for reader in (first, old, newest):
            # The first began before the newest secret was known.
            assert (await reader.ask(maker.link(action))).headers["location"] == TARGET
    for reader in (first, old, newest):
        await reader.stop()


async def test_two_processes_judge_each_event_once(pool: asyncpg.Pool) -> None:
    readers = [await opened(pool), await opened(pool)]
    actions = [await readers[0].action(f"c-{number}") for number in range(60)]
    await asyncio.gather(*(readers[number % 2].ask(readers[0].pixel(one)) for number, one in enumerate(actions)))
    await asyncio.gather(*(reader.settle() for reader in readers))
    assert len(await readers[0].touchpoints()) == 60
    for reader in readers:
        await reader.stop()


async def test_while_the_database_is_away_a_click_leads_on_and_is_written_later(reader: Reader) -> None:
    action = await reader.action()
    await reader.pool.execute("ALTER TABLE mail_events RENAME TO away")
    with capture_logs() as logs:
        answers = [await reader.ask(reader.link(action, number)) for number in (1, 2)]
        assert [answer.headers["location"] for answer in answers] == [TARGET] * 2
        assert (await reader.ask(reader.pixel(action))).status_code == 200
    assert [one["event"] for one in logs] == ["mail_events_not_written"]
    assert not any(action in str(one) or "/v1/mail" in str(one) for one in logs)
    await reader.pool.execute("ALTER TABLE away RENAME TO mail_events")
    await reader.stop()
    assert await reader.done() == [("email_clicked", False)] * 2 + [("email_opened", False)]
    assert reader.lost == 0


async def test_what_cannot_be_written_before_the_end_is_counted(reader: Reader) -> None:
    action = await reader.action()
    await reader.pool.execute("ALTER TABLE mail_events RENAME TO away")
    await reader.ask(reader.pixel(action))
    with capture_logs() as logs:
        await reader.stop()
    assert ("mail_events_lost", 1) in [(one["event"], one.get("events")) for one in logs]
    assert reader.lost == 1


async def test_figures_count_actions_by_humans_and_machines_apart(reader: Reader) -> None:
    one, two = await reader.action(), await reader.action("c-2")
    for path in (reader.pixel(one), reader.link(one), reader.link(one, 2, name=""), reader.pixel(two)):
        await reader.ask(path)
    await reader.ask(reader.pixel(two), "Mozilla/5.0")
    await reader.settle()
    now = datetime.now(UTC)
    figures = await PostgresInsights(reader.pool, HASHES).play("win-back", now - timedelta(days=1), now)
    assert orjson.loads(orjson.dumps(figures["mails"])) == {
        "opened": 2, "clicked": 1, "machines": {"opened": 1, "clicked": 0},
        "links": [{"number": 1, "name": "book", "clicked": 1}, {"number": 2, "name": "", "clicked": 1}],
    }  # fmt: skip
