"""The kind: the click that must work. The real routes over a real database, with neither Kafka, plays nor endpoints."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import structlog
from asyncpg.pool import PoolConnectionProxy
from fastapi import FastAPI
from touchline_notifier.adapters.postgres import decision_statements as sql
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.adapters.postgres.unsubscribe import PostgresSubscriptionStore, link_keys
from touchline_notifier.application.deciding.fold_touchpoints import fold_touchpoints
from touchline_notifier.application.unsubscribe import UnsubscribeLinks
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_notifier.core.profiles.profile import Profile, Suppression
from touchline_notifier.core.unsubscribe.tokens import UnsubscribeTokens, key_of
from touchline_notifier.entrypoints.http.unsubscribe import unsubscribe_router
from touchline_runtime.http import problems
from touchline_runtime.http.app import build_app
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.health import Health
from touchline_schemas.events.facts import CustomerErased, CustomerMerged
from touchline_schemas.touchpoint import Touchpoint

pytestmark = pytest.mark.stack

KEPT = "the secret that the database keeps"
HASHES = Hashes(KEPT)


def transaction(connection: asyncpg.Connection | PoolConnectionProxy) -> PostgresTransaction:
    return PostgresTransaction(connection, HASHES, 8)


def links(pool: asyncpg.Pool, tokens: UnsubscribeTokens) -> UnsubscribeLinks:
    return UnsubscribeLinks(PostgresSubscriptionStore(pool, HASHES, 8), 8, tokens)


def _link(path: str) -> bool:
    return path.startswith("/v1/unsubscribe/")


class Browser:
    """Opens the notifier's routes."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.application = build_app("t", version="1", about="", health=Health(), metrics=Metrics([]), proven=_link)
        self.tokens = UnsubscribeTokens(key_of(KEPT))

    @classmethod
    async def open(cls, pool: asyncpg.Pool, secrets: Sequence[str] = ()) -> "Browser":
        """A process with such secrets."""
        browser = cls(pool)
        keys = await link_keys(pool, secrets, KEPT)
        browser.tokens = UnsubscribeTokens(keys[0], keys)
        browser.application.include_router(unsubscribe_router(links(pool, browser.tokens)))
        return browser

    def link(self, customer_id: str, channel: str = "email") -> str:
        return f"/v1/unsubscribe/{self.tokens.make(customer_id, channel)}"

    async def ask(self, method: str, link: str, **more: object) -> httpx.Response:
        transport = httpx.ASGITransport(self.application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            return await client.request(method, link, **more)  # type: ignore[arg-type]

    async def click(self, link: str) -> int:
        return (await self.ask("POST", link, data={"List-Unsubscribe": "One-Click"})).status_code

    async def touchpoints(self) -> list[Touchpoint]:
        rows = await self.pool.fetch("SELECT value FROM outbox WHERE topic = 'touchpoints' ORDER BY id")
        return [Touchpoint.model_validate_json(row["value"]) for row in rows]

    async def profile(self, customer_id: str) -> Profile:
        async with self.pool.acquire() as connection, connection.transaction():
            return (await transaction(connection).customers.lock_profiles([customer_id], datetime.now(UTC)))[
                customer_id
            ]

    async def take(self, *touchpoints: Touchpoint) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await fold_touchpoints(transaction(connection), touchpoints, {}, datetime.now(UTC))

    async def suppressed(self, address: str) -> bool:
        async with self.pool.acquire() as connection:
            found = (await transaction(connection).customers.suppressions([address])).get(address)
            return found is not None and found.opt_out is not None


def message(customer_id: str, kind: str = "identified", *, ahead: float = -3600, **properties: object) -> Touchpoint:
    at = datetime.now(UTC) + timedelta(seconds=ahead)
    return Touchpoint(
        id=f"{kind}-{ahead}", type=kind, channel="web", direction="inbound", customer_id=customer_id, occurred_at=at,
        received_at=at, source="shop", properties=properties,
    )  # fmt: skip


@pytest.fixture
async def browser(pool: asyncpg.Pool) -> Browser:
    return await Browser.open(pool)


@pytest.mark.parametrize(
    "channel", ["email", "product-news", "web", "other", "all", "a" * 64, "Ünïcode channel", "x.y"]
)
async def test_whatever_the_consent_channel_is_called_the_click_is_recorded(browser: Browser, channel: str) -> None:
    assert await browser.click(browser.link("c-1", channel)) == 200
    assert (await browser.profile("c-1")).consent(channel) is False
    (touchpoint,) = await browser.touchpoints()
    # What Kafka brings back says the same, to a profile that never saw the click.
    again = Profile()
    again.take(touchpoint)
    assert again.consent(channel) is False
    assert touchpoint.key == "c-1"


@pytest.mark.parametrize("customer_id", ["c-1", "email:ada@example.org", "ext:crm:9", "🎈" * 250, "anon:" + "é" * 250])
async def test_unsubscribe_works_for_any_customer_id(browser: Browser, customer_id: str) -> None:
    await browser.take(message(customer_id, plan="pro"))
    assert await browser.click(browser.link(customer_id)) == 200
    assert (await browser.profile(customer_id)).consent("email") is False


async def test_three_clicks_at_once_and_one_later_make_one_touchpoint(browser: Browser) -> None:
    await browser.take(message("c-1", email="ada@example.org"))
    link = browser.link("c-1")
    assert await asyncio.gather(*(browser.click(link) for _ in range(3))) == [200] * 3
    assert await browser.click(link) == 200
    (touchpoint,) = await browser.touchpoints()
    assert (touchpoint.type, touchpoint.source) == ("unsubscribed", "unsubscribe-link")
    assert await browser.suppressed("ada@example.org")


async def test_a_scanner_that_looks_changes_nothing(browser: Browser) -> None:
    before = await browser.pool.fetch("SELECT * FROM profiles")
    link = browser.link("c-1")
    for path in (link, f"{link}/preferences"):
        for method in ("HEAD", "GET", "HEAD"):
            answer = await browser.ask(method, path)
            assert (answer.status_code, bool(answer.content)) == (200, method == "GET")
            assert answer.headers["cache-control"] == "no-store"
        assert (await browser.ask("OPTIONS", path)).status_code == 405
    assert (await browser.ask("HEAD", "/v1/unsubscribe/no-link")).status_code == 404
    assert await browser.touchpoints() == []
    assert await browser.pool.fetch("SELECT * FROM profiles") == before


async def test_after_a_new_consent_the_old_link_works_again(browser: Browser) -> None:
    link = browser.link("c-1")
    await browser.click(link)
    await browser.take(message("c-1", "subscribed", ahead=1, channel="email"))
    await asyncio.sleep(0)
    assert (await browser.profile("c-1")).consent("email") is True
    assert await browser.click(link) == 200
    assert (await browser.profile("c-1")).consent("email") is False
    assert len(await browser.touchpoints()) == 2


async def test_a_consent_dated_ahead_by_another_clock_does_not_outlive_the_click(browser: Browser) -> None:
    await browser.take(
        message("c-1", email="ada@example.org"), message("c-1", "subscribed", ahead=240, channel="email")
    )
    assert await browser.click(browser.link("c-1")) == 200
    assert (await browser.profile("c-1")).consent("email") is False
    assert await browser.suppressed("ada@example.org")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), ("set later",)),
        (("one",), ("two",)),
        (("one",), ()),
        (("one", "older"), ("two",)),
    ],
)
async def test_a_secret_set_later_replaced_or_taken_out_keeps_old_links_working(
    pool: asyncpg.Pool, before: Sequence[str], after: Sequence[str]
) -> None:
    old = (await Browser.open(pool, before)).link("c-1")
    now = await Browser.open(pool, after)
    assert await now.click(old) == 200
    assert len(await now.touchpoints()) == 1


