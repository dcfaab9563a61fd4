"""What the console's tests look at: the three services on the real stack, a console, and customers worth looking at."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from touchline_devstack.processes import Service, command

from tests.support.waiting import wait_for

KEY = "a-write-key-of-the-tests"
HOSTILE = {
    "markup": "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
    "right-to-left": "\u202eenoyreve \u05e9\u05dc\u05d5\u05dd",
    "emoji": "🦄👩‍👩‍👧‍👦 Zoë",
    "template": "{{ 7 * 7 }} ${alert(1)} $accent @percent",
    "long": "L" * 280,
}
IDS = {
    "markup": "id-<b>&\"'",
    "right-to-left": "id-\u05e9\u05dc\u05d5\u05dd",
    "emoji": "id-🦄",
    "template": "id/../{{x}}?q=1#%41",
    "long": "i" * 200,
}
MANY_STAGES = 40
CUSTOMERS = 30

MANY = (
    "lifecycle: many\nversion: 1\ntitle: Forty <b>stages</b>\nstages:\n"
    + "".join(
        f"  - name: s{number:02d}\n    title: Stage {number} of the very long journey\n"
        f"    stall: {{after: 5d}}\n    rules: [{{when: [page_viewed], to: next}}]\n"
        for number in range(MANY_STAGES - 1)
    )
    + f"  - name: s{MANY_STAGES - 1:02d}\n    title: The end\n"
)
PLAY = """
play: win-back
title: Win back <i>inactive</i> customers
when: {fact: customer-stalled, lifecycle: service-cycle, stage: [nurture, acquisition, reach], level: 1}
action: {channel: webhook, endpoint: crm, subject: "Call {{ customer_id }}", body: "Call them"}
hold_out: 20%
"""
WELCOME = """
play: welcome
title: Welcome <i>new</i> customers
when: {fact: stage-changed, lifecycle: service-cycle, move: enter}
exit: false
steps:
  - title: The <b>first</b> order, averylongwordthatdoesnotendforaverylongtimeindeedandthengoeson
    wait_until: {touchpoint: purchased, within: 1d}
  - wait_until: {touchpoint: purchased, within: 60d}
  - branch:
      on: happened
      then:
        - wait: 300d
        - branch:
            on: {profile: {traits.plan: pro}}
            then: [{send: {channel: webhook, endpoint: crm, subject: "Thank {{ customer_id }}"}}]
      else:
        - wait: 300d
        - send: {channel: webhook, endpoint: crm, subject: "Call <b>{{ customer_id }}</b>"}
