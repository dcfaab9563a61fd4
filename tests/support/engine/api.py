"""What the API's tests ask: an engine process, the touchpoints it was given, and a client."""

import asyncio
import json
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer
from touchline_devstack.processes import Service, command
from touchline_schemas.identity import keys_of
from touchline_schemas.times import to_wire
from touchline_schemas.touchpoint_types import meaning_of

from tests.support.waiting import wait_for

LIFECYCLES = ("reach-to-loyalty", "service-cycle")
CUSTOMERS = 150
TYPES = (
    "page_viewed", "page_viewed", "page_viewed", "page_viewed", "email_clicked", "email_clicked", "content_downloaded",
    "demo_booked", "purchased", "purchased", "survey_answered", "ticket_opened", "ticket_resolved", "meeting_held",
    "contacted", "email_delivered", "referral_made", "feature_used", "refunded", "complaint_made",
)  # fmt: skip
TRAITS: tuple[dict[str, Any], ...] = (
    {"plan": "b", "seats": 5}, {"plan": "5", "seats": 5.0}, {"plan": "true", "seats": 50}, {"plan": True}, {"plan": 5},
    {"plan": "b'\" ü", "seats": -1.25},
)  # fmt: skip
ODD_ID = "odd\u00a0id / with 100% ünïcode?#"


def touchpoint(touchpoint_id: str, at: datetime, kind: str = "page_viewed", **more: Any) -> dict[str, Any]:
    """A touchpoint as ingest writes it."""
    meaning = meaning_of(kind)
    return {
        "id": touchpoint_id,
        "type": kind,
        "channel": meaning.channel,
        "direction": meaning.direction,
        "occurred_at": to_wire(at),
        "received_at": to_wire(at + timedelta(seconds=1)),
        "source": "shop",
        "properties": {},
    } | more


def lives(seed: random.Random, now: datetime) -> Iterator[dict[str, Any]]:
    """The touchpoints of some customers: browsing, buying, going silent; two of them share a device."""
    for number in range(CUSTOMERS):
        at = now - timedelta(days=seed.uniform(5, 300))
        for index in range(seed.randint(1, 30)):
            at += timedelta(days=seed.expovariate(1 / 4))
            if at >= now:
                break
            kind = seed.choice(TYPES)
            more: dict[str, Any] = {"customer_id": f"c-{number}"}
            if kind == "survey_answered":
                more["properties"] = {"score": seed.choice((2, 6, 7, 9, 10))}
            elif kind in ("purchased", "refunded"):
                # Some senders write what was given back as a negative amount.
                sign = -1 if kind == "refunded" and index % 2 else 1
                more["properties"] = {seed.choice(("value", "amount", "total")): sign * seed.randint(10, 500)}
            elif kind == "page_viewed":
                more["properties"] = {"traits": TRAITS[number % len(TRAITS)]}
            elif kind == "contacted":
                more["properties"] = {"minutes": seed.choice((20, 1e308))}
            if seed.random() < 0.2:
                more["anonymous_id"] = f"device-{number}"
            yield touchpoint(f"e-{number}-{index}", at, kind, **more)
    for number in range(4):
        for customer in ("left", "right"):
            yield touchpoint(
                f"{customer}-{number}", now - timedelta(days=9 - number), customer_id=f"{customer}-{number}",
                anonymous_id=f"shared-{number}",
            )  # fmt: skip
    yield touchpoint("odd", now - timedelta(days=1), customer_id=ODD_ID)
    yield touchpoint("huge-1", now - timedelta(days=2), "purchased", customer_id="huge", properties={"value": 1e308})
    yield touchpoint("huge-2", now - timedelta(days=1), "purchased", customer_id="huge", properties={"value": 1e308})


