"""What the tests of sign-in look at: an identity provider behind a proxy, a notifier, and a console."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from touchline_devstack.embedded.ports import free_port
from touchline_devstack.processes import Service, command
from touchline_devstack.stack import Stack
from touchline_runtime.console_tokens.keys import new_key, private_text, public_text
from touchline_runtime.console_tokens.tokens import NOTIFIER, ConsoleSigner

from tests.support.console.identity_provider import IdentityProvider
from tests.support.console.provider_proxy import ProviderProxy

PEOPLE = {
    "vera": ["readers"],
    "edith": ["readers", "marketing"],
    "olga": ["cn=ops,dc=example", "readers"],
    "nobody": ["accounting"],
}
"""User name → groups."""
TOKEN = "a-token-beside-the-provider"


class OidcWorld:
    """Everything, running."""

    def __init__(self, provider: IdentityProvider, proxy: ProviderProxy, folder: Path, port: int) -> None:
        self.provider = provider
        self.proxy = proxy
        self.folder = folder
        self.key = new_key()
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.notifier: Service

    def console(self, name: str, *, port: int | None = None, **more: str) -> Service:
        """One more console process, started."""
        environment = self.provider.environment(
            TOUCHLINE_CONSOLE_KEY=private_text(self.key),
            TOUCHLINE_CONSOLE_URL=self.url,
            TOUCHLINE_NOTIFIER_URL=self.notifier.url,
            TOUCHLINE_ENGINE_URL="http://127.0.0.1:9",
            TOUCHLINE_INGEST_URL="http://127.0.0.1:9",
            TOUCHLINE_API_TOKENS=TOKEN,
            TOUCHLINE_SERVICE_TIMEOUT_SECONDS="60",
        )
        arguments = [command("touchline-console"), "serve"]
        return Service(name, arguments, environment=environment | more, logs=self.folder, port=port).start()

    @contextmanager
    def browser(self, **options: Any) -> Iterator[httpx.Client]:
        """A browser without a screen: it has cookies, and follows nothing by itself."""
        with httpx.Client(timeout=60, trust_env=False, follow_redirects=False, **options) as client:
            yield client

    def audit(self) -> list[dict[str, Any]]:
        """The notifier's audit log, newest first."""
        token = ConsoleSigner(self.key).token("auditor", "viewer", NOTIFIER)
        answer = httpx.get(
            self.notifier.url + "/v1/audit", headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False
        )
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    @classmethod
    @contextmanager
    def open(cls, stack: Stack, database_url: str, prefix: str, folder: Path) -> Iterator["OidcWorld"]:
        """Start everything."""
        port = free_port()
        proxy = ProviderProxy()
        provider = IdentityProvider(folder, PEOPLE, f"http://127.0.0.1:{port}", public=proxy.netloc)
        proxy.to = provider.port
        world = cls(provider, proxy, folder, port)
        world.notifier = Service(
            "notifier",
            [command("touchline-notifier"), "run"],
            environment={
                "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap,
                "TOUCHLINE_DATABASE_URL": database_url,
                "TOUCHLINE_TOPIC_PREFIX": prefix,
                "TOUCHLINE_PARTITIONS": "2",
                "TOUCHLINE_API_TOKENS": TOKEN,
                "TOUCHLINE_CONSOLE_PUBLIC_KEYS": f"{public_text(new_key())},{public_text(world.key)}",
            },
            logs=folder,
        ).start()
        console = None
        try:
            with proxy.running():
                provider.start()
                console = world.console("console", port=port).wait_ready()
                world.notifier.wait_ready()
                yield world
        finally:
            provider.stop()
            for service in (console, world.notifier):
                if service is not None and service.is_running:
                    service.terminate()
