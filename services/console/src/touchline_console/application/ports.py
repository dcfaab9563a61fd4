"""What the use cases need from outside: the three services, each as something that answers paths with JSON.

Errors::

    ServiceFault
    ├── Unreachable    the service does not answer, or answers that it can't work now
    ├── Computing      the service is computing it; it is there in a moment
    ├── RequestRejected        the token is missing, wrong or has too few rights (401, 403)
    ├── NotFound       the service answers 404
    └── Rejected       the request is wrong or in conflict (4xx), with the service's own words
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

INGEST, ENGINE, NOTIFIER = "ingest", "engine", "notifier"
TITLES = {INGEST: "Ingest", ENGINE: "The stage engine", NOTIFIER: "The notifier"}


class ServiceFault(Exception):  # noqa: N818  (the root of the tree)
    """A service did not give what was asked for."""

    def __init__(self, service: str, detail: str) -> None:
        super().__init__(detail)
        self.service = service
        self.detail = detail


class Unreachable(ServiceFault):
    """No answer, or one that says that the service can't work now."""


class Computing(ServiceFault):
    """It is being computed; ask again in a moment."""


class RequestRejected(ServiceFault):
    """The token is missing, wrong, or has too few rights."""


class NotFound(ServiceFault):
    """There is no such thing."""


class Rejected(ServiceFault):
    """The request is wrong or in conflict."""

    def __init__(self, service: str, detail: str, status: int, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(service, detail)
        self.status = status
        self.body = body or {}


class Service(Protocol):
    """One service's API, asked with one person's token."""

    name: str

    async def get(self, path: str, **parameters: Any) -> Any:
        """The JSON of a GET. Parameters that are None or empty are left out."""

    async def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, seconds: float | None = None
    ) -> Any:
        """The JSON of a request that changes or computes something.

        Args:
            seconds: how long to wait for an answer that takes longer than usual.
        """

    def events(self, path: str, **parameters: Any) -> AsyncIterator[tuple[str, Any]]:
        """Server-sent events as (event, data)."""


@dataclass(frozen=True)
class Services:
    """The three services, as one signed-in person asks them."""

    ingest: Service
    engine: Service
    notifier: Service

    def __iter__(self) -> Any:
        return iter((self.ingest, self.engine, self.notifier))