class ApiWorld:
    """An engine, what it was given, and how to ask it."""

    def __init__(self, environment: dict[str, str], folder: Path, engine: Service) -> None:
        self.environment = environment
        self.folder = folder
        self.engine = engine
        self.posted: list[dict[str, Any]] = []

    def __repr__(self) -> str:
        return f"ApiWorld({self.engine.url})"

    @classmethod
    @contextmanager
    def open(cls, bootstrap: str, database_url: str, prefix: str, folder: Path) -> Iterator["ApiWorld"]:
        """Start an engine, post everybody's touchpoints, and wait until they are folded."""
        environment = {
            "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "TOUCHLINE_DATABASE_URL": database_url,
            "TOUCHLINE_TOPIC_PREFIX": prefix,
            "TOUCHLINE_PARTITIONS": "4",
            "TOUCHLINE_LIFECYCLES": ",".join(LIFECYCLES),
        }
        arguments = [command("touchline-stage-engine"), "run"]
        with Service("engine", arguments, environment=environment, logs=folder) as engine:
            engine.wait_ready()
            world = cls(environment, folder, engine)
            world.post(lives(random.Random(7), datetime.now(UTC)))
            world.wait(
                "everything is folded", lambda: world.metric("touchline_touchpoints_folded_total") >= len(world.posted)
            )
            world.wait("links are settled", world.linked)
            world.wait("timers have fired", world.no_timer_is_due)
            yield world

    def linked(self) -> bool:
        """Whether every device leads to its customer, and every refused link is listed."""
        devices = {
            one["anonymous_id"]: one["customer_id"]
            for one in self.posted
            if one["customer_id"].startswith("c-") and "anonymous_id" in one
        }
        return len(self.get("/v1/identity-conflicts")["items"]) == 4 and all(
            self.ask(f"/v1/customers/anon:{device}").json().get("customer_id") == customer
            for device, customer in devices.items()
        )

    def no_timer_is_due(self) -> bool:
        """Whether every timer that was due has fired; those of customers with links wait some seconds."""
        if not self.get("/v1/lifecycles/service-cycle/stalled")["items"]:
            return False
        state = self.ask("/v1/operations")
        return state.status_code == 200 and not any(state.json()[k] for k in ("lag", "timers_due", "outbox_waiting"))

    def serve(self, name: str, **more: str) -> Service:
        """Another process that serves the API alone, to be started."""
        arguments = [command("touchline-stage-engine"), "serve"]
        return Service(name, arguments, environment=self.environment | more, logs=self.folder)

    def post(self, touchpoints: Iterable[dict[str, Any]]) -> None:
        """Write touchpoints to their topic, as ingest does."""
        posted = list(touchpoints)
        with ThreadPoolExecutor(1) as elsewhere:  # the caller's thread may have a loop of its own
            elsewhere.submit(asyncio.run, self._post(posted)).result()
        self.posted += posted

    async def _post(self, posted: list[dict[str, Any]]) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.environment["TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS"], acks="all", linger_ms=2
        )
        await producer.start()
        try:
            topic = f"{self.environment['TOUCHLINE_TOPIC_PREFIX']}.touchpoints.v1"
            sent = [await producer.send(topic, json.dumps(one).encode(), key=key_of(one).encode()) for one in posted]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    def ask(self, path: str, **parameters: Any) -> httpx.Response:
        """GET, whatever the answer."""
        return httpx.get(self.engine.url + path, params=parameters or None, timeout=60, trust_env=False)

    def get(self, path: str, **parameters: Any) -> Any:
        """GET of something that is there, or is being computed."""
        answer = self.wait(
            f"{path} is computed",
            lambda: found if (found := self.ask(path, **parameters)).status_code != 202 else None,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        lines = self.ask("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def wait(self, what: str, condition: Callable[[], Any], timeout: float = 60) -> Any:
        """Wait until a condition gives something true; what it gave."""
        return wait_for(condition, what, timeout, seen=lambda: self.engine.log_text()[-3000:])


def key_of(data: dict[str, Any]) -> str:
    """The key a touchpoint is filed under."""
    return keys_of(
        customer_id=data.get("customer_id"), anonymous_id=data.get("anonymous_id"), email=None, external_id=None,
        source=data["source"],
    )[0]  # fmt: skip
