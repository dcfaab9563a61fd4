"""A reverse proxy before the identity provider that changes what its token endpoint answers, or is away."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import orjson

Change = Callable[[dict[str, Any]], dict[str, Any]]
_NOT_PASSED_ON = (
    "connection",
    "content-length",
    "transfer-encoding",
    "content-encoding",
    "keep-alive",
    "server",
    "date",
)


class ProviderProxy:
    """Its address is the provider's issuer.

    Attributes:
        to: port of the provider.
        change: makes the token endpoint's answer from the real one; None: as it is.
        asked: paths, in order.
    """

    def __init__(self) -> None:
        self.to = 0
        self.change: Change | None = None
        self.asked: list[str] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy._answer(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.netloc = f"127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["ProviderProxy"]:
        """Serve in a thread."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        self.asked.append(path)
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = [(name, value) for name, value in handler.headers.items() if name.lower() not in _NOT_PASSED_ON]
        try:
            answer = httpx.request(
                handler.command,
                f"http://127.0.0.1:{self.to}{handler.path}",
                headers=headers,
                content=body,
                timeout=60,
                follow_redirects=False,
                trust_env=False,
            )
        except httpx.TransportError:
            handler.send_error(502)
            return
        content = answer.content
        if path == "/oauth/token" and self.change is not None and answer.is_success:
            content = orjson.dumps(self.change(answer.json()))
        handler.send_response(answer.status_code)
        for name, value in answer.headers.multi_items():
            if name.lower() not in _NOT_PASSED_ON:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)
