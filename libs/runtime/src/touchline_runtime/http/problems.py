"""Errors over HTTP as problem details (RFC 9457, ``application/problem+json``)."""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from touchline_runtime.errors import Unavailable
from touchline_runtime.process.request_faults import FaultsOver, RequestFaults, route_of

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


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow", title="Problem")

    type: str
    title: str
    status: int
    detail: str


def problem_responses(described: Mapping[int, str | None]) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route for its OpenAPI description: status → when it is answered; None leaves it out."""
    content = {MEDIA_TYPE: {"schema": ProblemDetails.model_json_schema()}}
    return {status: {"description": text, "content": content} for status, text in described.items() if text is not None}


def _driver_errors() -> tuple[type[Exception], ...]:
    """What a database's drivers raise, where they are loaded at all."""
    found: list[type[Exception]] = []
    if (asyncpg := sys.modules.get("asyncpg")) is not None:
        found += [asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError]
    if (errors := sys.modules.get("sqlalchemy.exc")) is not None:
        found.append(errors.SQLAlchemyError)
    return tuple(found)


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""
    app.add_middleware(FaultsOver)

    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(Unavailable)
    async def _unavailable(request: Request, error: Unavailable) -> Response:
        if (problem := _refused_by_database(request, error)) is not None:
            return problem.response()
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

    async def _server_fault(request: Request, error: Exception) -> Response:
        """A database or a broker that does not answer, or refuses: 503; any other error of theirs is ours."""
        problem = server_problem(request, error)
        return await _unexpected(request, error) if problem is None else problem.response()

    kinds: tuple[type[Exception], ...] = (OSError, TimeoutError, *_driver_errors())
    for kind in kinds:
        app.exception_handler(kind)(_server_fault)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        log.error("request_failed", method=request.method, route=route_of(request.scope), exc_info=error)
        return Problem(500, "something went wrong on our side; the log has the details", type="internal").response()


def server_problem(request: Request, error: Exception) -> Problem | None:
    """The answer to a request that failed because a server does not answer, or refuses; None for any other error."""
    # Imported here: ingest has no database, and needn't load its drivers.
    from touchline_runtime.database.faults import database_cause

    if (problem := _refused_by_database(request, error)) is not None:
        return problem
    if (cause := database_cause(error)) is None:
        return None
    RequestFaults.of(request.scope).away(route_of(request.scope), cause)
    detail = "the database does not answer: try again shortly"
    return Problem(503, detail, type="unavailable", headers={"Retry-After": "2"})


def _refused_by_database(request: Request, error: Exception) -> Problem | None:
    """The answer where the database refuses until an operator acts; only the log has the database's own words."""
    if "asyncpg" not in sys.modules:
        return None
    from touchline_runtime.database.faults import REFUSAL, database_cause, is_refusal

    cause = database_cause(error)
    if cause is None or not is_refusal(cause):
        return None
    RequestFaults.of(request.scope).refused(route_of(request.scope), cause, REFUSAL)
    return Problem(503, REFUSAL, type="database-refuses", headers={"Retry-After": "30"})


class TimeLimit:
    """Answers 503 to a request whose answer has not begun in time: a silent server is one that is away.

    An answer that has begun, such as a stream, may take as long as it needs.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_in_time(message: Message) -> None:
            nonlocal begun
            if not begun:
                begun = True
                timer.reschedule(None)
            await send(message)

        timer = asyncio.timeout(self._seconds)
        try:
            async with timer:
                await self._app(scope, receive, send_in_time)
        except TimeoutError:
            if begun:
                raise
            RequestFaults.of(scope).timed_out(route_of(scope), self._seconds)
            detail = f"no answer within {self._seconds:g} s: try again shortly"
            problem = Problem(503, detail, type="unavailable", headers={"Retry-After": "2"})
            await problem.response()(scope, receive, send)
