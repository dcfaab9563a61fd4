"""Facts into actions: gather the books, decide, write what was decided. All inside the caller's transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import orjson
from touchline_schemas.facts import CustomerErased, CustomerMerged
from touchline_schemas.ids import action_id
from touchline_schemas.times import to_wire

from touchline_notifier.adapters import decision_sql as sql
from touchline_notifier.adapters import outbox
from touchline_notifier.adapters.customers import erase, merge
from touchline_notifier.adapters.delivery_queue import put
from touchline_notifier.adapters.hashes import Hashes
from touchline_notifier.adapters.outbox import Connection
from touchline_notifier.adapters.profiles import suppressed
from touchline_notifier.core.book import Action, Book, Counted
from touchline_notifier.core.channel import Message
from touchline_notifier.core.deciding import Decided, Decider
from touchline_notifier.core.delivery.message_id import delivery_id
from touchline_notifier.core.delivery.subscriptions import Planned, for_subscribers
from touchline_notifier.core.endpoints import Endpoint
from touchline_notifier.core.facts import Fact, Standing, Told, no_longer_wanted
from touchline_notifier.core.limits import Circumstances, consent_asked, writes_to_customer
from touchline_notifier.core.outgoing import Outgoing, action_event
from touchline_notifier.core.profile import Profile
from touchline_notifier.core.reasons import CancelCode
from touchline_notifier.core.waves import waves

_LEAST_PATIENCE = timedelta(minutes=5)
"""A delivery decided at the last moment still gets this long to be tried."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What every decision needs, built once.

    Attributes:
        partitions: of customer-keyed topics.
    """

    decider: Decider
    endpoints: Mapping[str, Endpoint]
    hashes: Hashes
    partitions: int
    to_customers: frozenset[str]

    @property
    def writes_to_customers(self) -> bool:
        """Whether any play does, so that what was said of an address matters, on whatever partition."""
        plays = self.decider.plays.values()
        return any(play.enabled and writes_to_customer(play, self.to_customers) for play in plays)


@dataclass(slots=True)
class Tally:
    """What one transaction did, for metrics: outcome and reason code of each decision."""

    decisions: list[tuple[str, str]]
    subscriptions: int = 0


async def circumstances(connection: Connection, desk: Desk, now: datetime, sending: bool) -> Circumstances:
    """The moment's circumstances: the setting and the switch kept in the database both have to say yes."""
    switched_off = await connection.fetchval(sql.SENDING_OFF)
    return Circumstances(now, sending and switched_off is None, desk.to_customers)


async def take_told(
    connection: Connection, told: Sequence[Told], desk: Desk, partition: int, now: Circumstances
) -> Tally:
    """Take a partition's next facts, in order, and news of customers merged and erased between them."""
    tally = Tally([])
    for wave in waves(told):
        await _take_facts(connection, wave.facts, desk, partition, now, tally)
        await _take_news(connection, wave.news, desk, partition, now, tally)
        tally.subscriptions += await _subscriptions(connection, [*wave.facts, *wave.news], desk, partition, now.now)
    return tally


async def decide_due(connection: Connection, desk: Desk, partition: int, now: Circumstances, at_most: int) -> Tally:
    """Decide waiting actions of a partition whose time has come, of so many customers at most."""
    tally = Tally([])
    rows = await connection.fetch(sql.DUE_CUSTOMERS, partition, now.now, at_most)
    books = await gather(connection, [row["customer_id"] for row in rows], [], desk, now.now)
    decided: list[Decided] = []
    for book in books.values():
        due = [action for action in book.waiting if action.decide_at is not None and action.decide_at <= now.now]
        decided.extend(desk.decider.decide_again(due, book, now))
    await _write(connection, decided, desk, partition, now.now, tally)
    return tally


