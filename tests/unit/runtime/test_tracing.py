"""Traces are off unless an endpoint is set; spans follow from the context they are given."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from touchline_runtime.config.settings import ServiceSettings, read_settings
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.tracing import Tracing, header_of, tracing_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def test_without_an_endpoint_there_is_no_tracing() -> None:
    assert tracing_of(ServiceSettings(), "ingest") is None


def test_an_endpoint_without_the_package_ends_the_start_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, EXPORTER, None)
    settings = ServiceSettings(traces_endpoint="http://127.0.0.1:9/v1/traces")
    with pytest.raises(ConfigurationError, match=r"pip install 'touchline-runtime\[traces\]'"):
        tracing_of(settings, "ingest")


@pytest.mark.parametrize("endpoint", ["collector:4318", "grpc://collector:4317", "http://"])
def test_an_endpoint_that_is_no_http_address_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="TOUCHLINE_TRACES_ENDPOINT"):
        read_settings(ServiceSettings, traces_endpoint=endpoint)


def test_a_span_follows_from_its_parent_and_the_next_one_from_it() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing("ingest", exporter)
    first = tracing.start("one", "server", f"00-{TRACE}-{PARENT}-01")
    second = tracing.start("two", "client", first.context)
    second.end("it failed")
    first.end()
    assert first.context.split("-")[:2] == second.context.split("-")[:2] == ["00", TRACE]
    assert len({PARENT, first.context.split("-")[2], second.context.split("-")[2]}) == 3


@pytest.mark.parametrize("parent", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{PARENT}"])
def test_a_context_that_can_not_be_read_begins_a_trace(parent: str) -> None:
    span = Tracing("ingest", InMemorySpanExporter()).start("one", "server", parent)
    _, trace, _, _ = span.context.split("-")
    assert trace not in (TRACE, "0" * 32)


def test_the_context_of_a_record_is_in_its_headers() -> None:
    context = f"00-{TRACE}-{PARENT}-01"
    assert header_of([("ce_id", b"1"), ("traceparent", context.encode())]) == context
    assert header_of([("traceparent", f"01-{TRACE}-{PARENT}-01-more".encode())]) == f"01-{TRACE}-{PARENT}-01"
    for unreadable in (b"\xff", b"00-a-b-01", f"00-{TRACE}-{PARENT}-\0".encode(), b"x" * 1_000_000, b""):
        assert header_of([("traceparent", unreadable)]) == ""
    assert header_of([]) == ""
    assert header_of([("traceparent", None)]) == ""


PROCESS = """
import subprocess
import sys
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from touchline_runtime.process.run import main
from touchline_runtime.tracing import Tracing

class Printed(SpanExporter):
    def export(self, spans):
        print(*(span.name for span in spans), flush=True)
        return SpanExportResult.SUCCESS

async def work():
    Tracing("ingest", Printed()).start("the last step", "internal").end()

main(work())
"""


def test_the_last_spans_of_a_process_are_exported_before_it_ends() -> None:
    process = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stdout) == (0, "the last step\n"), process.stderr
