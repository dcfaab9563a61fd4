"""Requests in somebody else's format: a source reads them, and this acts on what it says."""

from datetime import UTC, datetime

import structlog
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from touchline_runtime.problems import Problem

from touchline_ingest.adapters.fetching import Fetcher
from touchline_ingest.core.acceptance import NameItem, Rejected
from touchline_ingest.core.records import RequestOrigin, dead_letter_record
from touchline_ingest.core.source_book import SourceEntry
from touchline_ingest.core.sources.interface import (
    TOKEN_USED,
    NeedsCertificate,
    Reading,
    Refused,
    Reply,
    Request,
    Source,
    SourceConfig,
    Understood,
)
from touchline_ingest.core.sources.used_tokens import UsedTokens
from touchline_ingest.core.vendor import Judged, judge_reading
from touchline_ingest.entrypoints.reception import RETRY_AFTER_SECONDS, Reception
from touchline_ingest.entrypoints.touchpoints import answer

log = structlog.get_logger(__name__)

# A request may need the certificate of its signature; one that needs more than a few is playing with us.
_MOST_CERTIFICATES = 3


class Relay:
    """Carries requests to their source and touchpoints to Kafka.

    Args:
        public_url: scheme and host under which senders reach us; empty: what the request says.
    """

    def __init__(self, reception: Reception, fetcher: Fetcher, *, public_url: str) -> None:
        self._reception = reception
        self._fetcher = fetcher
        self._tokens = UsedTokens()
        self._public_url = public_url.rstrip("/")

    async def carry(
        self,
        http: HttpRequest,
        body: bytes,
        entry: SourceEntry,
        source: Source,
        config: SourceConfig,
        *,
        door: str,
        named_by: str,
        name_item: NameItem,
        per_item: bool = False,
    ) -> Response:
        """Read one request and answer it once Kafka has everything in it, dead letters too.

        Args:
            named_by: what ``name_item`` derives ids from.
            per_item: answer with per-item results, and 422 when no event is a touchpoint; else with the source's reply.
        """
        request = self._request(http, body)
        reading = await self._read(request, source, config)
        if isinstance(reading, Refused):
            challenge = "WWW-Authenticate" in reading.headers and "authorization" not in http.headers
            # Some send their credentials only when asked for them: that is no wrong key.
            if reading.status == 401 and not challenge:
                self._reception.count_stranger(http)
            raise _problem(reading, entry)
        assert isinstance(reading, Understood)
        self._reception.charge(entry, len(reading.touchpoints) + len(reading.unreadable))
        if reading.tokens and not self._tokens.claim(config, reading.tokens, datetime.now(UTC)):
            raise _problem(TOKEN_USED, entry)
        try:
            judged = judge_reading(reading, entry.terms(), now=datetime.now(UTC), name_item=name_item)
            taken = await self._reception.publish(entry, judged.verdicts, door=door)
            if taken.unacknowledged and not per_item:
                headers = {"Retry-After": RETRY_AFTER_SECONDS}
                raise Problem(503, f"{taken.reason}: send it again", type="not-acknowledged", headers=headers)
            # A sender that is told of each event, and had none accepted, knows and still has them.
            told = per_item and all(type(verdict) is Rejected for verdict in judged.verdicts)
            if judged.reason and not told and not taken.unacknowledged:
                await self._keep(http, body, entry, judged, door=door, named_by=named_by)
            if reading.fetch_url:
                await self._fetcher.get(reading.fetch_url)
        except BaseException:
            self._tokens.release(config, reading.tokens)
            raise
        if per_item and taken.verdicts:
            return answer(taken, success=202)
        reply = reading.reply or Reply()
        return Response(reply.body, reply.status, dict(reply.headers), reply.content_type)

    async def _read(self, request: Request, source: Source, config: SourceConfig) -> Reading:
        for _ in range(_MOST_CERTIFICATES):
            reading = source.read(request, config, datetime.now(UTC))
            if not isinstance(reading, NeedsCertificate):
                return reading
            request = request.with_certificate(reading.url, await self._fetcher.certificate(reading.url))
        return Refused(401, "signature not valid", "The signature asks for one certificate after the other.")

    async def _keep(
        self, http: HttpRequest, body: bytes, entry: SourceEntry, judged: Judged, *, door: str, named_by: str
    ) -> None:
        origin = RequestOrigin(
            source=entry.name, endpoint=http.url.path, url=self._public_address(http), named_by=named_by
        )
        letter = dead_letter_record(body, http.headers.items(), reason=judged.reason, error=judged.error, origin=origin)
        await self._reception.dead_letter(entry, letter, judged.reason)
        log.warning("dead_letter", source=entry.name, door=door, reason=judged.reason)

    def _request(self, http: HttpRequest, body: bytes) -> Request:
        headers: dict[str, str] = {}
        for name, value in http.headers.items():
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Request(http.method, self._public_address(http), headers, body, dict(http.query_params))

    def _public_address(self, http: HttpRequest) -> str:
        """The address as the sender wrote it, percent-encoding and all."""
        scope = http.scope
        path = scope.get("raw_path") or scope["path"].encode()
        query = scope["query_string"]
        target: str = (path + b"?" + query if query else path).decode("latin-1")
        return (self._public_url or f"{http.url.scheme}://{http.url.netloc}") + target


def _problem(refused: Refused, entry: SourceEntry) -> Problem:
    log.warning(
        "request_refused", source=entry.name, status=refused.status, title=refused.title, cause=refused.cause or None
    )
    return Problem(refused.status, refused.detail, type=refused.title.replace(" ", "-"), headers=dict(refused.headers))
