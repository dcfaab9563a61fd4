"""Logs what makes requests fail, once for all of them: an outage under load must not fill the log.

====================== ======= ===============================================================
event                  level   said of
====================== ======= ===============================================================
``server_away``        warning requests whose database does not answer
``database_refuses``   error   requests that the database refuses until an operator acts
``request_timed_out``  warning requests that got no answer in time
====================== ======= ===============================================================

Each is logged at once, then once a minute with the number of failed requests, and ``fault_over`` when a route that
failed answers again.
"""

import time
from collections.abc import Callable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from touchline_runtime.process.repeated_faults import FaultLog

log = structlog.get_logger(__name__)

_STATE = "touchline_request_faults"


def route_of(scope: Scope) -> str | None:
    """The route as it was declared: a path may hold what belongs in no log, such as an address or a link's token."""
    return getattr(scope.get("route"), "path", None)


class RequestFaults:
    """What makes requests of one application fail."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._away = FaultLog(log, "server_away", clock=clock)
        self._refusing = FaultLog(log, "database_refuses", level="error", clock=clock)
        self._slow = FaultLog(log, "request_timed_out", clock=clock)
        self._routes: dict[str | None, set[FaultLog]] = {}
        """Route → the faults that it failed with."""

    @classmethod
    def of(cls, scope: Scope) -> "RequestFaults":
        """Those of the application that a request is for."""
        state = scope["app"].state
        faults: RequestFaults | None = getattr(state, _STATE, None)
        if faults is None:
            faults = cls()
            setattr(state, _STATE, faults)
        return faults

    @property
    def any(self) -> bool:
        """Whether a request failed, and none of its route was answered since."""
        return bool(self._routes)

    def away(self, route: str | None, cause: BaseException) -> None:
        """A request failed because its database does not answer."""
        self._note(self._away, route).failed(_words(cause), reason=type(cause).__name__, route=route)

    def refused(self, route: str | None, cause: BaseException, remedy: str) -> None:
        """A request failed because the database refuses it."""
        fault = self._note(self._refusing, route)
        fault.failed(_words(cause), reason=type(cause).__name__, route=route, remedy=remedy)

    def timed_out(self, route: str | None, seconds: float) -> None:
        """A request got no answer in time."""
        error = f"no answer within {seconds:g} s"
        self._note(self._slow, route).failed(error, route=route, seconds=seconds)

    def _note(self, fault: FaultLog, route: str | None) -> FaultLog:
        self._routes.setdefault(route, set()).add(fault)
        return fault

    def answered(self, route: str | None) -> None:
        """A request was answered: what its route failed with is over, for the other routes too."""
        over = self._routes.pop(route, set())
        for fault in over:
            fault.over()
        if over:
            left = {other: faults - over for other, faults in self._routes.items()}
            self._routes = {other: faults for other, faults in left.items() if faults}


def _words(cause: BaseException) -> str:
    return f"{type(cause).__name__}: {cause}"


class FaultsOver:
    """Notes which routes answer again. Without a fault it passes requests on as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        faults = RequestFaults.of(scope) if scope["type"] == "http" else None
        if faults is None or not faults.any:
            await self._app(scope, receive, send)
            return

        async def note_and_send(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                faults.answered(route_of(scope))
            await send(message)

        await self._app(scope, receive, note_and_send)
