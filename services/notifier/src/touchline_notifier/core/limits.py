"""Every limit that can hold an action back, in the order in which they are named.

Each is a question to the customer's book; a limit that holds answers with a :class:`Hold`. The order matters only for
which reason is published: what no waiting mends comes first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from touchline_schemas.times import to_wire

from touchline_notifier.core.book import Book
from touchline_notifier.core.durations import say
from touchline_notifier.core.facts import Fact
from touchline_notifier.core.local_time import Business, Quiet, add_business_days, hindrance, next_allowed, zone
from touchline_notifier.core.play import BusinessDays, BusinessDelay, Cap, Play
from touchline_notifier.core.reasons import HoldCode

_UTC = ZoneInfo("UTC")
_SWITCH_RETRY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Hold:
    """Held back.

    Attributes:
        text: for people.
        until: decided again then; None: never sent.
    """

    code: HoldCode
    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What holds for every decision of a moment.

    Attributes:
        sending: the global switch.
        to_customers: channels that write to the customer: they need an address and respect consent.
    """

    now: datetime
    sending: bool = True
    to_customers: frozenset[str] = frozenset({"email"})


def place_of(play: Play, book: Book) -> ZoneInfo:
    """The customer's own time zone, else the play's, else UTC."""
    for name in (book.profile.get("time_zone"), play.limits.time_zone):
        found = zone(name) if isinstance(name, str) else None
        if found is not None:
            return found
    return _UTC


def writes_to_customer(play: Play, to_customers: frozenset[str]) -> bool:
    """Whether a play's messages go to the customers themselves, rather than to the company."""
    return play.action.channel in to_customers and play.action.to is None


def consent_asked(play: Play, to_customers: frozenset[str]) -> tuple[str, Literal["required", "not_refused"]] | None:
    """Whose leave a play needs, as (channel, how much of it), or None."""
    if play.transactional:
        return None
    default = writes_to_customer(play, to_customers) or play.limits.consent_channel is not None
    need = play.limits.consent or ("not_refused" if default else "none")
    return None if need == "none" else (play.limits.consent_channel or play.action.channel, need)


def suppressed_address(reason: str) -> Hold:
    """Nothing goes to this address."""
    return Hold("suppressed", f"the address is suppressed: {reason}")


def refused(channel: str) -> Hold:
    """The customer said no."""
    return Hold("no_consent", f"consent for {channel} was refused")


def hindrances(play: Play, fact: Fact, book: Book, now: Circumstances) -> Iterator[Hold]:
    """All that holds an action of a play on a fact back at a moment, the published reason first."""
    yield from _never(play, fact, book, now)
    if not now.sending:
        yield Hold("sending_off", "sending is switched off", now.now + _SWITCH_RETRY)
    start = _after_delay(play, fact, book)
    if start > now.now:
        yield Hold("delay", f"waits until {to_wire(start)}", start)
    if play.transactional:
        return
    yield from _clock(play, book, now.now)
    yield from _caps(play, book, now.now)


def _never(play: Play, fact: Fact, book: Book, now: Circumstances) -> Iterator[Hold]:
    if fact.backfill:
        yield Hold("backfill", "the fact tells of the past")
    elif now.now - fact.at > play.max_age:
        yield Hold("too_old", f"true since {to_wire(fact.at)}, longer than max_age {say(play.max_age)}")
    if writes_to_customer(play, now.to_customers):
        if book.profile.email is None:
            yield Hold("no_address", "no e-mail address is known")
        if book.suppressed is not None:
            yield suppressed_address(book.suppressed)
    asked = consent_asked(play, now.to_customers)
    if asked is None:
        return
    channel, need = asked
    given = book.profile.consent(channel)
    if given is False:
        yield refused(channel)
    elif given is None and need == "required":
        yield Hold("no_consent", f"consent for {channel} was never given")


def _after_delay(play: Play, fact: Fact, book: Book) -> datetime:
    if play.delay is None:
        return fact.at
    if isinstance(play.delay, BusinessDelay):
        days = play.limits.business_days or BusinessDays()
        return add_business_days(fact.at, play.delay.business_days, place_of(play, book), days.business)
    return fact.at + play.delay


def _windows(play: Play) -> tuple[Quiet | None, Business | None]:
    if play.transactional:
        return None, None
    quiet, days = play.limits.quiet_hours, play.limits.business_days
    return (quiet.quiet if quiet else None), (days.business if days else None)


def _clock(play: Play, book: Book, now: datetime) -> Iterator[Hold]:
    quiet, business = _windows(play)
    place = place_of(play, book)
    code = hindrance(now, place, quiet, business)
    if code is None:
        return
    until = next_allowed(now, place, quiet, business)
    when = f", waits until {to_wire(until)}" if until else ""
    local = now.astimezone(place).strftime("%A %H:%M")
    yield Hold(code, f"it is {local} in {place.key}{when}", until)


def _caps(play: Play, book: Book, now: datetime) -> Iterator[Hold]:
    drop = play.limits.when_capped == "drop"
    kinds: tuple[tuple[HoldCode, Sequence[Cap], Sequence[datetime]], ...] = (
        ("capped_customer", play.limits.per_customer, book.times()),
        ("capped_channel", play.limits.per_channel, book.times(channel=play.action.channel)),
        ("capped_play", play.limits.play_caps(), book.times(play=play.play)),
    )
    for code, caps, times in kinds:
        for cap in caps:
            free = free_again(times, cap, now)
            if free is not None:
                had = f"{cap.count} in {say(cap.within)} already"
                yield Hold(code, had if drop else f"{had}, free again at {to_wire(free)}", None if drop else free)


def free_again(times: Sequence[datetime], cap: Cap, now: datetime) -> datetime | None:
    """When a cap allows one more, or None when it does now.

    The window rolls: at an instant *t* those count that happened after *t* − ``within``.
    """
    # In UTC: between two local times Python counts what the wall clock shows, and a day may have 23 or 25 hours.
    since = now.astimezone(UTC) - cap.within
    counted = sorted(at for time in times if (at := time.astimezone(UTC)) > since)
    if len(counted) < cap.count:
        return None
    return counted[-cap.count] + cap.within


def settle(play: Play, fact: Fact, book: Book, holds: Sequence[Hold]) -> Hold | None:
    """The one hold to publish out of all: the first reason, and the time at which deciding again may help.

    None of no holds. Without a time where one never ends, or the fact would be too old by then.
    """
    if not holds:
        return None
    first = holds[0]
    final = [hold for hold in holds if hold.until is None]
    if final:
        return Hold(final[0].code, final[0].text) if final[0] is not first else first
    until, code = max((hold.until.astimezone(UTC), hold.code) for hold in holds if hold.until is not None)
    quiet, business = _windows(play)
    place = place_of(play, book)
    opens = next_allowed(until, place, quiet, business)
    if opens is None or opens > fact.at + play.max_age:
        return Hold(first.code, f"{first.text}; too old by then (max_age {say(play.max_age)})")
    text = first.text
    if first.until != until:
        text += f", then {code} until {to_wire(until)}"
    if opens != until:
        # What holds it back ends when nothing may be sent: a delay in the night, a cap on a holiday.
        text += f", then {hindrance(until, place, quiet, business)} until {to_wire(opens)}"
    return Hold(first.code, text, opens)
