"""The people of the simulated company and what they do, as values."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Identifier = Literal["customer_id", "anonymous_id", "email", "external_id"]

SHOP, MAILER, CRM, DESK = "shop", "mailer", "crm", "desk"
"""The company's systems: web shop, newsletters, sales, and the service desk with its surveys."""

SOURCES = (SHOP, MAILER, CRM, DESK)

_LOCALES = {"Europe/Vienna": "de-AT"}


@dataclass(frozen=True, slots=True)
class Person:
    """A visitor who may become a customer.

    Attributes:
        number: 0, 1, 2… within the company; everything else about the person follows from it and the seed.
        habit: which life they lead (a name of ``habits.HABITS``).
    """

    number: int
    name: str
    habit: str
    time_zone: str

    @property
    def customer_id(self) -> str:
        """The customer id after sign-up."""
        return f"c-{self.number:05d}"

    @property
    def anonymous_id(self) -> str:
        """What the shop's cookie calls them."""
        return f"visitor-{self.number:05d}"

    @property
    def locale(self) -> str:
        """The language they read mails in."""
        return _LOCALES.get(self.time_zone, "en")

    @property
    def email(self) -> str:
        """Their address, of a domain that exists only on this machine."""
        return f"{self.name.split()[0].lower()}.{self.number:05d}@example.org"

    @property
    def deal(self) -> str:
        """The sales team's deal with them."""
        return f"deal-{self.number:05d}"

    @property
    def keys(self) -> list[str]:
        """What their touchpoints may be filed under."""
        return [self.customer_id, f"anon:{self.anonymous_id}", f"email:{self.email}"]

    def identifier(self, kind: Identifier) -> str:
        """One of their identifiers."""
        return {
            "customer_id": self.customer_id,
            "anonymous_id": self.anonymous_id,
            "email": self.email,
            "external_id": self.deal,
        }[kind]


@dataclass(frozen=True, slots=True)
class Event:
    """One touchpoint as a system of the company is about to post it.

    Attributes:
        source: which of the company's systems posts it.
        names: the identifiers by which that system knows the person at that time.
        arrives: when it is posted: ``at``, or later when the system is slow.
    """

    at: datetime
    arrives: datetime
    source: str
    id: str
    type: str
    person: Person
    names: tuple[Identifier, ...]
    properties: dict[str, Any] = field(default_factory=dict)
    machine: bool = False
    repeated: bool = False

    def as_posted(self) -> dict[str, Any]:
        """The body for ``POST /v1/touchpoints``."""
        body: dict[str, Any] = {
            "id": self.id,
            "type": self.type,
            "occurred_at": self.at.isoformat(),
            "properties": self.properties,
        }
        body |= {name: self.person.identifier(name) for name in self.names}
        if self.machine:
            body["machine"] = True
        return body


@dataclass(frozen=True, slots=True)
class InvalidEvent:
    """What a faulty program posts. It must be rejected and counted nowhere."""

    arrives: datetime
    source: str
    body: dict[str, Any]
    why: str
