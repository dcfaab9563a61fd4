"""CORS (Fetch standard §3.2): which pages may post with a source's key and read the answer."""

import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from touchline_runtime.http.credentials import presented_key
from touchline_runtime.http.problems import Problem

from touchline_ingest.core.access.configured_sources import SourceEntry
from touchline_ingest.entrypoints.http.request_reader import RequestReader
from touchline_ingest.entrypoints.http.routes import ANSWER_HEADERS

_MAX_AGE = "600"
_HEADERS = "authorization, content-type, content-encoding, idempotency-key, x-retry-count"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_MOST_HEADERS = 32


def allowed_headers(asked: str) -> str:
    """The names a preflight allows: the usual ones and those that were asked for.

    A page may add its own headers to what a library sends. None of them authenticates: only the key does.
    """
    names = [name.strip().lower() for name in asked.split(",")][:_MOST_HEADERS]
    known = _HEADERS.split(", ")
    return ", ".join([*known, *(name for name in names if _HEADER_NAME.fullmatch(name) and name not in known)])


def check_origin(request: Request, entry: SourceEntry) -> None:
    """Let the page read the answer, with any status: a refusal that it can't read looks like a network error.

    Raises:
        Problem: 403 when the page's origin may not post with this key.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return
    if not entry.allows_origin(origin):
        raise Problem(
            403,
            f"pages of {origin[:200]!r} may not post with this key: add the origin to `origins` of source "
            f"{entry.name!r}",
            type="origin-not-allowed",
        )
    request.scope[ANSWER_HEADERS] = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


def preflight(reader: RequestReader, endpoint: str) -> Callable[[Request], Awaitable[Response]]:
    """Answers a browser's preflight request.

    A preflight carries no credentials, so the key is known only where the address contains it (``?key=``). Otherwise
    it is enough that a source of this endpoint lists the origin; the request itself is checked against its own key.
    """

    async def answer(request: Request) -> Response:
        origin = request.headers.get("origin", "")
        key = request.query_params.get("key") or presented_key(request.headers.get("authorization", ""))
        entries = (
            reader.receiver.sources_of(endpoint) if key is None else [reader.source_of(request, endpoint, key=key)]
        )
        if not origin or not any(entry.allows_origin(origin) for entry in entries):
            raise Problem(403, f"pages of {origin[:200]!r} may not post here", type="origin-not-allowed")
        headers = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "POST, GET",
            "Access-Control-Allow-Headers": allowed_headers(request.headers.get("access-control-request-headers", "")),
            "Access-Control-Max-Age": _MAX_AGE,
            "Vary": "Origin, Access-Control-Request-Headers",
        }
        return Response(status_code=204, headers=headers)

    return answer