async def gather(
    connection: Connection, customer_ids: Sequence[str], facts: Sequence[Fact], desk: Desk, now: datetime
) -> dict[str, Book]:
    """The books of customers, as of now."""
    ids = sorted(set(customer_ids))
    books = {customer_id: Book(customer_id) for customer_id in ids}
    if not ids:
        return books
    for row in await connection.fetch(sql.PROFILES, ids):
        books[row["customer_id"]].profile = Profile.from_row(orjson.loads(row["profile"]))
    addresses = {book.profile.email for book in books.values() if book.profile.email is not None}
    reasons = await suppressed(connection, addresses, desk.hashes)
    for row in await connection.fetch(sql.STANDING, ids):
        fields = dict(row)
        theirs = books[fields.pop("customer_id")].standing
        lifecycle = fields.pop("lifecycle")
        theirs[lifecycle] = Standing(**fields)
    widest = max((play.widest_window for play in desk.decider.plays.values()), default=timedelta(0))
    for row in await connection.fetch(sql.COUNTED, ids, now - widest):
        books[row["customer_id"]].counted.append(Counted(row["decided_at"], row["channel"], row["play"]))
    for row in await connection.fetch(sql.WAITING, ids):
        books[row["customer_id"]].waiting.append(_action(row))
    asked = [action_id(play.play, fact.id) for fact in facts for play in desk.decider.candidates(fact)]
    known = {str(row["action_id"]) for row in await connection.fetch(sql.KNOWN_ACTIONS, asked)} if asked else set()
    for book in books.values():
        book.suppressed = reasons.get(book.profile.email or "")
        book.known = known
    return books


def _action(row: asyncpg.Record) -> Action:
    fields: dict[str, Any] = dict(row)
    fields["action_id"] = str(fields["action_id"])
    fields["fact"] = Fact.from_row(orjson.loads(fields["fact"]))
    return Action(**fields)


async def _take_facts(
    connection: Connection,
    told: Sequence[Told],
    desk: Desk,
    partition: int,
    now: Circumstances,
    tally: Tally,
) -> None:
    """Take facts with no news of their customers between them."""
    facts = [one.event for one in told if isinstance(one.event, Fact)]
    if not facts:
        return
    books = await gather(connection, [fact.customer_id for fact in facts], facts, desk, now.now)
    decided: list[Decided] = []
    recovered: list[Fact] = []
    for fact in facts:
        book = books[fact.customer_id]
        if not book.standing.setdefault(fact.lifecycle, Standing()).take(fact):
            continue
        decided.extend(desk.decider.take(fact, book, now))
        if fact.type == "customer-recovered" and not fact.correction:
            recovered.append(fact)
    await _save_standing(connection, books.values())
    await _write(connection, decided, desk, partition, now.now, tally)
    await _cancel_retries(connection, books, desk, partition, now.now, tally)
    if recovered:
        await connection.execute(
            sql.RECOVERED,
            [fact.customer_id for fact in recovered],
            [fact.lifecycle for fact in recovered],
            [fact.at for fact in recovered],
        )


async def _take_news(
    connection: Connection,
    told: Sequence[Told],
    desk: Desk,
    partition: int,
    now: Circumstances,
    tally: Tally,
) -> None:
    """Take news that have no customer in common."""
    merges = [one.event for one in told if isinstance(one.event, CustomerMerged)]
    erasures = [one.event for one in told if isinstance(one.event, CustomerErased)]
    whys: dict[str, tuple[CancelCode, str]] = {
        one.customer_id: ("merged", f"is now part of {one.into}") for one in merges
    }
    whys |= {one.customer_id: ("erased", "the customer was erased") for one in erasures}
    books = await gather(connection, list(whys), [], desk, now.now)
    cancelled = [
        one for customer_id, book in books.items() for one in desk.decider.cancel_all(book, *whys[customer_id], now.now)
    ]
    await _write(connection, cancelled, desk, partition, now.now, tally)
    if merges:
        await merge(connection, merges, desk.partitions, now.now)
    for erasure in erasures:
        await erase(connection, erasure, desk.hashes)


async def _save_standing(connection: Connection, books: Iterable[Book]) -> None:
    rows = [
        (book.customer_id, name, one.incarnation, one.fact_no, one.stage, one.entered_at, one.sequence,
         one.stalled_level)
        for book in books
        for name, one in book.standing.items()
    ]  # fmt: skip
    if rows:
        await connection.execute(sql.SAVE_STANDING, *(list(column) for column in zip(*rows, strict=True)))


