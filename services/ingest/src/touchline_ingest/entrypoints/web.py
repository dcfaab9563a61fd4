"""The doors for pages and e-mails: the beacon, the pixel, and the script."""

import base64
import hashlib
from datetime import UTC, datetime
from importlib import resources

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from touchline_runtime.metrics import Metrics
from touchline_runtime.problems import Problem

from touchline_ingest.core.decoding import parse
from touchline_ingest.core.web import beacon_drafts, pixel_draft
from touchline_ingest.entrypoints import api_page
from touchline_ingest.entrypoints.cross_origin import check_origin, preflight
from touchline_ingest.entrypoints.doors import DoorFrame, router
from touchline_ingest.entrypoints.reception import Reception
from touchline_ingest.entrypoints.touchpoints import answer, minting

DOOR = "web"
_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_NOT_KEPT = {"Cache-Control": "no-store, private", "Access-Control-Allow-Origin": "*"}


def web_router(reception: Reception, metrics: Metrics) -> APIRouter:
    """Beacon, pixel, script."""
    doors = router()
    framed = DoorFrame(DOOR, metrics)

    @doors.post("/v1/beacon", **api_page.POST_BEACON)
    @framed
    async def post_beacon(request: Request) -> Response:
        entry = reception.source_of(request, DOOR, key=request.query_params.get("key"))
        check_origin(request, entry)
        # sendBeacon sends text/plain, so that the browser need not ask first: the type says nothing here.
        body = await reception.read_body(request, entry)
        agent = request.headers.get("user-agent", "")
        items = beacon_drafts(parse(body), user_agent=agent, now=datetime.now(UTC))
        reception.check_count(len(items))
        reception.charge(entry, len(items))
        return answer(await reception.take(entry, items, door=DOOR, name_item=minting()), success=202)

    doors.options("/v1/beacon", include_in_schema=False)(preflight(reception, DOOR))

    @doors.get("/v1/pixel.gif", **api_page.GET_PIXEL)
    @framed
    async def get_pixel(request: Request) -> Response:
        try:
            entry = reception.source_of(request, DOOR, key=request.query_params.get("key"))
            reception.charge(entry, 1)
            parameters = [(name, text) for name, text in request.query_params.multi_items() if name != "key"]
            agent = request.headers.get("user-agent", "")
            draft = pixel_draft(parameters, user_agent=agent, now=datetime.now(UTC))
            answer(await reception.take(entry, [draft], door=DOOR, name_item=minting()), success=200)
        except Problem as problem:
            # Still an image, so that a mail shows no broken one; the status and the header say what is wrong.
            headers = {**problem.headers, **_NOT_KEPT, "Touchline-Problem": _header_text(problem.detail)}
            return Response(_GIF, problem.status, headers, "image/gif")
        return Response(_GIF, 200, _NOT_KEPT, "image/gif")

    script = resources.files("touchline_ingest.entrypoints").joinpath("touchline.js").read_bytes()
    etag = f'"{hashlib.sha256(script).hexdigest()[:32]}"'
    cached = {"ETag": etag, "Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"}

    @doors.get("/v1/touchline.js", **api_page.GET_SCRIPT)
    @framed
    async def get_script(request: Request) -> Response:
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=cached)
        return Response(script, 200, cached, "text/javascript; charset=utf-8")

    return doors


def _header_text(text: str) -> str:
    return text.encode("ascii", "replace").decode().replace("\n", " ")[:500]
