"""A span for each HTTP request to the API, where tracing is on."""

from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from touchline_runtime.tracing import HEADER, Tracing

current: ContextVar[str] = ContextVar("touchline-trace", default="")
"""The ``traceparent`` of the request that is being answered; empty when there is none, or tracing is off."""


class TracedRequests:
    """An ASGI middleware."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on within a span; those of health checks and metrics are passed on alone."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        parent = next((value.decode("latin-1") for name, value in scope["headers"] if name == HEADER.encode()), "")
        span = self._tracing.start(
            scope["method"], "server", parent, attributes={"http.request.method": scope["method"]}
        )
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        token = current.set(span.context)
        try:
            await self._app(scope, receive, sending)
        finally:
            current.reset(token)
            span.rename(f"{scope['method']} {getattr(scope.get('route'), 'path_format', '')}".rstrip())
            span.set("http.response.status_code", status)
            span.end(f"answered {status}" if status >= 500 else "")
