"""A life among touchpoints: a clock that only goes forward, and the things a person does on the way."""

from collections.abc import Callable
from datetime import datetime, time, timedelta
from random import Random
from typing import Any

from touchline_demo.company.people import CRM, DESK, MAILER, SHOP, Event, Identifier, Person

NEWSLETTER_EVERY = timedelta(days=14)
_PAGES = ("/", "/beans", "/beans/sunday-blend", "/offices", "/brewing-guide", "/subscriptions", "/stories", "/grinders")
_ADS = ("spring", "search", "neighbourhood", "podcast")


class ReachedPresent(Exception):  # noqa: N818  (not a fault: the life has reached the present)
    """The person's clock has reached the present."""


class Life:
    """What one person does until now. Habits (see ``habits``) describe it step by step.

    Attributes:
        clock: where the life has got to; no step goes back.
        keenness: how likely a newsletter is read, 0–1.
    """

    def __init__(self, person: Person, rng: Random, start: datetime, now: datetime) -> None:
        self.person = person
        self.rng = rng
        self.clock = start
        self.now = now
        self.events: list[Event] = []
        self.known = False
        self.keenness = 0.3
        self.purchases = 0
        self._next_newsletter = start

    # Time passes

    def wait(self, least: float, most: float) -> None:
        """Let between ``least`` and ``most`` days pass; newsletters arrive in the meantime."""
        day = self.clock + timedelta(days=self.rng.uniform(least, most))
        at = datetime.combine(day.date(), time(int(self.rng.triangular(7, 22, 13)), self.rng.randrange(60)), day.tzinfo)
        self.until(max(at, self.clock + timedelta(minutes=5)))

    def until(self, moment: datetime) -> None:
        """Let time go by until exactly that moment."""
        while self.known and self._next_newsletter < min(moment, self.now):
            if self._next_newsletter > self.clock:
                self.clock = self._next_newsletter
                self._newsletter()
            self._next_newsletter += NEWSLETTER_EVERY
        self.clock = max(self.clock, moment)
        if self.clock >= self.now:
            raise ReachedPresent

    def _soon(self, least: int = 20, most: int = 240) -> None:
        self.clock += timedelta(seconds=self.rng.randrange(least, most))
        if self.clock >= self.now:
            raise ReachedPresent

    # Deeds

    def did(
        self,
        source: str,
        type_: str,
        names: tuple[Identifier, ...],
        *,
        machine: bool = False,
        **properties: Any,
    ) -> None:
        """Write one event down, at the clock."""
        identifier = f"{source}-{self.person.number:05d}-{len(self.events):04d}"
        self.events.append(
            Event(self.clock, self.clock, source, identifier, type_, self.person, names, properties, machine)
        )

    def on_the_web(self, type_: str, **properties: Any) -> None:
        """Something in the shop, whose cookie goes with it."""
        self.did(SHOP, type_, ("customer_id", "anonymous_id") if self.known else ("anonymous_id",), **properties)

    def visit(self, pages: int) -> None:
        """Look at some pages."""
        if self.rng.random() < 0.15:
            self.on_the_web("ad_clicked", campaign=self.rng.choice(_ADS))
        for _ in range(pages):
            self._soon()
            self.on_the_web("page_viewed", url=self.rng.choice(_PAGES))

    def sign_up(self) -> None:
        """Become known: the cookie, the address and the customer's number meet on one touchpoint."""
        self._soon()
        self.known = True
        self._next_newsletter = self.clock + timedelta(days=self.rng.uniform(0, 14))
        self.did(
            SHOP, "signed_up", ("customer_id", "anonymous_id", "email"),
            name=self.person.name, timezone=self.person.time_zone, locale=self.person.locale, consent={"email": True},
        )  # fmt: skip

    def buy(self) -> None:
        """Fill the basket and pay."""
        self._soon()
        self.on_the_web("checkout_started", items=self.rng.randrange(1, 5))
        self._soon(3, 9)
        self.purchases += 1
        value = round(self.rng.lognormvariate(3.2, 0.5), 2)
        self.on_the_web("purchased", value=value, currency="EUR", order=f"{self.person.number}-{self.purchases}")

    def leave_the_basket(self) -> None:
        """Fill the basket and walk away."""
        self._soon()
        self.on_the_web("checkout_started", items=self.rng.randrange(1, 5))

    def answer_survey(self, score: int) -> None:
        """Answer how likely they are to recommend the company, 0–10."""
        self.did(DESK, "survey_answered", ("customer_id",), score=score)

    def write_to_support(self, *, complaint: bool = False) -> None:
        """Ask for help, and get it."""
        self.did(DESK, "complaint_made" if complaint else "ticket_opened", ("customer_id",), topic="delivery")
        self.wait(0.2, 1.5)
        self.did(DESK, "ticket_resolved", ("customer_id",), minutes=self.rng.randrange(10, 300))

    def speak_well(self) -> None:
        """Review, refer or give a testimonial."""
        type_ = self.rng.choice(("review_posted", "referral_made", "testimonial_given"))
        if type_ == "review_posted":
            self.did(DESK, type_, ("customer_id",), rating=self.rng.choice((4, 5)))
        else:
            self.did(DESK, type_, ("customer_id",))

    def with_sales(self, type_: str, **properties: Any) -> None:
        """Something the sales team wrote down."""
        self.did(CRM, type_, ("customer_id",), **properties)

    def _newsletter(self) -> None:
        """Send a newsletter. A scanner or a privacy proxy opens some of them, which is not activity of the customer."""
        number = f"newsletter-{self.clock:%Y-%m-%d}"
        self.did(MAILER, "email_delivered", ("customer_id", "email"), campaign=number)
        if self.rng.random() < 0.12:
            self.clock += timedelta(seconds=2)
            self.did(MAILER, "email_opened", ("customer_id", "email"), machine=True, campaign=number)
        if self.rng.random() < self.keenness:
            self.clock += timedelta(minutes=self.rng.randrange(5, 600))
            if self.clock >= self.now:
                raise ReachedPresent
            self.did(MAILER, "email_opened", ("customer_id", "email"), campaign=number)
            if self.rng.random() < self.keenness:
                self._soon()
                self.did(MAILER, "email_clicked", ("customer_id", "email"), campaign=number)


Habit = Callable[[Life], None]
