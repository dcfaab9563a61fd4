"""OpenTelemetry traces, for deployments that set ``TOUCHLINE_TRACES_ENDPOINT``. Everywhere else there is no tracing
object at all, and nothing is imported.

The context travels as the W3C header ``traceparent``: in HTTP requests, in the headers of Kafka records, and in the
messages that wait to be delivered.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span as OpenTelemetrySpan

HEADER = "traceparent"
_CONTEXT = re.compile(r"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""How it begins in every version (W3C Trace Context §3.2)."""
_LENGTH = 55

Kind = Literal["server", "client", "producer", "consumer", "internal"]
Attributes = Mapping[str, str | int]


def header_of(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """The trace context of a Kafka record; empty when it has none, or one that can't be read."""
    found = next(((value or b"").decode("ascii", "replace") for name, value in headers if name == HEADER), "")
    return found[:_LENGTH] if _CONTEXT.match(found) else ""


class Tracing:
    """The spans of one process. They are exported in the background; when the collector is away they are dropped.

    Args:
        service: such as ``stage-engine``; it becomes ``service.name`` ``touchline-stage-engine``.
    """

    def __init__(self, service: str, exporter: "SpanExporter") -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # It exports what is left when the process exits.
        provider = TracerProvider(resource=Resource.create({"service.name": f"touchline-{service}"}))
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        self._tracer = provider.get_tracer("touchline")

    def start(
        self,
        name: str,
        kind: Kind,
        parent: str = "",
        *,
        began: float | None = None,
        attributes: Attributes | None = None,
    ) -> "Span":
        """Begin a span.

        Args:
            parent: the ``traceparent`` that it follows from; empty or unreadable: it begins a trace.
            began: seconds since the epoch; now by default.
        """
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract({HEADER: parent}) if parent else Context()
        return Span(
            self._tracer.start_span(
                name,
                context=context,
                kind=SpanKind[kind.upper()],
                attributes=dict(attributes or {}),
                start_time=None if began is None else int(began * 1e9),
            )
        )


class Span:
    """One step of a trace."""

    def __init__(self, span: "OpenTelemetrySpan") -> None:
        self._span = span
        found = span.get_span_context()
        self.context = f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"
        """The ``traceparent`` of what follows from it."""

    def rename(self, name: str) -> None:
        """Give it another name, once more is known."""
        self._span.update_name(name)

    def set(self, name: str, value: str | int) -> None:
        """Add an attribute."""
        self._span.set_attribute(name, value)

    def end(self, error: str = "") -> None:
        """End it now; with an error when there was one."""
        from opentelemetry.trace import Status, StatusCode

        if error:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


def tracing_of(settings: ServiceSettings, service: str) -> Tracing | None:
    """The tracing of a process; None when it is off.

    Raises:
        ConfigurationError: it is on, and OpenTelemetry is not installed.
    """
    if not settings.traces_endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise ConfigurationError(
            "TOUCHLINE_TRACES_ENDPOINT is set, and OpenTelemetry is not installed: "
            "pip install 'touchline-runtime[traces]', or leave the variable unset"
        ) from None
    return Tracing(service, OTLPSpanExporter(endpoint=settings.traces_endpoint, timeout=5))
