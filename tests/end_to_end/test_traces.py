"""With TOUCHLINE_TRACES_ENDPOINT, a post and all that follows from it is one trace, up to the webhook."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from touchline_devstack.stack import Stack
from touchline_ingest.settings import IngestSettings
from touchline_runtime.tracing import tracing_of

from tests.support.deployment import KEY
from tests.support.monitoring import Watched, watched
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack]

SERVICES = ("ingest", "stage-engine", "notifier")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
LATER_TRACE = "a3ce929d0e0e47364bf92f3577b34da6"
PARENT = "00f067aa0ba902b7"


@dataclass(frozen=True)
class Exported:
    """A span as the collector got it."""

    service: str
    name: str
    trace: str
    span: str
    parent: str


class Collector(ThreadingHTTPServer):
    """Receives OTLP over HTTP, as an OpenTelemetry collector does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans: list[Exported] = []

    @property
    def url(self) -> str:
        """Where spans are sent to."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1/traces"

    @contextmanager
    def serve(self) -> Iterator["Collector"]:
        """Receive until the end of the block."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()

    def of_trace(self, trace: str) -> list[Exported]:
        """The spans of one trace."""
        return [span for span in list(self.spans) if span.trace == trace]


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        for resource in request.resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.server.spans += [
                    Exported(
                        names["service.name"],
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                    )
                    for span in scope.spans
                ]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector().serve() as collector:
        yield collector


def post(system: Watched, customer: str, *, spilt: bool = True, **headers: str) -> None:
    """A customer comes in, buys and spills: one request, which moves them back and sends an action.

    One who spills nothing is asked some seconds later how it was.
    """
    answer = system.http.post(
        f"{system.services['ingest'].url}/v1/touchpoints",
        json=system.someone(customer, spilt=spilt),
        headers={"authorization": f"Bearer {KEY}", **headers},
    )
    assert answer.status_code == 202, answer.text


async def headers_of(system: Watched, topic: str, customer: str) -> list[dict[str, str]]:
    """The headers of a customer's records on a topic."""
    consumer = AIOKafkaConsumer(
        f"{system.prefix}.{topic}.v1",
        bootstrap_servers=system.bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    found = []
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while not all([await consumer.position(at) >= end for at, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [
                    {name: value.decode() for name, value in record.headers}
                    for record in records
                    if record.key == customer.encode()
                ]
    finally:
        await consumer.stop()
    return found


async def test_one_trace_leads_from_the_post_to_the_webhook(
    stack: Stack, database_url: str, topic_prefix: str, tmp_path: Path, collector: Collector
) -> None:
    on = {"TOUCHLINE_TRACES_ENDPOINT": collector.url}
    with watched(stack.kafka_bootstrap, database_url, topic_prefix, tmp_path, services=SERVICES, more=on) as system:
        post(system, "traced", traceparent=f"00-{TRACE}-{PARENT}-01")

        def mopped_by() -> set[str]:
            mops = [one for one in system.receiver.arrived if "Mop" in one.json["data"].get("body", "")]
            return {one.headers["traceparent"].split("-")[2] for one in mops}

        def complete() -> bool:
            """Each service exports by itself, some seconds later: a span may arrive before those that led to it."""
            arrived = collector.of_trace(TRACE)
            known = {span.span for span in arrived}
            led_to = {span.parent for span in arrived} - {PARENT}
            names = {"fold", "decide", "deliver webhook"}
            return {span.name for span in arrived} >= names and led_to | mopped_by() <= known and bool(mopped_by())

        await wait_until(complete, "the spans arrive", seen=lambda: collector.of_trace(TRACE))
        spans = {span.span: span for span in collector.of_trace(TRACE)}

        def path(span: Exported) -> list[str]:
            """From a span to what began the trace."""
            names = [f"{span.service.removeprefix('touchline-')}: {span.name}"]
            while span.parent != PARENT:
                span = spans[span.parent]
                names.append(f"{span.service.removeprefix('touchline-')}: {span.name}")
            return names

        delivered = [path(span) for span in spans.values() if span.name == "deliver webhook"]
        assert delivered
        assert all(
            one
            == [
                "notifier: deliver webhook",
                "notifier: decide",
                "stage-engine: fold",
                "ingest: publish touchpoints",
                "ingest: POST /v1/touchpoints",
            ]
            for one in delivered
        ), delivered
        (mopped,) = [one for one in system.receiver.arrived if "Mop" in one.json["data"].get("body", "")]
        version, trace, span, _ = mopped.headers["traceparent"].split("-")
        assert (version, trace, spans[span].name) == ("00", TRACE, "deliver webhook")

        # An action that waits is decided again and delivered within the trace that it was caused by.
        post(system, "waiting", spilt=False, traceparent=f"00-{LATER_TRACE}-{PARENT}-01")

        def asked() -> list[Exported]:
            said = [one for one in system.receiver.arrived if "How was it, waiting" in one.json["data"].get("body", "")]
            contexts = {tuple(one.headers["traceparent"].split("-")[1:3]) for one in said}
            arrived = collector.of_trace(LATER_TRACE)
            complete = {span.parent for span in arrived} <= {PARENT} | {span.span for span in arrived}
            return [span for span in arrived if complete and (span.trace, span.span) in contexts]

        await wait_until(asked, "the delayed action is delivered", seen=lambda: collector.of_trace(LATER_TRACE))
        spans = {span.span: span for span in collector.of_trace(LATER_TRACE)}
        assert [path(span)[:3] for span in asked()] == [
            ["notifier: deliver webhook", "notifier: decide again", "notifier: decide"]
        ]

        # Without a context from the sender, ingest begins a trace.
        post(system, "begun")

        def begun() -> bool:
            return any(span.trace != TRACE and span.name == "deliver webhook" for span in list(collector.spans))

        await wait_until(begun, "another trace is complete")
        # A stall comes of the clock: it belongs to no trace.
        facts = await headers_of(system, "stage-changes", "traced")
        assert {one["ce_type"] for one in facts if "traceparent" in one} == {"touchline.stage-changed"}


async def test_by_default_no_record_has_a_trace_context_and_nothing_is_imported(
    stack: Stack, database_url: str, topic_prefix: str, tmp_path: Path
) -> None:
    with watched(stack.kafka_bootstrap, database_url, topic_prefix, tmp_path, services=SERVICES) as system:
        post(system, "untraced", traceparent=f"00-{TRACE}-{PARENT}-01")
        await wait_until(lambda: system.receiver.arrived, "a webhook arrives")
        for topic in ("touchpoints", "stage-changes"):
            found = await headers_of(system, topic, "untraced")
            assert found
            assert not any("traceparent" in one for one in found)
        assert not any("traceparent" in one.headers for one in system.receiver.arrived)
        for service in system.services.values():
            loaded = {one.path for one in psutil.Process(service.pid).memory_maps()}
            assert not any("google/_upb" in path for path in loaded), "the exporter's protobuf is loaded"
    assert tracing_of(IngestSettings(), "ingest") is None
