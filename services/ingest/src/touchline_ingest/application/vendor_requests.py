"""Requests in a vendor's format: the source's reader reads them, and this use case acts on what it returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from touchline_runtime.http.credentials import presented_key
from touchline_runtime.process.repeated_events import EventLog

from touchline_ingest.application.ports import Fetcher
from touchline_ingest.application.receive import Receipt, Receiver
from touchline_ingest.core.access.configured_sources import SourceEntry
from touchline_ingest.core.access.used_tokens import UsedTokens
from touchline_ingest.core.sources.early_checks import refused_by_headers
from touchline_ingest.core.sources.interface import (
    TOKEN_USED,
    NeedsCertificate,
    Reply,
    Request,
    RequestRejection,
    Source,
    SourceConfig,
    Understood,
)
from touchline_ingest.core.sources.standard.segment import write_keys
from touchline_ingest.core.touchpoints.acceptance import Rejected, named_by
from touchline_ingest.core.touchpoints.records import RequestOrigin, dead_letter_record
from touchline_ingest.core.touchpoints.refusals import NotAcknowledged, RefusedBySource
from touchline_ingest.core.touchpoints.vendor_requests import JudgedRequest, judge_request

log = structlog.get_logger(__name__)

# A request may need the certificate of its signature; one that needs more than a few is an attack.
_MOST_CERTIFICATES = 3


@dataclass(frozen=True, slots=True)
class VendorRequest:
    """One HTTP request in a vendor's format.

    Attributes:
        request: the request as the source's reader reads it.
        path: the path it was posted to.
        headers: all headers, repeated ones too; a dead letter keeps them.
        address: the client's network address.
        named_by: what the ids of items without an id are derived from.
        mark_proven: called once the request is known to be genuine.
    """

    request: Request
    path: str
    headers: Sequence[tuple[str, str]]
    address: str
    named_by: str = ""
    mark_proven: Callable[[], None] = lambda: None


async def read_with_certificates(
    request: Request, source: Source, config: SourceConfig, fetcher: Fetcher, now: Callable[[], datetime]
) -> Understood | RequestRejection:
    """Read a request, fetching the certificates that its signature needs.

    Raises:
        Unavailable: a certificate can't be fetched now.
    """
    for _ in range(_MOST_CERTIFICATES):
        result = source.read(request, config, now())
        if not isinstance(result, NeedsCertificate):
            return result
        request = request.with_certificate(result.url, await fetcher.certificate(result.url))
    return RequestRejection(401, "signature not valid", "The signature asks for one certificate after the other.")


class VendorRequestHandler:
    """Reads vendors' requests, publishes their touchpoints, and keeps what can't be read as dead letters."""

    def __init__(self, receiver: Receiver, fetcher: Fetcher) -> None:
        self._receiver = receiver
        self._fetcher = fetcher
        self._tokens = UsedTokens()
        self._refusals = EventLog(log, "request_refused")
        self._dead_letters = EventLog(log, "dead_letter")

    async def handle(
        self,
        received: VendorRequest,
        entry: SourceEntry,
        source: Source,
        config: SourceConfig,
        *,
        endpoint: str,
        per_item: bool = False,
    ) -> Receipt | Reply:
        """Handle one request; returns once Kafka has acknowledged everything in it, dead letters too.

        Args:
            per_item: the sender gets a result for each item (:class:`Receipt`); otherwise the source's reply.

        Raises:
            RequestRefused: the request is not genuine, or exceeds the rate limit, or Kafka did not acknowledge it.
            Unavailable: a certificate can't be fetched, or Kafka did not acknowledge a dead letter.
        """
        result = await read_with_certificates(
            received.request, source, config, self._fetcher, lambda: datetime.now(UTC)
        )
        if isinstance(result, RequestRejection):
            raise self._refused(received, result, entry)
        received.mark_proven()
        self._receiver.charge(entry, len(result.touchpoints) + len(result.unreadable))
        if result.tokens and not self._tokens.claim(config, result.tokens, datetime.now(UTC)):
            raise self._refusal(TOKEN_USED, entry)
        try:
            name_item = named_by(entry.name, received.named_by)
            judged = judge_request(result, entry.terms(), now=datetime.now(UTC), name_item=name_item)
            receipt = await self._receiver.publish(entry, judged.verdicts, endpoint=endpoint)
            if receipt.unacknowledged and not per_item:
                raise NotAcknowledged(receipt.reason)
            # A sender that gets a result for each item, and had none accepted, still has all of them.
            sender_keeps_all = per_item and all(type(verdict) is Rejected for verdict in judged.verdicts)
            if judged.reason and not sender_keeps_all and not receipt.unacknowledged:
                await self._dead_letter(received, entry, judged, endpoint=endpoint)
            if result.fetch_url:
                await self._fetcher.get(result.fetch_url)
        except BaseException:
            self._tokens.release(config, result.tokens)
            raise
        if per_item and receipt.verdicts:
            return receipt
        return result.reply or Reply()

    def check_headers(self, received: VendorRequest, entry: SourceEntry, source: Source) -> None:
        """Refuse a request that its headers prove not genuine, before its body is read.

        Raises:
            RefusedBySource: the source's reader refuses it.
            TooManyAuthFailures: its address has sent too many of these.
        """
        without_body = replace(received.request, body=b"")
        refused = refused_by_headers(without_body, source, entry.config, datetime.now(UTC))
        if refused is not None:
            raise self._refused(received, refused, entry)

    def _refused(self, received: VendorRequest, refused: RequestRejection, entry: SourceEntry) -> RefusedBySource:
        challenge = "WWW-Authenticate" in refused.headers and "authorization" not in received.request.headers
        # Some clients send credentials only after a challenge: the first request is not a wrong key.
        if refused.status == 401 and not challenge:
            self._receiver.count_auth_failure(received.address)
        return self._refusal(refused, entry)

    def _refusal(self, refused: RequestRejection, entry: SourceEntry) -> RefusedBySource:
        said = {"source": entry.name, "status": refused.status, "title": refused.title, "cause": refused.cause or None}
        self._refusals.happened((entry.name, refused.title), **said)
        return RefusedBySource(refused.status, refused.title, refused.detail, refused.headers)

    async def _dead_letter(
        self, received: VendorRequest, entry: SourceEntry, judged: JudgedRequest, *, endpoint: str
    ) -> None:
        request = received.request
        origin = RequestOrigin(source=entry.name, endpoint=received.path, url=request.url, named_by=received.named_by)
        record = dead_letter_record(
            request.body,
            received.headers,
            reason=judged.reason,
            error=judged.error,
            origin=origin,
            secrets=_secrets(request, entry),
        )
        await self._receiver.dead_letter(entry, record, judged.reason)
        said = {"source": entry.name, "door": endpoint, "reason": judged.reason}
        self._dead_letters.happened(tuple(said.values()), **said)


def _secrets(request: Request, entry: SourceEntry) -> list[str]:
    """The secrets that authenticated a request: none of them may be published."""
    found = [*entry.config.secrets, *(entry.public.identity_secrets if entry.public else ())]
    found += [password for secret in entry.config.secrets if (password := secret.partition(":")[2])]
    presented = presented_key(request.headers.get("authorization", ""))
    if presented and entry.keys:
        found.append(presented)
    return found + (write_keys(request.body) if entry.keys else [])
