"""The simulated company: a pure function of a seed and the time to everything its systems would have posted.

"Alder & Finch" roasts coffee for homes and offices. Its systems are not perfect: some post late, some post twice,
and a faulty script posts invalid events.
"""

import heapq
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from random import Random
from typing import Any

from touchline_demo.company.habits import HABITS, RETENTION_STALL_AFTER, quiet_since
from touchline_demo.company.life import Habit, Life, ReachedPresent
from touchline_demo.company.people import DESK, MAILER, Event, InvalidEvent, Person

NAME = "Alder & Finch, roasters"
MONTHS = timedelta(days=240)

LATE_SHARE = 0.006
REPEATED_SHARE = 0.01
MISTAKE_SHARE = 0.0005
UNREADABLE = 5
"""Webhooks of an unknown kind."""
UNREAD = "unread"
QUIET_SHARE = 0.02
"""The share of customers whose stall comes due during the live part."""

_FIRST = (
    "Ada", "Bruno", "Clara", "Dario", "Elif", "Farid", "Greta", "Hana", "Igor", "Jana", "Kofi", "Lena", "Mateo",
    "Nora", "Omar", "Petra", "Quentin", "Rosa", "Sami", "Tilda", "Umar", "Vera", "Wanda", "Xenia", "Yusuf", "Zoe",
)  # fmt: skip
_LAST = (
    "Abbott", "Baumann", "Castro", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ivanova", "Jensen",
    "Kowalski", "Lindqvist", "Moreau", "Novak", "Okafor", "Petrov", "Quist", "Rossi", "Sato", "Tanaka", "Usman",
    "Varga", "Weber", "Yilmaz", "Zimmer",
)  # fmt: skip
_TIME_ZONES = ("Europe/Vienna", "Europe/London", "America/New_York", "Asia/Tokyo", "Australia/Sydney")


def seeded_random(*seeds: object) -> Random:
    """A random generator that is the same for the same seeds, on every machine."""
    return Random("/".join(str(seed) for seed in seeds))  # noqa: S311  (a simulation, not a secret)


@dataclass(frozen=True)
class Company:
    """Everything follows from these.

    Attributes:
        now: the present; nothing has happened later.
        live_from: when the live part begins; the stalls of some customers come due within ``live_for`` after it.
        customers: how many people there are, those who only pass by included.
    """

    seed: int
    now: datetime
    live_from: datetime
    live_for: timedelta = timedelta(seconds=30)
    customers: int = 3000

    @cached_property
    def people(self) -> tuple[Person, ...]:
        """Everybody, by number."""
        return tuple(self._person(number) for number in range(self.customers))

    @property
    def first_day(self) -> datetime:
        """When the company started."""
        return self.now - MONTHS

    def life_of(self, person: Person) -> list[Event]:
        """What one person did until now, in order."""
        rng = seeded_random(self.seed, "life", person.number)
        habit, start = self._habit_of(person, rng)
        life = Life(person, rng, start, self.now)
        with suppress(ReachedPresent):
            habit(life)
        return [self._as_posted(event, rng) for event in life.events]

    def deliveries(self) -> Iterator[Event | InvalidEvent]:
        """What the company's systems posted until now, in the order in which they did."""
        rng = seeded_random(self.seed, "post")
        waiting: list[tuple[datetime, int, Event | InvalidEvent]] = []
        for person in self.people:
            for event in self.life_of(person):
                waiting.append((event.arrives, len(waiting), event))
                if rng.random() < REPEATED_SHARE:
                    again = min(event.arrives + timedelta(seconds=rng.randrange(1, 7200)), self.now)
                    waiting.append((again, len(waiting), replace(event, arrives=again, repeated=True)))
                if rng.random() < MISTAKE_SHARE:
                    invalid = _invalid_event(event, rng)
                    waiting.append((invalid.arrives, len(waiting), invalid))
        for number in range(UNREADABLE):
            strange = self._strange_mail_event(number)
            waiting.append((strange.arrives, len(waiting), strange))
        heapq.heapify(waiting)
        while waiting:
            yield heapq.heappop(waiting)[2]

    def newcomer(self, number: int) -> Person:
        """A person who visits for the first time, after ``now``."""
        return self._person(self.customers + number)

    def _strange_mail_event(self, number: int) -> InvalidEvent:
        """What the mailer's next release sends: Touchline takes it, and keeps what it can't read."""
        at = self.now - timedelta(hours=7 * number + 1)
        body = {"event": "hologram_shown", "email": self.people[number].email, "timestamp": int(at.timestamp())}
        return InvalidEvent(at, MAILER, body, UNREAD)

    def _person(self, number: int) -> Person:
        rng = seeded_random(self.seed, "person", number)
        name = f"{rng.choice(_FIRST)} {rng.choice(_LAST)}"
        if rng.random() < QUIET_SHARE:
            habit = "quiet"
        else:
            habit = rng.choices(list(HABITS), [share for _, share in HABITS.values()])[0]
        return Person(number, name, habit, rng.choice(_TIME_ZONES))

    def _habit_of(self, person: Person, rng: Random) -> tuple[Habit, datetime]:
        if person.habit == "quiet":
            due = self.live_from + self.live_for * rng.random()
            last = due - RETENTION_STALL_AFTER
            return quiet_since(last), last - timedelta(days=rng.uniform(40, 120))
        # The company grows: more of its customers came lately than long ago.
        age = MONTHS * (1 - rng.random() ** 0.7)
        return HABITS[person.habit][0], self.now - age

    def _as_posted(self, event: Event, rng: Random) -> Event:
        if rng.random() >= LATE_SHARE:
            return event
        return replace(event, arrives=min(event.at + timedelta(hours=rng.uniform(6, 120)), self.now))


def _invalid_event(event: Event, rng: Random) -> InvalidEvent:
    """The same event as a careless script would post it."""
    body: dict[str, Any] = event.as_posted() | {"id": f"script-{event.id}"}
    why = rng.choice(("no zone", "year 9999", "nobody", "misspelt", "NUL"))
    if why == "no zone":
        body["occurred_at"] = event.at.replace(tzinfo=None).isoformat()
    elif why == "year 9999":
        body["occurred_at"] = "9999-12-31T23:59:59Z"
    elif why == "nobody":
        body = {name: value for name, value in body.items() if name not in event.names}
    elif why == "misspelt":
        body["custommer_id"] = event.person.customer_id
    else:
        body["properties"] = {"comment": "\x00"}
    return InvalidEvent(event.arrives, DESK, body, why)
