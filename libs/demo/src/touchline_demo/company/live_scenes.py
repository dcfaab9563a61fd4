"""Live activity of the company's customers: short scenes, a few touchpoints a second."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from random import Random
from typing import Any

from touchline_demo.company.company import Company, seeded_random
from touchline_demo.company.people import CRM, DESK, MAILER, SHOP, Event, Identifier, Person

KNOWN: tuple[Identifier, ...] = ("customer_id", "anonymous_id")
ADDRESSED: tuple[Identifier, ...] = ("customer_id", "email")
BOOKS: tuple[Identifier, ...] = ("customer_id",)


@dataclass
class Scene:
    """One visit of one person; ``clock`` goes on between events."""

    number: int
    person: Person
    rng: Random
    clock: datetime
    events: list[Event]

    def pause(self, least: float, most: float) -> None:
        """Some seconds."""
        self.clock += timedelta(seconds=self.rng.uniform(least, most))

    def did(
        self,
        source: str,
        type_: str,
        names: tuple[Identifier, ...],
        *,
        machine: bool = False,
        **properties: Any,
    ) -> None:
        """One event."""
        identifier = f"{source}-live-{self.number:06d}-{len(self.events):02d}"
        self.events.append(
            Event(self.clock, self.clock, source, identifier, type_, self.person, names, properties, machine)
        )


def buys(scene: Scene) -> None:
    """Looks, fills the basket, pays in time."""
    _looks(scene, KNOWN)
    scene.did(SHOP, "checkout_started", KNOWN, items=2)
    scene.pause(2, 6)
    scene.did(SHOP, "purchased", KNOWN, value=round(scene.rng.uniform(9, 60), 2), currency="EUR")


def leaves_the_basket(scene: Scene) -> None:
    """Fills the basket and walks away: it stalls."""
    _looks(scene, KNOWN)
    scene.did(SHOP, "checkout_started", KNOWN, items=1)


def comes_back(scene: Scene) -> None:
    """Leaves the basket, thinks it over, and pays after all: a stall and its recovery."""
    leaves_the_basket(scene)
    scene.pause(13, 16)
    scene.did(SHOP, "page_viewed", KNOWN, url="/basket")
    scene.pause(1, 3)
    scene.did(SHOP, "purchased", KNOWN, value=19.9, currency="EUR")


def gets_known(scene: Scene) -> None:
    """An anonymous visitor looks around and signs up: their visits become a customer's."""
    for _ in range(3):
        _looks(scene, ("anonymous_id",))
    person = scene.person
    scene.did(
        SHOP, "signed_up", ("customer_id", "anonymous_id", "email"),
        name=person.name, timezone=person.time_zone, locale=person.locale, consent={"email": True},
    )  # fmt: skip
    scene.pause(1, 3)
    scene.did(SHOP, "purchased", KNOWN, value=12.5, currency="EUR")


def reads_the_newsletter(scene: Scene) -> None:
    """A scanner opens the newsletter at once, the customer later."""
    scene.did(MAILER, "email_delivered", ADDRESSED, campaign="today")
    scene.pause(0.5, 1)
    scene.did(MAILER, "email_opened", ADDRESSED, machine=True, campaign="today")
    scene.pause(2, 5)
    scene.did(MAILER, "email_clicked", ADDRESSED, campaign="today")


def is_hurt(scene: Scene) -> None:
    """A good customer complains, and answers the survey accordingly."""
    scene.did(DESK, "complaint_made", BOOKS, topic="delivery")
    scene.pause(2, 5)
    scene.did(DESK, "survey_answered", BOOKS, score=scene.rng.randrange(0, 4))


def recommends(scene: Scene) -> None:
    """Brings a friend."""
    scene.did(DESK, "referral_made", BOOKS)


def is_called(scene: Scene) -> None:
    """Sales calls."""
    scene.did(CRM, "call_held", BOOKS, minutes=7)


SCENES: tuple[tuple[Callable[[Scene], None], int], ...] = (
    (buys, 26), (leaves_the_basket, 16), (comes_back, 10), (gets_known, 14), (reads_the_newsletter, 14), (is_hurt, 8),
    (recommends, 6), (is_called, 6),
)  # fmt: skip


def _looks(scene: Scene, names: tuple[Identifier, ...]) -> None:
    scene.did(SHOP, "page_viewed", names, url=scene.rng.choice(("/", "/beans", "/grinders", "/offices")))
    scene.pause(0.5, 2)


@dataclass(frozen=True)
class LiveDay:
    """The scenes after the company's ``now``, by number; a pure function of the company and the scene's start."""

    company: Company

    @cached_property
    def regulars(self) -> list[Person]:
        """Customers who might come by today."""
        lively = [person for person in self.company.people if person.habit in ("eager", "slow", "returning", "office")]
        return [
            person for person in lively if any(event.type == "purchased" for event in self.company.life_of(person))
        ] or [self.company.people[0]]

    def scene(self, number: int, start: datetime) -> list[Event]:
        """The events of scene 0, 1, 2…, in order, the first at ``start``."""
        rng = seeded_random(self.company.seed, "live", number)
        play = rng.choices([scene for scene, _ in SCENES], [share for _, share in SCENES])[0]
        person = self.company.newcomer(number) if play is gets_known else rng.choice(self.regulars)
        scene = Scene(number, person, rng, start, [])
        play(scene)
        return scene.events