async def test_a_process_with_an_older_secret_reads_the_links_of_one_with_a_newer(pool: asyncpg.Pool) -> None:
    older = await Browser.open(pool, ["one"])
    newer = await Browser.open(pool, ["two"])
    assert (await older.ask("GET", newer.link("c-1"))).status_code == 200
    assert await older.click(newer.link("c-1")) == 200


async def test_a_link_of_an_old_key_is_about_the_customer_it_became(browser: Browser) -> None:
    now = datetime.now(UTC)
    link = browser.link("anon:a1")
    long_link = browser.link("ext:crm:" + "é" * 200)
    merges = [
        CustomerMerged(customer_id=old, into="c-9", occurred_at=now, decided_at=now, incarnation=0, fact_no=1)
        for old in ("anon:a1", "ext:crm:" + "é" * 200)
    ]
    async with browser.pool.acquire() as connection, connection.transaction():
        await transaction(connection).customers.merge(merges, now)
    assert await browser.click(link) == 200
    assert (await browser.profile("c-9")).consent("email") is False
    assert await browser.click(long_link) == 200
    assert [one.customer_id for one in await browser.touchpoints()] == ["c-9"]


async def test_of_an_erased_customer_nothing_is_kept_and_one_who_came_back_is_heard(browser: Browser) -> None:
    now = datetime.now(UTC) - timedelta(minutes=1)
    erased = CustomerErased(customer_id="c-1", occurred_at=now, decided_at=now, incarnation=0, fact_no=1)
    async with browser.pool.acquire() as connection, connection.transaction():
        await transaction(connection).customers.erase(erased)
    assert await browser.click(browser.link("c-1")) == 200
    assert await browser.touchpoints() == []
    assert await browser.pool.fetch(sql.PROFILES, ["c-1"]) == []
    await browser.take(message("c-1", ahead=-5, email="ada@example.org"))
    assert await browser.click(browser.link("c-1")) == 200
    assert len(await browser.touchpoints()) == 1


