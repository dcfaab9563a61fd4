"""Sign-ins: kept in this process's memory by the hash of their id. They expire, can be ended, and end with it."""

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from touchline_console.core.roles import OPERATOR

_MOST = 10_000


@dataclass(frozen=True)
class Person:
    """Who looks.

    Attributes:
        token: what the services are asked with; None on a machine where they ask for none, and for people who signed in
            by OpenID Connect: for them the console signs a token for each request.
        subject: the provider's id of such a person.
        id_token: what the provider is shown when such a person signs out.
    """

    name: str
    role: str
    token: str | None
    session: str | None = None
    subject: str | None = None
    id_token: str | None = None

    @property
    def by_provider(self) -> bool:
        """Whether an identity provider says who it is."""
        return self.subject is not None


ANYONE = Person("this machine", OPERATOR, None)
"""The user of a console without tokens, which listens on loopback alone."""


class Sessions:
    """Session id → person, until it expires."""

    def __init__(self, lasting: timedelta) -> None:
        self.lasting = lasting
        self._open: dict[str, tuple[datetime, Person]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, person: Person, now: datetime) -> str:
        """A new session; its id goes into the cookie and is kept nowhere."""
        self._drop_expired(now)
        while len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
        session = secrets.token_urlsafe(32)
        self._open[_hash(session)] = (now + self.lasting, replace(person, session=session))
        return session

    def find(self, session: str, now: datetime) -> Person | None:
        """Whose session it is; None when it expired or was ended."""
        expires, person = self._open.get(_hash(session), (now, None))
        return person if expires > now else None

    def end(self, session: str) -> None:
        """End a session."""
        self._open.pop(_hash(session), None)

    def _drop_expired(self, now: datetime) -> None:
        self._open = {key: value for key, value in self._open.items() if value[0] > now}


def _hash(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()
