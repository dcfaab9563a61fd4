"""Sign-in by token: one of the console's own settings, or one that the services accept."""

from dataclasses import dataclass
from typing import Protocol

from touchline_console.application.ports import RequestRejected, ServiceFault, Services
from touchline_console.core.roles import OPERATOR


@dataclass(frozen=True)
class Accepted:
    """A token that opens the console."""

    name: str
    role: str


@dataclass(frozen=True)
class NotAccepted:
    """Why a token does not open it."""

    reason: str


class TokenCheck(Protocol):
    """The tokens of the console's own settings."""

    @property
    def configured(self) -> bool:
        """Whether there are any. Without them the services decide, and on loopback no sign-in is needed."""

    def find(self, token: str) -> Accepted | None:
        """Whose token it is."""


async def check(token: str, own: TokenCheck, services: Services) -> Accepted | NotAccepted:
    """Whether a token opens the console: one of its settings, else one that the services accept."""
    if own.configured:
        return own.find(token) or NotAccepted("This token is not known here.")
    try:
        await services.engine.get("/v1/lifecycles")
    except RequestRejected:
        return NotAccepted("The stage engine rejects this token.")
    except ServiceFault as fault:
        return NotAccepted(f"The stage engine does not answer, so the token could not be checked. ({fault.detail})")
    return Accepted("operator", OPERATOR)
