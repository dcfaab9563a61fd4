"""The one place where the console is put together."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import metadata

from fastapi import FastAPI
from touchline_runtime.console_tokens.tokens import ConsoleSigner
from touchline_runtime.http.auth import Access
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.run import Component

from touchline_console import metrics as declared
from touchline_console.adapters.http.service_client import ServiceClient
from touchline_console.adapters.oidc.provider import OpenIdProvider
from touchline_console.application.access.by_provider import ProviderSignIn
from touchline_console.application.access.by_token import Accepted
from touchline_console.application.access.sessions import Person, Sessions
from touchline_console.application.ports import ENGINE, INGEST, NOTIFIER, Services
from touchline_console.entrypoints.http.app import console_app
from touchline_console.entrypoints.http.pages.sign_in import SignIn
from touchline_console.settings import ConsoleSettings


class Connections:
    """The clients of the three services, closed when the process stops."""

    name = "service clients"

    def __init__(self, settings: ConsoleSettings, metrics: Metrics, provider: OpenIdProvider | None) -> None:
        def client(name: str, url: str) -> ServiceClient:
            return ServiceClient(name, url, settings.service_timeout_seconds, metrics)

        self.ingest = client(INGEST, settings.ingest_url)
        self.engine = client(ENGINE, settings.engine_url)
        self.notifier = client(NOTIFIER, settings.notifier_url)
        self._provider = provider
        key = settings.signing_key()
        self._signer = None if key is None else ConsoleSigner(key)

    def services(self, person: Person) -> Services:
        """The services as a person asks them."""
        ingest, engine, notifier = (
            client.as_person(partial(self._token, person, client.name))
            for client in (self.ingest, self.engine, self.notifier)
        )
        return Services(ingest, engine, notifier)

    def _token(self, person: Person, service: str) -> str | None:
        if person.by_provider and self._signer is not None:
            return self._signer.token(person.name, person.role, service)
        return person.token

    async def run(self, stopping: asyncio.Event) -> None:
        """Close the clients at the end."""
        await stopping.wait()
        for client in (self.ingest, self.engine, self.notifier):
            await client.close()
        if self._provider is not None:
            await self._provider.close()


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
    provider = _provider(settings)
    connections = Connections(settings, metrics, provider)
    sign_in = SignIn(
        sessions=Sessions(timedelta(hours=settings.session_hours)),
        tokens=ConfiguredTokens(settings.access()),
        provider=None if provider is None else ProviderSignIn(provider, settings.claim_rules(), settings.oidc_title),
        services_for=connections.services,
        console_url=settings.console_url,
    )
    app = console_app(
        version=metadata.version("touchline-console"),
        currency=settings.currency,
        sign_in=sign_in,
        metrics=metrics,
        settings=settings,
    )
    return Console(app, [connections])


def _provider(settings: ConsoleSettings) -> OpenIdProvider | None:
    if not settings.oidc_issuer:
        return None
    return OpenIdProvider(
        settings.oidc_issuer,
        settings.oidc_client_id,
        settings.client_secret(),
        settings.oidc_scopes,
        settings.console_url,
        seconds=settings.service_timeout_seconds,
    )
