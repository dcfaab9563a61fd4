"""The one place where the console is put together."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata

from fastapi import FastAPI
from touchline_runtime.http.auth import Access
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.run import Component

from touchline_console import metrics as declared
from touchline_console.adapters.http.service_client import ServiceClient
from touchline_console.application.ports import ENGINE, INGEST, NOTIFIER, Services
from touchline_console.application.sessions import Person, Sessions
from touchline_console.application.sign_in import Accepted
from touchline_console.entrypoints.http.app import console_app
from touchline_console.settings import ConsoleSettings


class Connections:
    """The clients of the three services, closed when the process stops."""

    name = "service clients"

    def __init__(self, settings: ConsoleSettings, metrics: Metrics) -> None:
        def client(name: str, url: str) -> ServiceClient:
            return ServiceClient(name, url, settings.service_timeout_seconds, metrics)

        self.ingest = client(INGEST, settings.ingest_url)
        self.engine = client(ENGINE, settings.engine_url)
        self.notifier = client(NOTIFIER, settings.notifier_url)

    def services(self, person: Person) -> Services:
        """The services as a person asks them."""
        token = person.token
        return Services(self.ingest.as_person(token), self.engine.as_person(token), self.notifier.as_person(token))

    async def run(self, stopping: asyncio.Event) -> None:
        """Close the clients at the end."""
        await stopping.wait()
        for client in (self.ingest, self.engine, self.notifier):
            await client.close()


class ConfiguredTokens:
    """The tokens of TOUCHLINE_API_TOKENS and TOUCHLINE_TOKENS_FILE."""

    def __init__(self, access: Access) -> None:
        self._access = access

    @property
    def configured(self) -> bool:
        """Whether there are any."""
        return bool(self._access.in_force)

    def find(self, token: str) -> Accepted | None:
        """Whose token it is; None for one that is not (or no longer) known."""
        found = self._access.in_force.find(token)
        return None if found is None else Accepted(found.name, found.role.label)


@dataclass(frozen=True)
class Console:
    """A console ready to run."""

    app: FastAPI
    components: list[Component]


def build(settings: ConsoleSettings) -> Console:
    """The console over the services that the settings name."""
    metrics = Metrics(declared.ALL)
    connections = Connections(settings, metrics)
    app = console_app(
        version=metadata.version("touchline-console"),
        currency=settings.currency,
        sessions=Sessions(timedelta(hours=settings.session_hours)),
        services_for=connections.services,
        tokens=ConfiguredTokens(settings.access()),
        metrics=metrics,
        settings=settings,
    )
    return Console(app, [connections])
