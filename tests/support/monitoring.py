"""A whole deployment to watch: four services with operations ports, one stage engine process each, and traffic."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from touchline_devstack.processes import Service, command
from touchline_devstack.receivers import WebhookReceiver

from tests.support.deployment import CALL, KEY, KIOSK, MOP, SECRET
from tests.support.ports import free_port
from tests.support.waiting import wait_for

PARTITIONS = 4
TOKEN = "a-token-of-the-operators"
COMMANDS = {
    "ingest": ("touchline-ingest", "serve"),
    "stage-engine": ("touchline-stage-engine", "run"),
    "notifier": ("touchline-notifier", "run"),
    "console": ("touchline-console", "serve"),
}
# Decided again after two seconds.
LATER = """
play: ask-how-it-was
when: {fact: stage-changed, lifecycle: kiosk, stage: [regular], move: [advance]}
delay: PT2S
action: {channel: webhook, endpoint: till, body: "How was it, {{ customer_id }}?"}
"""
# Its runs wait for longer than a test takes.
SEVERAL = """
play: bring-a-friend
when: {fact: stage-changed, lifecycle: kiosk, stage: [regular], move: [advance]}
steps:
  - wait: 1d
  - send: {channel: webhook, endpoint: till, body: "Bring a friend, {{ customer_id }}."}
"""


class Watched:
    """The services, their operations ports, and the company that posts and receives."""

    def __init__(
        self, folder: Path, receiver: WebhookReceiver, environment: dict[str, str], services: Collection[str]
    ) -> None:
        self.folder = folder
        self.receiver = receiver
        self.environment = environment
        self.names = tuple(services)
        self.prefix = environment["TOUCHLINE_TOPIC_PREFIX"]
        self.operations_ports = {name: free_port() for name in COMMANDS}
        self.services: dict[str, Service] = {}
        self._numbers = count()
        self.http = httpx.Client(timeout=60, trust_env=False, headers={"authorization": f"Bearer {TOKEN}"})

    @property
    def targets(self) -> dict[str, int]:
        """Job of Prometheus → port."""
        return {f"touchline-{name}": port for name, port in self.operations_ports.items()}

    @property
    def bootstrap(self) -> str:
        """Kafka's address."""
        return self.environment["TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS"]

    @property
    def sources_file(self) -> Path:
        """The sources that may post."""
        return self.folder / "sources.yaml"

    def start_all(self) -> None:
        """Start what does not run, and wait until it is ready."""
        for name in self.names:
            program, *arguments = COMMANDS[name]
            if name not in self.services:
                self.services[name] = Service(
                    name,
                    [command(program), *arguments],
                    environment=self.environment
                    | self._addresses()
                    | {"TOUCHLINE_METRICS_PORT": str(self.operations_ports[name])},
                    logs=self.folder / "logs",
                )
            if not self.services[name].is_running:
                self.services[name].start()
        for service in self.services.values():
            service.wait_ready()

    def another_engine(self) -> Service:
        """One more stage engine, ready; its /metrics are on its own port. The caller ends it."""
        engine = Service(
            "another-engine",
            [command("touchline-stage-engine"), "run"],
            environment=self.environment,
            logs=self.folder / "logs",
        )
        return engine.start().wait_ready()

    def stop_all(self) -> None:
        """Ask all to end, at the same time."""
        for service in self.services.values():
            service.kill()
        self.http.close()

    def _addresses(self) -> dict[str, str]:
        variables = {"ingest": "INGEST", "stage-engine": "ENGINE", "notifier": "NOTIFIER"}
        return {
            f"TOUCHLINE_{variable}_URL": self.services[name].url
            for name, variable in variables.items()
            if name in self.services
        }

    def sign_in(self) -> None:
        """Sign in to the console; the session's cookie stays in ``http``."""
        answer = self.http.post(f"{self.services['console'].url}/sign-in", data={"token": TOKEN})
        assert answer.status_code == 303, answer.text

    def save_audience(self, name: str, **conditions: Any) -> None:
        """Save an audience; its members enter within seconds."""
        asked = {"name": name, "title": name, "filter": conditions}
        answer = self.http.post(f"{self.services['stage-engine'].url}/v1/audiences", json=asked)
        assert answer.status_code == 201, answer.text

    def touchpoint(self, customer: str, kind: str, at: datetime | None = None, **properties: Any) -> dict[str, Any]:
        """A touchpoint with an id of its own."""
        return {
            "id": f"t-{next(self._numbers)}",
            "type": kind,
            "customer_id": customer,
            "occurred_at": (at or datetime.now(UTC)).isoformat(),
            "properties": properties,
        }

    def post(self, touchpoints: list[dict[str, Any]]) -> httpx.Response:
        """POST /v1/touchpoints."""
        return self.http.post(
            f"{self.services['ingest'].url}/v1/touchpoints",
            content=json.dumps(touchpoints),
            headers={"authorization": f"Bearer {KEY}", "content-type": "application/json"},
        )

    def accepted(self, touchpoints: list[dict[str, Any]]) -> None:
        """Post, and see all of them accepted."""
        answer = self.post(touchpoints)
        assert answer.status_code == 202, answer.text
        assert answer.json()["accepted"] == len(touchpoints)

    def get(self, service: str, path: str, **parameters: Any) -> Any:
        """The JSON of a service's API; what is being computed is waited for."""

        def computed() -> httpx.Response | None:
            found = self.http.get(self.services[service].url + path, params=parameters)
            return found if found.status_code != httpx.codes.ACCEPTED else None

        answer = wait_for(computed, f"{path} is computed")
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return answer.json()

    def customer(self, customer: str) -> dict[str, Any] | None:
        """GET /v1/customers/{id}; None while nobody knows them."""
        answer = self.http.get(f"{self.services['stage-engine'].url}/v1/customers/{customer}")
        return answer.json() if answer.status_code == 200 else None

    def posted_touchpoints(self, customer: str) -> int:
        """How many touchpoints of a customer are stored, without those that the notifier reports."""
        items = self.get("stage-engine", f"/v1/customers/{customer}/touchpoints", limit=200)["items"]
        return sum(one["source"] != "notifier" for one in items)

    def someone(self, name: str, spilt: bool = False) -> list[dict[str, Any]]:
        """A customer of the kiosk who comes in, buys for two a second later, and may spill."""
        now = datetime.now(UTC) - timedelta(seconds=2)
        done = [
            self.touchpoint(name, "door_opened", now),
            self.touchpoint(name, "coffee_bought", now + timedelta(seconds=1), cups=2),
        ]
        return [*done, self.touchpoint(name, "coffee_spilt", now + timedelta(seconds=2))] if spilt else done