async def test_while_the_database_is_away_the_answer_is_to_try_again_and_then_it_is_recorded(
    browser: Browser, database_url: str
) -> None:
    away = await asyncpg.create_pool(database_url, min_size=1, max_size=1)
    tokens = browser.tokens
    application = FastAPI()
    application.include_router(unsubscribe_router(links(away, tokens)))
    closed = Browser(browser.pool)
    closed.application = application
    away.terminate()
    link = browser.link("c-1")
    answer = await closed.ask("POST", link)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "try again" in answer.text
    unknown = await closed.ask("GET", "/v1/unsubscribe/" + "A" * 40)
    assert unknown.status_code == 503, "it may be a good link of another process"
    assert await browser.click(link) == 200
    assert len(await browser.touchpoints()) == 1


async def test_the_token_is_in_no_log_and_on_no_page(
    browser: Browser, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, logger="httpx")  # the browser's own log
    link = browser.link("c-1")
    token = link.rpartition("/")[2]
    await browser.pool.execute("ALTER TABLE outbox RENAME TO outbox_away")
    answers = [await browser.ask("POST", link), await browser.ask("GET", link), await browser.ask("PUT", link)]
    await browser.pool.execute("ALTER TABLE outbox_away RENAME TO outbox")
    answers += [
        await browser.ask("POST", link),
        await browser.ask("GET", link + "AAAA"),
        await browser.ask("POST", link[:-3]),
    ]
    assert [answer.status_code for answer in answers] == [503, 200, 405, 200, 404, 404]

    broken = FastAPI()
    problems.install(broken)

    @broken.get("/v1/unsubscribe/{token}")
    async def fails(token: str) -> None:
        raise RuntimeError("a fault of ours")

    failing = Browser(browser.pool)
    failing.application = broken
    with structlog.testing.capture_logs() as logged:
        assert (await failing.ask("GET", link)).status_code == 500
    assert logged[0]["route"] == "/v1/unsubscribe/{token}"
    out, error = capfd.readouterr()
    for text in (out, error, caplog.text, str(logged), *(answer.text for answer in answers)):
        assert token[:-3] not in text


async def test_a_broken_or_missing_body_is_a_click_all_the_same(browser: Browser) -> None:
    for number, content in enumerate((b"", b"\xff\x00", b"x" * 20_000, b"List-Unsubscribe=Whatever")):
        assert (await browser.ask("POST", browser.link(f"c-{number}"), content=content)).status_code == 200
    assert len(await browser.touchpoints()) == 4


async def unfinished() -> AsyncIterator[bytes]:
    """A body whose rest does not come."""
    yield b"channel=em"
    await asyncio.sleep(600)


async def test_a_click_whose_body_does_not_come_is_a_click_and_is_answered(browser: Browser) -> None:
    async with asyncio.timeout(120):
        assert (await browser.ask("POST", browser.link("c-1"), content=unfinished())).status_code == 200
    assert (await browser.profile("c-1")).consent("email") is False