async def _cancel_retries(
    connection: Connection,
    books: Mapping[str, Book],
    desk: Desk,
    partition: int,
    now: datetime,
    tally: Tally,
) -> None:
    """Stop trying to deliver what the customer's newest facts made unwanted."""
    cancelled: list[Decided] = []
    for row in await connection.fetch(sql.RETRYING, list(books)):
        action = _action(row)
        play = desk.decider.plays.get(action.play)
        if play is not None and not play.exit:
            continue
        why = no_longer_wanted(action.fact, books[action.customer_id].standing.get(action.fact.lifecycle))
        if why is not None:
            cancelled.append(desk.decider.cancel(action, books[action.customer_id], *why, now))
    if cancelled:
        await connection.execute(sql.CANCEL_DELIVERIES, [one.action.action_id for one in cancelled], now)
        await _write(connection, cancelled, desk, partition, now, tally)


async def _write(
    connection: Connection,
    decided: Sequence[Decided],
    desk: Desk,
    partition: int,
    now: datetime,
    tally: Tally,
) -> None:
    """Actions as they are by now, every event on the way there, and deliveries of what was decided."""
    if not decided:
        return
    actions = {one.action.action_id: one.action for one in decided}
    rows = [_action_row(action, partition) for _, action in sorted(actions.items())]
    await connection.execute(sql.SAVE_ACTIONS, *(list(column) for column in zip(*rows, strict=True)))
    events: list[Outgoing] = []
    planned: list[Planned] = []
    for one in decided:
        if one.event is None:
            continue
        events.append(action_event(one.event))
        tally.decisions.append((one.event.outcome, one.action.reason_code or "none"))
        if one.event.outcome == "decided":
            planned.append(_planned(one, desk, now))
    await put(connection, partition, planned, due=now, now=now)
    await outbox.append(connection, partition, events)


def _action_row(action: Action, partition: int) -> tuple[Any, ...]:
    fact = action.fact
    return (
        action.action_id, partition, action.play, fact.id, fact.type, orjson.dumps(fact.to_row()).decode(),
        action.customer_id, fact.lifecycle, fact.stage, action.channel, action.endpoint, action.priority,
        action.outcome, action.reason_code, action.reason, action.counts, fact.at, action.decide_at,
        action.decided_at, action.events,
    )  # fmt: skip


def _planned(decided: Decided, desk: Desk, now: datetime) -> Planned:
    """The delivery of what was decided just now."""
    play = desk.decider.plays[decided.action.play]
    asked = consent_asked(play, desk.to_customers)
    action, event, rendered = decided.action, decided.event, decided.rendered
    assert event is not None, "a delivery follows a decision that is published"
    assert rendered is not None, "decided means rendered"
    assert action.endpoint is not None, "plays without an endpoint got their channel's only one"
    fact = action.fact
    ident = str(delivery_id(action.action_id, action.endpoint))
    data = {
        **event.model_dump(mode="json", exclude={"outcome", "reason", "sequence", "endpoint"}),
        "fact_type": fact.type,
        "from_stage": fact.from_stage,
        "move": fact.move,
        "level": fact.level,
        "occurred_at": to_wire(fact.at),
    }
    message = Message(
        delivery_id=ident,
        type="touchline.action",
        timestamp=to_wire(now),
        customer_id=action.customer_id,
        data={**{name: value for name, value in data.items() if value is not None}, **rendered.data},
        to=rendered.to,
        subject=rendered.subject,
        text=rendered.text,
        html=rendered.html,
        unsubscribe_url=rendered.unsubscribe_url,
        headers=rendered.headers,
        to_customer=writes_to_customer(play, desk.to_customers),
        consent=asked[0] if asked else None,
    )
    return Planned(
        ident, fact.id, action.customer_id, action.channel, action.endpoint, message, action.action_id,
        first_before=max(fact.at + play.max_age, now + _LEAST_PATIENCE),
    )  # fmt: skip


async def _subscriptions(
    connection: Connection, told: Sequence[Told], desk: Desk, partition: int, now: datetime
) -> int:
    """Deliveries for endpoints that subscribe to facts, whatever the plays."""
    subscribers = [endpoint for endpoint in desk.endpoints.values() if endpoint.subscribe]
    if not subscribers:
        return 0
    planned = [one for fact in told for one in for_subscribers(fact.type, fact.ce_id, fact.data, subscribers)]
    await put(connection, partition, planned, due=now, now=now)
    return len(planned)