@contextmanager
def watched(
    bootstrap: str,
    database_url: str,
    prefix: str,
    folder: Path,
    *,
    services: Collection[str] = tuple(COMMANDS),
    endpoints: str | None = None,
    more: Mapping[str, str] | None = None,
) -> Iterator[Watched]:
    """Start everything, and end it.

    Args:
        services: which of them.
        endpoints: the endpoints file. Default: ``till`` and ``crm``, both the system's ``receiver``.
        more: further variables.
    """
    files = {"lifecycles": {"kiosk": KIOSK}, "plays": {"call": CALL, "mop": MOP, "later": LATER, "several": SEVERAL}}
    for name, texts in files.items():
        (folder / name).mkdir(parents=True)
        for one, text in texts.items():
            (folder / name / f"{one}.yaml").write_text(text)
    write_sources(folder / "sources.yaml")
    with WebhookReceiver([SECRET]) as receiver:
        (folder / "endpoints.yaml").write_text(
            endpoints
            or "endpoints:\n"
            f'  - {{name: till, url: "{receiver.url}/till", secret: {{env: TILL_SECRET}}, subscribe: []}}\n'
            f'  - {{name: crm, url: "{receiver.url}/crm", secret: {{env: TILL_SECRET}}, subscribe: [stage-changed]}}\n'
        )
        system = Watched(
            folder,
            receiver,
            {
                "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
                "TOUCHLINE_DATABASE_URL": database_url,
                "TOUCHLINE_TOPIC_PREFIX": prefix,
                "TOUCHLINE_PARTITIONS": str(PARTITIONS),
                "TOUCHLINE_LIFECYCLES": "kiosk,service-cycle",
                "TOUCHLINE_LIFECYCLES_DIR": str(folder / "lifecycles"),
                "TOUCHLINE_PLAYS_DIR": str(folder / "plays"),
                "TOUCHLINE_SOURCES_FILE": str(folder / "sources.yaml"),
                "TOUCHLINE_ENDPOINTS_FILE": str(folder / "endpoints.yaml"),
                "TOUCHLINE_DELIVERY_ALLOWED_NETWORKS": "127.0.0.0/8",
                "TOUCHLINE_API_TOKENS": TOKEN,
                "TOUCHLINE_ACK_TIMEOUT_SECONDS": "1",
                "TILL_SECRET": SECRET,
                **(more or {}),
            },
            services,
        )
        try:
            system.start_all()
            yield system
        finally:
            system.stop_all()


def write_sources(path: Path) -> None:
    """A usable sources file."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    path.write_text(
        f"sources:\n  - {{name: till, kind: api, key_sha256: {digest}}}\n"
        f"  - {{name: desk, kind: standard-webhooks, secret: {{env: TILL_SECRET}}}}\n"
    )
