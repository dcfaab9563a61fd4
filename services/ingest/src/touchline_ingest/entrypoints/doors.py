"""What makes a function a door: timing, counting, one map from refusals to answers, and a place in the API's page."""

import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from touchline_runtime.errors import Unavailable
from touchline_runtime.metrics import Metrics
from touchline_runtime.problems import Problem

from touchline_ingest import metrics as declared
from touchline_ingest.core.refusals import RequestRefused
from touchline_ingest.entrypoints.reception import RETRY_AFTER_SECONDS

ANSWER_HEADERS = "touchline.answer-headers"
"""In a request's scope: headers for its answer, whatever that will be."""

Door = Callable[[Request], Awaitable[Response]]


class PlainRoute(APIRoute):
    """A route that FastAPI documents and does not run: the request goes to the endpoint as it is.

    FastAPI's own handling (dependencies, models, serialisation) costs more than everything a door does.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Any = self.endpoint

        async def handle(request: Request) -> Response:
            answer: Response = await endpoint(request)
            return answer

        return handle


def router() -> APIRouter:
    """A router whose routes are doors."""
    return APIRouter(route_class=PlainRoute)


class DoorFrame:
    """Wraps doors of one name so that each request is timed, counted, and answered whatever happens."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self._name = name
        self._seconds = metrics.histogram(declared.REQUEST_SECONDS).labels(name)
        self._requests = metrics.counter(declared.REQUESTS)
        self._counts: dict[int, Any] = {}

    def __call__(self, door: Door) -> Door:
        """The door in its frame."""

        async def framed(request: Request) -> Response:
            started = time.perf_counter()
            response = await self._answer(door, request)
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

        framed.__name__ = door.__name__
        framed.__doc__ = door.__doc__
        return framed

    async def _answer(self, door: Door, request: Request) -> Response:
        try:
            return await door(request)
        except RequestRefused as refusal:
            return Problem(refusal.status, str(refusal), type=refusal.type).response()
        except Problem as problem:
            return problem.response()
        except Unavailable as error:
            headers = {"Retry-After": RETRY_AFTER_SECONDS}
            return Problem(503, str(error), type="unavailable", headers=headers).response()
        except ClientDisconnect:
            # Nobody is there to read it; 499 is what proxies write for it.
            return Response(status_code=499)
