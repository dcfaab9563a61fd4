"""Every limit that can hold an action back, in the order in which they are named.

Each checks the customer's history and returns a :class:`Hold` when it holds the action back. The order decides only
which reason is published: what waiting does not resolve comes first.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

from touchline_schemas.times import to_wire

from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.decisions.hold_reasons import HoldCode
from touchline_notifier.core.decisions.stage_events import Fact
from touchline_notifier.core.limits.quiet_hours import (
    Business,
    Quiet,
    add_business_days,
    hindrance,
    next_allowed,
    zone_named,
)
from touchline_notifier.core.plays.durations import say
from touchline_notifier.core.plays.parts import BusinessDelay
from touchline_notifier.core.plays.play import BusinessDays, Cap, Play
from touchline_notifier.core.profiles.sending_rule import Person, Way, objections

_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Hold:
    """Why an action is held back.

    Attributes:
        text: for people.
        until: decided again then; None: never sent.
    """

    code: HoldCode
    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The circumstances that every decision of a moment shares.

    Attributes:
        sending: the global switch.
        to_customers: channels that write to the customer: they need an address and respect consent.
    """

    now: datetime
    sending: bool = True
    to_customers: frozenset[str] = frozenset({"email"})


def zone_of(play: Play, history: CustomerHistory) -> tzinfo:
    """The customer's own time zone, else the play's, else UTC."""
    for name in (history.profile.get("time_zone"), play.limits.time_zone):
        found = zone_named(name) if isinstance(name, str) else None
        if found is not None:
            return found
    return _UTC


def writes_to_customer(play: Play, to_customers: frozenset[str]) -> bool:
    """Whether a play's messages go to the customers themselves, rather than to the company."""
    return play.action.channel in to_customers and play.action.to is None


def reaches_customer(play: Play, to_customers: frozenset[str]) -> bool:
    """Whether an action of the play counts against the customer's caps: it reaches the person, or the play says so."""
    if play.contact is not None:
        return play.contact
    return writes_to_customer(play, to_customers) or play.limits.consent_channel is not None


def offers_way_out(play: Play, to_customers: frozenset[str]) -> bool:
    """Whether a message of a play carries an unsubscribe link: mails to customers, and what a template puts it into."""
    return any(_offers_way_out(message, to_customers) for message in play.messages)


def _offers_way_out(play: Play, to_customers: frozenset[str]) -> bool:
    if writes_to_customer(play, to_customers) and not play.transactional:
        return True
    action = play.action
    return "unsubscribe_url" in f"{action.subject} {action.body} {action.html} {action.data} {action.headers}"


def needs_public_url(play: Play, to_customers: frozenset[str]) -> bool:
    """Whether a play's messages hold addresses of the notifier: an unsubscribe link, a pixel, tracked links."""
    return offers_way_out(play, to_customers) or any(spec.tracks for _, spec in play.message_paths())


def consent_asked(play: Play, to_customers: frozenset[str]) -> tuple[str, Literal["required", "not_refused"]] | None:
    """The consent a play needs, as (channel, required or not_refused), or None."""
    if play.transactional:
        return None
    default = writes_to_customer(play, to_customers) or play.limits.consent_channel is not None
    need = play.limits.consent or ("not_refused" if default else "none")
    return None if need == "none" else (play.limits.consent_channel or play.action.channel, need)


def way_of(play: Play, to_customers: frozenset[str]) -> Way:
    """The way that a play's messages go, for the rule of consent and suppressions."""
    asked = consent_asked(play, to_customers)
    carrier = play.action.channel if writes_to_customer(play, to_customers) else ""
    topic, need = asked if asked is not None else ("", "not_refused")
    return Way(topic, carrier, need == "required")


def ways_by_topic(plays: Iterable[Play], to_customers: frozenset[str]) -> dict[str, frozenset[Way]]:
    """The topics that customers may choose among, and how the messages of each go out."""
    ways = {way_of(message, to_customers) for play in plays if play.enabled for message in play.messages}
    return {topic: frozenset(way for way in ways if way.topic == topic) for topic in {way.topic for way in ways} - {""}}


AUDIENCE_SETTLING = timedelta(seconds=60)
"""How long after a fact its customer may still become a member: the engine evaluates audiences after it."""


def hindrances(
    play: Play,
    fact: Fact,
    history: CustomerHistory,
    now: Circumstances,
    deadline: datetime | None = None,
    *,
    since: datetime | None = None,
) -> Iterator[Hold]:
    """Everything that holds back a play's action on a fact at a moment, the published reason first.

    Args:
        deadline: after it the action is too old; by default ``max_age`` after ``since``.
        since: from when its age counts; by default since the fact became true.
    """
    since = since or fact.at
    if deadline is None:
        deadline = since + play.max_age
    yield from _never(play, fact, history, now, since, deadline)
    if not now.sending:
        # It is not decided again meanwhile: it waits for the switch, and at most until it is too old.
        yield Hold("sending_off", "sending is switched off", max(deadline, now.now))
    yield from _audience(play, fact, history, now.now)
    start = _after_delay(play, fact, history)
    if start > now.now:
        yield Hold("delay", f"waits until {to_wire(start)}", start)
    if play.transactional:
        return
    yield from _clock(play, history, now.now)
    yield from capped(play, history, now)


