"""What the public endpoints share: timing, counting, and one map from errors to answers."""

import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from touchline_runtime.errors import Unavailable
from touchline_runtime.http.problems import Problem
from touchline_runtime.metrics import Metrics

from touchline_ingest import metrics as declared
from touchline_ingest.core.touchpoints.refusals import RETRY_AFTER_SECONDS, RequestRefused
from touchline_ingest.entrypoints.http.request_reader import finish_idempotency_key, release_body

ANSWER_HEADERS = "touchline.answer-headers"
"""Key in a request's scope: headers to add to its answer, with any status."""

Handler = Callable[[Request], Awaitable[Response]]


class PlainRoute(APIRoute):
    """A route that FastAPI documents and does not run: the handler gets the request as it is.

    FastAPI's own handling (dependencies, models, serialisation) costs more than everything a handler does.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Any = self.endpoint

        async def handle(request: Request) -> Response:
            answer: Response = await endpoint(request)
            return answer

        return handle


def router() -> APIRouter:
    """A router whose routes are plain."""
    return APIRouter(route_class=PlainRoute)


class MeasuredEndpoint:
    """Decorates the handlers of one endpoint: each request is timed, counted, and answered, also after an error."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self._name = name
        self._seconds = metrics.histogram(declared.REQUEST_SECONDS).labels(name)
        self._requests = metrics.counter(declared.REQUESTS)
        # Created at the start, so that the first 503 is an increase that rate() shows.
        self._counts: dict[int, Any] = {status: self._requests.labels(name, str(status)) for status in (202, 503)}

    def __call__(self, handler: Handler) -> Handler:
        """The decorated handler."""

        async def measured(request: Request) -> Response:
            started = time.perf_counter()
            try:
                response = await self._answer(handler, request)
            finally:
                release_body(request)
            finish_idempotency_key(request, response.status_code)
            self._seconds.observe(time.perf_counter() - started)
            added = request.scope.get(ANSWER_HEADERS)
            if added:
                response.headers.update(added)
            status = response.status_code
            count = self._counts.get(status)
            if count is None:
                count = self._counts[status] = self._requests.labels(self._name, str(status))
            count.inc()
            return response

        measured.__name__ = handler.__name__
        measured.__doc__ = handler.__doc__
        return measured

    async def _answer(self, handler: Handler, request: Request) -> Response:
        try:
            return await handler(request)
        except RequestRefused as refusal:
            return problem_of(refusal).response()
        except Problem as problem:
            return problem.response()
        except Unavailable as error:
            headers = {"Retry-After": RETRY_AFTER_SECONDS}
            return Problem(503, str(error), type="unavailable", headers=headers).response()
        except ClientDisconnect:
            # Nobody reads the answer; 499 is the status that proxies log for it.
            return Response(status_code=499)


def problem_of(refusal: RequestRefused) -> Problem:
    """The problem (RFC 9457) of a refusal."""
    return Problem(refusal.status, str(refusal), type=refusal.type, headers=refusal.headers)
