"""Endpoints for web pages and e-mails: the beacon, the pixel, and the script."""

import base64
import hashlib
from datetime import UTC, datetime
from importlib import resources

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from touchline_runtime.http.problems import Problem
from touchline_runtime.metrics import Metrics

from touchline_ingest.core.touchpoints.decoding import parse
from touchline_ingest.core.touchpoints.refusals import RequestRefused
from touchline_ingest.core.web.browser_events import beacon_drafts, pixel_draft
from touchline_ingest.entrypoints.http import api_docs
from touchline_ingest.entrypoints.http.cross_origin import check_origin, preflight
from touchline_ingest.entrypoints.http.request_reader import RequestReader
from touchline_ingest.entrypoints.http.routes import MeasuredEndpoint, problem_of, router
from touchline_ingest.entrypoints.http.touchpoints import answer, new_ids

ENDPOINT = "web"
_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_NOT_KEPT = {"Cache-Control": "no-store, private", "Access-Control-Allow-Origin": "*"}


def web_router(reader: RequestReader, metrics: Metrics) -> APIRouter:
    """Beacon, pixel, script."""
    routes = router()
    receiver = reader.receiver
    measured = MeasuredEndpoint(ENDPOINT, metrics)

    @routes.post("/v1/beacon", **api_docs.POST_BEACON)
    @measured
    async def post_beacon(request: Request) -> Response:
        entry = reader.source_of(request, ENDPOINT, key=request.query_params.get("key"))
        check_origin(request, entry)
        # sendBeacon sends text/plain, which needs no CORS preflight: the content type is ignored.
        body = await reader.read_body(request, entry)
        agent = request.headers.get("user-agent", "")
        items = beacon_drafts(parse(body), user_agent=agent, now=datetime.now(UTC))
        receiver.check_count(len(items))
        receiver.charge(entry, len(items))
        return answer(await receiver.accept(entry, items, endpoint=ENDPOINT, name_item=new_ids), success=202)

    routes.options("/v1/beacon", include_in_schema=False)(preflight(reader, ENDPOINT))

    @routes.get("/v1/pixel.gif", **api_docs.GET_PIXEL)
    @measured
    async def get_pixel(request: Request) -> Response:
        try:
            entry = reader.source_of(request, ENDPOINT, key=request.query_params.get("key"))
            receiver.charge(entry, 1)
            parameters = [(name, text) for name, text in request.query_params.multi_items() if name != "key"]
            agent = request.headers.get("user-agent", "")
            draft = pixel_draft(parameters, user_agent=agent, now=datetime.now(UTC))
            answer(await receiver.accept(entry, [draft], endpoint=ENDPOINT, name_item=new_ids), success=200)
        except (Problem, RequestRefused) as error:
            problem = error if isinstance(error, Problem) else problem_of(error)
            # Still an image, so that an e-mail does not show a broken one; the status and the header say what is wrong.
            headers = {**problem.headers, **_NOT_KEPT, "Touchline-Problem": _header_text(problem.detail)}
            return Response(_GIF, problem.status, headers, "image/gif")
        return Response(_GIF, 200, _NOT_KEPT, "image/gif")

    @routes.head("/v1/pixel.gif", include_in_schema=False)
    @measured
    async def head_pixel(_: Request) -> Response:
        # Sent by mail scanners and link checkers, not by a mail that was opened: nothing is recorded.
        return Response(None, 200, _NOT_KEPT, "image/gif")

    script = resources.files("touchline_ingest.entrypoints.http").joinpath("touchline.js").read_bytes()
    etag = f'"{hashlib.sha256(script).hexdigest()[:32]}"'
    cached = {"ETag": etag, "Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"}

    @routes.get("/v1/touchline.js", **api_docs.GET_SCRIPT)
    @measured
    async def get_script(request: Request) -> Response:
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=cached)
        return Response(script, 200, cached, "text/javascript; charset=utf-8")

    return routes


def _header_text(text: str) -> str:
    return text.encode("ascii", "replace").decode().replace("\n", " ")[:500]
