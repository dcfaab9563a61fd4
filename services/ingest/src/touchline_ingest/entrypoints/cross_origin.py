"""CORS (Fetch standard §3.2): which pages may post with a source's key and read the answer."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from touchline_runtime.problems import Problem

from touchline_ingest.core.keys import presented_key
from touchline_ingest.core.source_book import SourceEntry
from touchline_ingest.entrypoints.doors import ANSWER_HEADERS
from touchline_ingest.entrypoints.reception import Reception

_MAX_AGE = "600"


def check_origin(request: Request, entry: SourceEntry) -> None:
    """Let the page read the answer, whichever it will be: a refusal it can't see would look like a broken network.

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


def preflight(reception: Reception, door: str) -> Callable[[Request], Awaitable[Response]]:
    """Answers a browser's question before a request.

    It carries no credentials, so that the key is known only where the address has it (``?key=``); else any source that
    opens the door and lists the origin is enough, and the request itself is held against its own key.
    """

    async def answer(request: Request) -> Response:
        origin = request.headers.get("origin", "")
        key = request.query_params.get("key") or presented_key(request.headers.get("authorization", ""))
        entries = reception.opening(door) if key is None else [reception.source_of(request, door, key=key)]
        if not origin or not any(entry.allows_origin(origin) for entry in entries):
            raise Problem(403, f"pages of {origin[:200]!r} may not post here", type="origin-not-allowed")
        headers = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "POST, GET",
            "Access-Control-Allow-Headers": "authorization, content-type, content-encoding, idempotency-key",
            "Access-Control-Max-Age": _MAX_AGE,
            "Vary": "Origin",
        }
        return Response(status_code=204, headers=headers)

    return answer
