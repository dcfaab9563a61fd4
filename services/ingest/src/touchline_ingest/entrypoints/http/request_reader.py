"""Reading requests: the source of their key, their body within its limits, their ``Idempotency-Key``."""

import asyncio
import time
from typing import NamedTuple

from starlette.requests import Request
from touchline_runtime.http.credentials import presented_key
from touchline_runtime.http.problems import Problem

from touchline_ingest.application.body_budget import BodyBudget, BodyReservation
from touchline_ingest.application.receive import Receiver
from touchline_ingest.application.turns import Turns
from touchline_ingest.core.access.configured_sources import SourceEntry
from touchline_ingest.core.touchpoints.decoding import BodyDecoder, too_large
from touchline_ingest.core.touchpoints.idempotency import IdempotencyKeys
from touchline_ingest.core.touchpoints.refusals import IdempotencyKeyReused, NotReadable

_HELD = "touchline.held-body"
_IDEMPOTENCY = "touchline.idempotency-key"
_MAX_IDEMPOTENCY_KEY = 255
MAX_UNPROVEN_DECOMPRESSED_BYTES = 1_000_000
"""Of a compressed body that is not proven yet. Its signature is over what it decompresses to (see
``Request.signed_bodies``), so that a forged one costs the work of decompressing it."""


class SignedBody(NamedTuple):
    """A body of which a signature is to be checked: decompressed, and as sent where that was compressed."""

    body: bytes
    compressed: bytes | None


class RequestReader:
    """Reads the requests of all endpoints.

    Args:
        body_timeout: seconds that a sender may take for its body.
    """

    def __init__(self, receiver: Receiver, *, budget: BodyBudget, body_timeout: float) -> None:
        self.receiver = receiver
        self._budget = budget
        self._body_timeout = body_timeout
        self._idempotency_keys = IdempotencyKeys()
        self._turns = Turns()

    def source_of(self, request: Request, endpoint: str, *, key: str | None = None) -> SourceEntry:
        """The source whose key the request has: ``key``, or the one in the Authorization header.

        Raises:
            Unauthorized, TooManyAuthFailures: the key is not valid for the endpoint.
        """
        presented = key or presented_key(request.headers.get("authorization", ""))
        return self.receiver.authenticate(presented, endpoint, client_address(request))

    async def read_body(
        self, request: Request, entry: SourceEntry | None = None, *, most: int | None = None, proven: bool = True
    ) -> bytes:
        """The body, decompressed. It counts as held until the request is answered (:class:`MeasuredEndpoint`).

        Args:
            proven: the request has a valid key; otherwise its body counts as unproven until ``mark_proven``.
            most: limit in bytes, where the endpoint's is lower than the service's.

        Raises:
            RequestRefused: too large, in an encoding that is not supported, or the source is over its rate limit.
            Problem: 408 when the body takes too long.
            Overloaded: too many bodies are being received at once, or more requests arrive than can be worked on.
        """
        body, _ = await self._read(request, entry, most=most, proven=proven, keep_compressed=False)
        return body

    async def read_signed_body(self, request: Request, entry: SourceEntry, *, most: int | None) -> SignedBody:
        """The body of a request whose signature is checked next; until then it counts as unproven.

        Raises:
            RequestRefused, Problem, Overloaded: as ``read_body``.
        """
        return await self._read(request, entry, most=most, proven=False, keep_compressed=True)

    async def _read(
        self, request: Request, entry: SourceEntry | None, *, most: int | None, proven: bool, keep_compressed: bool
    ) -> SignedBody:
        await self._turns.wait()
        if entry is not None:
            self.receiver.check_rate(entry)
        limits = (self.receiver.limits.body_bytes, entry and entry.max_bytes, most)
        limit = min(limit for limit in limits if limit)
        headers = request.headers
        decompressed = None if proven else MAX_UNPROVEN_DECOMPRESSED_BYTES
        decoder = BodyDecoder(headers.get("content-encoding", ""), limit, decompressed)
        declared_length = headers.get("content-length", "")
        if declared_length.isdigit() and int(declared_length) > limit:
            raise too_large(limit)
        held = request.scope[_HELD] = BodyReservation(self._budget, proven=proven)
        try:
            async with asyncio.timeout(self._body_timeout):
                async for chunk in request.stream():
                    held.grow(len(chunk))
                    decoder.feed(chunk)
        except TimeoutError:
            raise Problem(
                408,
                f"the body did not arrive within {self._body_timeout:g} s",
                type="too-slow",
                headers={"Connection": "close"},
            ) from None
        body = decoder.finish()
        compressed = decoder.compressed if keep_compressed else None
        held.grow(max(0, len(body) + len(compressed or b"") - held.bytes))
        return SignedBody(body, compressed)

    def check_idempotency_key(self, request: Request, entry: SourceEntry, body: bytes) -> None:
        """Remember the body under the request's ``Idempotency-Key`` until ``finish`` decides on it.

        Raises:
            IdempotencyKeyReused: the key came with another body before.
        """
        key = idempotency_key(request)
        if key is None:
            return
        keys, source = self._idempotency_keys, entry.name
        new = (source, key) not in keys
        if not keys.claim(source, key, body, time.monotonic()):
            raise IdempotencyKeyReused(key)
        if new:
            request.scope[_IDEMPOTENCY] = (keys, source, key)


def client_address(request: Request) -> str:
    """The network address of the client; empty when it is unknown."""
    return request.client.host if request.client else ""


def idempotency_key(request: Request) -> str | None:
    """The request's ``Idempotency-Key``, or None.

    Raises:
        NotReadable: it is empty or too long.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= _MAX_IDEMPOTENCY_KEY:
        raise NotReadable(f"Idempotency-Key must have 1 to {_MAX_IDEMPOTENCY_KEY} characters")
    return key


def mark_proven(request: Request) -> None:
    """The request is genuine: its body no longer counts as unproven."""
    held = request.scope.get(_HELD)
    if held is not None:
        held.prove()


def release_body(request: Request) -> None:
    """The request is answered: its body is no longer held."""
    held = request.scope.pop(_HELD, None)
    if held is not None:
        held.release()


def finish_idempotency_key(request: Request, status: int) -> None:
    """The request is answered: the key of a refused one may be used with a corrected body."""
    found = request.scope.pop(_IDEMPOTENCY, None)
    if found is not None and 400 <= status < 500:
        keys, source, key = found
        keys.release(source, key)
