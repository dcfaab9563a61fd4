"""HTTP to addresses that an operator configured: the address is checked when it is dialled, and every size and time is
bounded.

The name is resolved here, the answer is filtered (:mod:`touchline_notifier.core.delivery.addresses`), and the
connection goes to the very address that passed; asking the resolver again could give another answer (DNS rebinding).
``Host`` and the TLS server name stay the URL's, so certificates are checked against the name. No redirects, no
proxies from the environment, no cookies.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from touchline_notifier.application.delivering.delivery_leases import LeaseLostError, may_still_send
from touchline_notifier.core.delivery.addresses import Address, Network, choose

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port → addresses as text, in order of preference. Raises OSError when the name can't be resolved."""

_EXCERPT_BYTES = 4096
_EXCERPT_SECONDS = 2.0
_USER_AGENT = "touchline-notifier"


class CantSendError(Exception):
    """No answer was received; the text says why."""


class CantWriteError(Exception):
    """This request can't be written as HTTP; the text says why."""


async def _before_writing(event: str, _: Mapping[str, object]) -> None:
    """Called by httpcore at each step of a request."""
    if event.endswith("send_request_headers.started") and not may_still_send.get()():
        raise LeaseLostError


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def written_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as bytes: values in UTF-8 (RFC 9110 section 5.5 lets bytes beyond ASCII through as opaque data).

    Raises:
        CantWriteError: a name is no token, or a value has a line break or another control character.
    """
    written = []
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise CantWriteError(f"header {name!r}: its name can't be written in HTTP: use letters, digits and dashes")
        if _CONTROL.search(value):
            raise CantWriteError(f"header {name}: its value has a line break or a control character")
        try:
            written.append((name.encode("ascii"), value.strip(" \t").encode()))
        except UnicodeEncodeError:
            raise CantWriteError(f"header {name}: its value has half a surrogate pair") from None
    return written


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer: the status, the headers, and the beginning of the body."""

    status: int
    headers: Mapping[str, str]
    beginning: str


class ThreadedResolver:
    """The system's resolver on threads of our own, many enough that a name server that hangs holds up only itself."""

    def __init__(self, threads: int = 32) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolve")

    async def __call__(self, host: str, port: int) -> list[str]:
        """Resolve a name."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _getaddrinfo, host, port)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        """Stop the threads; one that still waits for a name server ends when the query times out."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _getaddrinfo(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class _GuardedTransport(httpx.AsyncBaseTransport):
    """Dials checked addresses. One per endpoint: connections are pooled by address, and an address may be shared."""

    def __init__(self, allowed: Sequence[Network], resolve: Resolver, tls: ssl.SSLContext) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._inner = httpx.AsyncHTTPTransport(
            verify=tls, trust_env=False, limits=httpx.Limits(max_keepalive_connections=2, keepalive_expiry=30)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.raw_host.decode("ascii")  # an international name in its ASCII form
        addresses = await self._checked(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        if request.url.scheme != "https":
            # Plain http is for networks that the operator allows.
            addresses = [address for address in addresses if any(address in network for network in self._allowed)]
            if not addresses:
                raise CantSendError(
                    f"{host} is addressed by plain http: use https (or TOUCHLINE_DELIVERY_ALLOWED_NETWORKS)"
                )
        extensions = request.extensions if _is_literal(host) else request.extensions | {"sni_hostname": host}
        for address in addresses[:-1]:
            try:
                return await self._send(request, address, extensions)
            except httpx.ConnectError:
                continue
        return await self._send(request, addresses[-1], extensions)

    async def _send(self, request: httpx.Request, address: Address, extensions: dict[str, object]) -> httpx.Response:
        # The Host header was set from the name when the request was built, and stays.
        return await self._inner.handle_async_request(
            httpx.Request(
                request.method,
                request.url.copy_with(host=str(address)),
                headers=request.headers,
                stream=request.stream,
                extensions=extensions,
            )
        )

    async def _checked(self, host: str, port: int) -> list[Address]:
        try:
            resolved = [host] if _is_literal(host) else await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise CantSendError(f"{host} can't be resolved: {error}") from None
        may, refused = choose(resolved, self._allowed)
        if not may:
            why = "; ".join(str(one) for one in refused) or "it has no address"
            raise CantSendError(
                f"{host} leads where nothing is sent: {why} (TOUCHLINE_DELIVERY_ALLOWED_NETWORKS names exceptions)"
            )
        return may

    async def aclose(self) -> None:
        await self._inner.aclose()


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class GuardedHttp:
    """POSTs to endpoints' URLs."""

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        resolve: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = tuple(allowed)
        self._own_resolver = ThreadedResolver() if resolve is None else None
        self._resolve: Resolver = resolve or self._own_resolver  # type: ignore[assignment]  # one of them is there
        self._tls = tls or ssl.create_default_context()
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def post(
        self, endpoint: str, url: str, body: bytes, headers: Mapping[str, str], *, timeout_seconds: float
    ) -> Answer:
        """Send a body once.

        Args:
            endpoint: its name: each has connections of its own.
            timeout_seconds: for everything together: resolving, dialling, sending, and waiting for the answer.

        Raises:
            CantSendError: no answer came, or the address is one that nothing is sent to.
            CantWriteError: the headers can't be written.
            LeaseLostError: :data:`may_still_send` said no; nothing was sent.
        """
        written = written_headers(headers)
        client = self._clients.get(endpoint)
        if client is None:
            client = self._clients[endpoint] = httpx.AsyncClient(
                transport=_GuardedTransport(self._allowed, self._resolve, self._tls),
                timeout=timeout_seconds,
                follow_redirects=False,
                trust_env=False,
                headers={"user-agent": _USER_AGENT, "accept-encoding": "identity"},
            )
        try:
            async with asyncio.timeout(timeout_seconds):
                request = client.build_request("POST", url, content=body, headers=written)
                request.extensions["trace"] = _before_writing
                response = await client.send(request, stream=True)
                try:
                    # The status is the answer. The excerpt of the body is for people; its time and size are limited.
                    beginning = await _beginning(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise CantSendError(f"no answer within {timeout_seconds:g} s") from None
        except httpx.TimeoutException:
            raise CantSendError(f"no answer within {timeout_seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise CantSendError(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from None
        client.cookies.clear()
        return Answer(response.status_code, response.headers, beginning)

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()
        if self._own_resolver is not None:
            self._own_resolver.close()


async def _beginning(response: httpx.Response) -> str:
    received = bytearray()
    try:
        async with asyncio.timeout(_EXCERPT_SECONDS):
            async for chunk in response.aiter_raw(_EXCERPT_BYTES):
                received += chunk
                if len(received) >= _EXCERPT_BYTES:
                    break
    except (TimeoutError, httpx.HTTPError):
        pass  # the status has come, and that is what counts
    return bytes(received[:_EXCERPT_BYTES]).decode("utf-8", "replace")