limits: {max_age: 365d}
"""


class ConsoleWorld:
    """Three services, a console, and what was posted."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self.folder = folder
        self.services: dict[str, Service] = {}

    @property
    def console(self) -> str:
        """Where the console is."""
        return self.services["console"].url

    @classmethod
    @contextmanager
    def open(cls, bootstrap: str, database_url: str, prefix: str, folder: Path) -> Iterator["ConsoleWorld"]:
        """Start everything. Nothing is posted yet."""
        (folder / "lifecycles").mkdir()
        (folder / "lifecycles/many.yaml").write_text(MANY)
        (folder / "plays").mkdir()
        (folder / "plays/win-back.yaml").write_text(PLAY)
        (folder / "plays/welcome.yaml").write_text(WELCOME)
        (folder / "endpoints.yaml").write_text(
            'endpoints: [{name: crm, url: "http://127.0.0.1:9/hook", secret: {env: TEST_CRM_SECRET}}]'
        )
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        (folder / "sources.yaml").write_text(f"sources: [{{name: shop, kind: api, key_sha256: {digest}}}]")
        environment = {
            "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "TOUCHLINE_DATABASE_URL": database_url,
            "TOUCHLINE_TOPIC_PREFIX": prefix,
            "TOUCHLINE_PARTITIONS": "4",
            "TOUCHLINE_LIFECYCLES": "service-cycle,many",
            "TOUCHLINE_LIFECYCLES_DIR": str(folder / "lifecycles"),
            "TOUCHLINE_PLAYS_DIR": str(folder / "plays"),
            "TOUCHLINE_ENDPOINTS_FILE": str(folder / "endpoints.yaml"),
            "TOUCHLINE_SOURCES_FILE": str(folder / "sources.yaml"),
            "TOUCHLINE_DELIVERY_ALLOWED_NETWORKS": "127.0.0.0/8",
            "TEST_CRM_SECRET": "whsec_" + "A" * 32,
        }
        world = cls(environment, folder)
        try:
            for name, arguments in (
                ("ingest", ("touchline-ingest", "serve")),
                ("engine", ("touchline-stage-engine", "run")),
                ("notifier", ("touchline-notifier", "run")),
            ):
                world.services[name] = world.start(name, *arguments)
            for service in world.services.values():
                service.wait_ready()
            world.services["console"] = world.another_console("console").wait_ready()
            yield world
        finally:
            for service in reversed(world.services.values()):
                if service.is_running:
                    service.terminate()

    def start(self, name: str, program: str, *arguments: str, **more: str) -> Service:
        """One more process."""
        service = Service(name, [command(program), *arguments], environment=self.environment | more, logs=self.folder)
        return service.start()

    def another_console(self, name: str, **more: str) -> Service:
        """A console over the same services, or over others."""
        urls = {
            f"TOUCHLINE_{variable}_URL": self.services[service].url
            for variable, service in (("INGEST", "ingest"), ("ENGINE", "engine"), ("NOTIFIER", "notifier"))
        }
        return self.start(name, "touchline-console", "serve", **(urls | more))

    @contextmanager
    def viewer(self, name: str, folder: Path) -> Iterator[httpx.Client]:
        """A client of a console of its own, signed in as somebody who may only read."""
        file = folder / "tokens.yaml"
        digest = hashlib.sha256(b"ada-token-123456").hexdigest()
        file.write_text(f"tokens: [{{name: ada, role: viewer, token_sha256: {digest}}}]")
        service = self.another_console(name, TOUCHLINE_TOKENS_FILE=str(file))
        try:
            service.wait_ready()
            with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as http:
                http.post("/sign-in", data={"token": "ada-token-123456", "next": "/"})
                yield http
        finally:
            service.terminate()

    def post(self, touchpoints: list[dict[str, Any]]) -> httpx.Response:
        """Post to ingest."""
        return httpx.post(
            self.services["ingest"].url + "/v1/touchpoints",
            json=touchpoints,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
            trust_env=False,
        )

    def ask(self, service: str, path: str, **parameters: Any) -> Any:
        """The JSON of a service's API; None while it is computing or unknown."""
        answer = httpx.get(self.services[service].url + path, params=parameters, timeout=60, trust_env=False)
        return answer.json() if answer.status_code == 200 else None

    def wait(self, what: str, condition: Callable[[], Any], seconds: float = 120) -> Any:
        """Wait until a condition gives something true; what it gave."""
        return wait_for(condition, what, seconds, interval=0.2)

    def fill(self) -> None:
        """Post everybody's touchpoints, and wait until the list of customers has them."""
        posted = list(lives(datetime.now(UTC)))
        for start in range(0, len(posted), 200):
            answer = self.post(posted[start : start + 200])
            assert answer.status_code == 202, answer.text
        assert self.post([{"type": "page_viewed", "customer_id": "c-1", "occurred_at": "yesterday"}]).status_code == 422
        people = {one["customer_id"] for one in posted}

        def listed() -> bool:
            found = self.ask("engine", "/v1/customers", limit=500, sort="id")
            return found is not None and {one["customer_id"] for one in found["items"]} >= people

        self.wait("everybody is listed", listed)


def lives(now: datetime) -> Iterator[dict[str, Any]]:
    """Touchpoints of ordinary customers, and of those whose names and ids are meant to break a page."""

    def one(customer: str, kind: str, days: float, number: int, **properties: Any) -> dict[str, Any]:
        return {
            "id": f"{hashlib.sha256(customer.encode()).hexdigest()[:12]}-{number}",
            "type": kind,
            "customer_id": customer,
            "occurred_at": (now - timedelta(days=days)).isoformat(),
            "properties": properties,
        }

    for index in range(CUSTOMERS):
        customer, since = f"c-{index}", 100 - index * 2
        yield one(customer, "signed_up", since, 0, name=f"Ada {index}") | {"email": f"ada.{index}@example.org"}
        for number in range(1, 4):
            yield one(customer, "page_viewed", since - number, number, url="/")
        if index % 2:
            yield one(customer, "purchased", since - 5, 4, value=10.5 * index, currency="EUR")
            yield one(customer, "survey_answered", since - 6, 5, score=9 if index % 3 else 2)
        if index % 5 == 0:
            yield one(customer, "contacted", since - 7, 6, minutes=12)
    for kind, customer in IDS.items():
        name = HOSTILE[kind]
        yield one(customer, "signed_up", 30, 0, name=name, traits={"note": name})
        yield one(customer, "page_viewed", 29, 1, url=f"javascript:alert('{kind}')", subject=name)
        yield one(customer, "purchased", 28, 2, value=1e11, reason=name)
    for number in range(MANY_STAGES):
        yield one("traveller", "page_viewed", 90 - number, number)