@pytest.mark.parametrize("body", [unfinished, lambda: b"channel=email&padding=" + b"x" * 20_000])
async def test_preferences_that_arrive_in_part_refuse_nothing(browser: Browser, body: Callable[[], Any]) -> None:
    await browser.take(message("c-1", "subscribed", channel="product-news"))
    link = browser.link("c-1", "product-news")
    async with asyncio.timeout(120):
        answer = await browser.ask("POST", f"{link}/preferences", content=body())
    assert answer.status_code == 503
    assert (await browser.profile("c-1")).consent("product-news") is True
    assert (await browser.ask("POST", f"{link}/preferences", content=b"")).status_code == 200
    assert (await browser.profile("c-1")).consent("product-news") is False, "no box was ticked"


async def test_the_page_that_asks_to_try_the_preferences_again_refuses_nothing(browser: Browser) -> None:
    link = browser.link("c-1")
    answer = await browser.ask("POST", f"{link}/preferences", content=b"x" * 20_000)
    assert answer.status_code == 503
    assert "<form" not in answer.text, "a form without boxes would refuse everything"


@pytest.mark.parametrize(
    ("known", "header", "expected", "text"),
    [
        ({}, None, "en", "You are unsubscribed"),
        ({"locale": "de_AT"}, "fr", "de", "Sie sind abgemeldet"),
        ({"language": "nl"}, "fr", "nl", "U bent afgemeld"),
        ({"locale": "pl"}, "pl, it;q=0.9", "it", "L’iscrizione è annullata"),
        ({}, "es-MX,es;q=0.9,en;q=0.8", "es", "Se ha dado de baja"),
    ],
)
async def test_the_pages_are_in_the_customers_language(
    browser: Browser, known: dict[str, Any], header: str | None, expected: str, text: str
) -> None:
    await browser.take(message("c-1", email="ada@example.org", **known))
    headers = {"Accept-Language": header} if header is not None else {}
    link = browser.link("c-1")
    asked = (("GET", link), ("GET", f"{link}/preferences"), ("POST", f"{link}/preferences"), ("POST", link))
    answers = [await browser.ask(method, path, headers=headers) for method, path in asked]
    for answer in answers:
        assert answer.headers["content-language"] == expected
        assert f'<html lang="{expected}">' in answer.text
    assert text in answers[-1].text
    # Whose a broken link is nobody knows.
    broken = await browser.ask("GET", f"{link}x", headers={"Accept-Language": "pt"})
    assert (broken.status_code, broken.headers["content-language"]) == (404, "pt")


async def test_a_fault_in_what_is_known_of_the_customer_keeps_no_page_away(browser: Browser) -> None:
    link = browser.link("c-1")
    await browser.pool.execute("ALTER TABLE profiles RENAME TO profiles_away")
    answer = await browser.ask("GET", link, headers={"Accept-Language": "de"})
    await browser.pool.execute("ALTER TABLE profiles_away RENAME TO profiles")
    assert (answer.status_code, answer.headers["content-language"]) == (200, "de")


async def test_rows_of_an_earlier_release_mean_what_they_meant(browser: Browser) -> None:
    earlier, later = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    rows = {
        "opted-out@example.org": ("unsubscribed", earlier, None, ["unsubscribed"]),
        "came-back@example.org": ("unsubscribed", earlier, later, []),
        "bounced@example.org": ("email_bounced", earlier, None, ["email_bounced"]),
        "lifted@example.org": ("email_bounced", earlier, later, []),
        "bounced-again@example.org": ("email_bounced", later, earlier, ["email_bounced"]),
    }
    for address, (reason, since, lifted_at, _) in rows.items():
        await browser.pool.execute(
            "INSERT INTO suppressions (address_hash, reason, since, lifted_at) VALUES ($1, $2, $3, $4)",
            HASHES.address(address), reason, since, lifted_at,
        )  # fmt: skip
    await browser.pool.execute(
        "INSERT INTO suppressions (address_hash, reason, since, lifted_at) VALUES ($1, 'subscribed', '-infinity', $2)",
        HASHES.address("joined@example.org"), later,
    )  # fmt: skip
    async with browser.pool.acquire() as connection, connection.transaction():
        customers = transaction(connection).customers
        found = await customers.suppressions([*rows, "joined@example.org"])
        assert {address: [reason for reason, _ in one.in_force] for address, one in found.items()} == {
            **{address: row[3] for address, row in rows.items()},
            "joined@example.org": [],
        }
        # A block on top of an opt-out forgets neither.
        await customers.save_suppressions([Suppression("opted-out@example.org", "email_complained", later)])
        (both,) = (await customers.suppressions(["opted-out@example.org"])).values()
        assert both.in_force == [("email_complained", later), ("unsubscribed", earlier)]
