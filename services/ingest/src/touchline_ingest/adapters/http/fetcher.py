"""Fetches what a source asks for: a signing certificate, or an address that confirms a subscription.

The source has checked the host already. The fetcher allows HTTPS only, no redirects, small bodies, and a short time.
"""

import asyncio
import time

import httpx
import structlog
from touchline_runtime.errors import Unavailable

log = structlog.get_logger(__name__)

_MOST_BYTES = 64 * 1024
_TIMEOUT = 5.0
_CACHE_SECONDS = 24 * 3600.0
_MOST_CACHED = 100
_MOST_WAITING = 20


class HttpsFetcher:
    """Fetches over HTTPS and caches certificates for a day. Opens connections only on demand."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._cached: dict[str, tuple[float, bytes]] = {}
        self._lock = asyncio.Lock()
        self._waiting = 0

    async def certificate(self, url: str) -> bytes:
        """The bytes at a certificate's address.

        Anyone can name an address that is not cached yet: such requests are fetched one after the other, few may wait,
        and cached certificates are not delayed.

        Raises:
            Unavailable: it can't be fetched now, or too many others are being fetched.
        """
        cached = self._fresh(url)
        if cached is not None:
            return cached
        if self._waiting >= _MOST_WAITING:
            raise Unavailable("too many certificates are being fetched")
        self._waiting += 1
        try:
            async with self._lock:
                cached = self._fresh(url)
                if cached is not None:
                    return cached
                pem = await self.get(url)
                if len(self._cached) >= _MOST_CACHED:
                    self._cached.clear()
                self._cached[url] = (time.monotonic(), pem)
                return pem
        finally:
            self._waiting -= 1

    def _fresh(self, url: str) -> bytes | None:
        cached = self._cached.get(url)
        return cached[1] if cached and time.monotonic() - cached[0] < _CACHE_SECONDS else None

    async def get(self, url: str) -> bytes:
        """The body at an address.

        Raises:
            Unavailable: not https, no answer in time, a status other than 200, or too large a body.
        """
        if not url.startswith("https://"):
            raise Unavailable("only https addresses are fetched")
        try:
            async with (
                asyncio.timeout(_TIMEOUT),
                httpx.AsyncClient(transport=self._transport, follow_redirects=False, timeout=_TIMEOUT) as client,
                client.stream("GET", url) as response,
            ):
                if response.status_code != 200:
                    raise Unavailable(f"{url} answered {response.status_code}")
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        raise Unavailable(f"{url} answered more than {_MOST_BYTES} bytes")
                return body
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            log.warning("fetch_failed", url=url, error=repr(error))
            raise Unavailable(f"{url} can't be fetched: {type(error).__name__}") from None