def _never(
    play: Play, fact: Fact, history: CustomerHistory, now: Circumstances, since: datetime, deadline: datetime
) -> Iterator[Hold]:
    if fact.backfill:
        yield Hold("backfill", "the fact is imported history")
    elif now.now > deadline:
        true = "true" if since == fact.at else "due"
        yield Hold("too_old", f"{true} since {to_wire(since)}, longer than max_age {say(play.max_age)}")
    person = Person(history.profile, history.profile.email, history.suppressions)
    for objection in objections(person, way_of(play, now.to_customers)):
        yield Hold(objection.code, objection.text)


def _audience(play: Play, fact: Fact, history: CustomerHistory, now: datetime) -> Iterator[Hold]:
    if play.audience is None or play.audience in history.audiences:
        return
    stated = fact.data.get("decided_at")
    settled = (datetime.fromisoformat(stated) if isinstance(stated, str) else fact.at) + AUDIENCE_SETTLING
    if settled > now:
        yield Hold("not_in_audience", f"is not a member of {play.audience}, waits until {to_wire(settled)}", settled)
    else:
        yield Hold("not_in_audience", f"is not a member of {play.audience}")


def _after_delay(play: Play, fact: Fact, history: CustomerHistory) -> datetime:
    return fact.at if play.delay is None else after_wait(fact.at, play.delay, play, history)


def after_wait(since: datetime, length: timedelta | BusinessDelay, play: Play, history: CustomerHistory) -> datetime:
    """When a delay, or a step's wait, is over."""
    if isinstance(length, BusinessDelay):
        days = play.limits.business_days or BusinessDays()
        return add_business_days(since, length.business_days, zone_of(play, history), days.business)
    return since + length


def _windows(play: Play) -> tuple[Quiet | None, Business | None]:
    if play.transactional:
        return None, None
    quiet, days = play.limits.quiet_hours, play.limits.business_days
    return (quiet.quiet if quiet else None), (days.business if days else None)


def _clock(play: Play, history: CustomerHistory, now: datetime) -> Iterator[Hold]:
    quiet, business = _windows(play)
    zone = zone_of(play, history)
    code = hindrance(now, zone, quiet, business)
    if code is None:
        return
    until = next_allowed(now, zone, quiet, business)
    when = f", waits until {to_wire(until)}" if until else ""
    local = now.astimezone(zone).strftime("%A %H:%M")
    name = zone.key if isinstance(zone, ZoneInfo) else zone
    yield Hold(code, f"it is {local} in {name}{when}", until)


def capped(play: Play, history: CustomerHistory, now: Circumstances) -> Iterator[Hold]:
    """The frequency caps that are reached. Only actions that reach the person count against the person's caps."""
    drop = play.limits.when_capped == "drop"
    person = reaches_customer(play, now.to_customers)
    channel = play.action.channel
    kinds: tuple[tuple[HoldCode, Sequence[Cap], Sequence[datetime]], ...] = (
        ("capped_customer", play.limits.per_customer, history.times(contacts_only=person)),
        ("capped_channel", play.limits.per_channel, history.times(channel=channel, contacts_only=person)),
        ("capped_play", play.limits.play_caps(), history.times(play=play.play)),
    )
    for code, caps, times in kinds:
        for cap in caps:
            free = free_again(times, cap, now.now)
            if free is not None:
                had = f"{cap.count} in {say(cap.within)} already"
                yield Hold(code, had if drop else f"{had}, free again at {to_wire(free)}", None if drop else free)


def free_again(times: Sequence[datetime], cap: Cap, now: datetime) -> datetime | None:
    """When a cap allows one more, or None when it does now.

    The window rolls: at an instant *t* those count that happened after *t* − ``within``.
    """
    # In UTC: between two local times Python subtracts wall clock times, and a day may have 23 or 25 hours.
    since = now.astimezone(UTC) - cap.within
    counted = sorted(at for time in times if (at := time.astimezone(UTC)) > since)
    if len(counted) < cap.count:
        return None
    return counted[-cap.count] + cap.within


def settle(
    play: Play, fact: Fact, history: CustomerHistory, holds: Sequence[Hold], deadline: datetime | None = None
) -> Hold | None:
    """The hold to publish: the first reason, and the time at which to decide again.

    None of no holds. Without a time where one never ends, or the fact would be too old by then.
    """
    if not holds:
        return None
    if deadline is None:
        deadline = fact.at + play.max_age
    first = holds[0]
    final = [hold for hold in holds if hold.until is None]
    if final:
        return Hold(final[0].code, final[0].text) if final[0] is not first else first
    if first.code == "sending_off":
        return first
    until, code = max((hold.until.astimezone(UTC), hold.code) for hold in holds if hold.until is not None)
    quiet, business = _windows(play)
    zone = zone_of(play, history)
    opens = next_allowed(until, zone, quiet, business)
    if opens is None or opens > deadline:
        return Hold(first.code, f"{first.text}; too old by then (max_age {say(play.max_age)})")
    text = first.text
    if first.until != until:
        text += f", then {code} until {to_wire(until)}"
    if opens != until:
        # What holds it back ends when nothing may be sent: a delay in the night, a cap on a holiday.
        text += f", then {hindrance(until, zone, quiet, business)} until {to_wire(opens)}"
    return Hold(first.code, text, opens)
