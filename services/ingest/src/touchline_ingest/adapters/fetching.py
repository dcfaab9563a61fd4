"""Fetching what a source asks for: a signing certificate, or an address that confirms a subscription.

The source has checked the host already. Here it is https alone, no redirects, small, and quick.
"""

import asyncio
import time

import httpx
import structlog
from touchline_runtime.errors import Unavailable

log = structlog.get_logger(__name__)

_MOST_BYTES = 64 * 1024
_TIMEOUT = 5.0
_KEEP_SECONDS = 24 * 3600.0
_MOST_KEPT = 100
_MOST_WAITING = 20


class Fetcher:
    """Fetches by https, and keeps certificates for a day. Opens connections only when asked to."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._kept: dict[str, tuple[float, bytes]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0

    async def certificate(self, url: str) -> bytes:
        """The bytes at a certificate's address.

        Anybody can name an address that nobody has asked for yet: those wait for one another, few of them, and hold up
        nothing that is known.

        Raises:
            Unavailable: it can't be fetched now, or too many others are being fetched.
        """
        kept = self._fresh(url)
        if kept is not None:
            return kept
        if self._waiting >= _MOST_WAITING:
            raise Unavailable("too many certificates are being fetched")
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                kept = self._fresh(url)
                if kept is not None:
                    return kept
                pem = await self.get(url)
                if len(self._kept) >= _MOST_KEPT:
                    self._kept.clear()
                self._kept[url] = (time.monotonic(), pem)
                return pem
        finally:
            self._waiting -= 1

    def _fresh(self, url: str) -> bytes | None:
        kept = self._kept.get(url)
        return kept[1] if kept and time.monotonic() - kept[0] < _KEEP_SECONDS else None

    async def get(self, url: str) -> bytes:
        """The body at an address.

        Raises:
            Unavailable: not https, no answer in time, an answer other than 200, or too long a one.
        """
        if not url.startswith("https://"):
            raise Unavailable("an address that is not https is never fetched")
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
