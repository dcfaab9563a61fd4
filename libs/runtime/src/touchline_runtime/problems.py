"""Errors over HTTP as problem details (RFC 9457, ``application/problem+json``)."""

from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from touchline_runtime.errors import Unavailable

MEDIA_TYPE = "application/problem+json"
log = structlog.get_logger(__name__)

_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Content too large",
    415: "Unsupported media type",
    422: "Unprocessable content",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}


class Problem(Exception):  # noqa: N818  (RFC 9457's own word)
    """Answer a request with a problem.

    Args:
        status: HTTP status.
        detail: what is wrong with this request and what to do about it.
        type: a short constant for programs; becomes the URI reference ``/problems/<type>``.
        headers: such as Retry-After or WWW-Authenticate.
        extra: extension members, such as per-item results.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        type: str | None = None,  # noqa: A002
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.type = type
        self.headers = headers or {}
        self.extra = extra

    def response(self) -> Response:
        """The HTTP answer."""
        body = {
            "type": f"/problems/{self.type}" if self.type else "about:blank",
            "title": _TITLES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }
        return Response(orjson.dumps(body, default=str), self.status, self.headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""

    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(Unavailable)
    async def _unavailable(_: Request, error: Unavailable) -> Response:
        return Problem(503, str(error), type="unavailable", headers={"Retry-After": "2"}).response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        errors = [
            {"where": ".".join(str(part) for part in item["loc"]), "error": item["msg"]} for item in error.errors()
        ]
        detail = "; ".join(f"{item['where']}: {item['error']}" for item in errors)
        return Problem(422, detail, type="invalid-request", errors=errors).response()

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        return Problem(error.status_code, str(error.detail), headers=dict(error.headers or {})).response()

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        log.error("request_failed", path=request.url.path, exc_info=error)
        return Problem(500, "something went wrong on our side; the log has the details", type="internal").response()
