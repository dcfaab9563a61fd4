"""Who may see a page: sessions, roles, and the policy of every page."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter
from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from touchline_runtime.http.problems import Problem
from touchline_runtime.metrics import Metrics

from touchline_console.application.ports import RequestRejected
from touchline_console.application.sessions import ANYONE, Person, Sessions
from touchline_console.application.sign_in import TokenCheck
from touchline_console.core.roles import may
from touchline_console.metrics import PAGE_SECONDS

COOKIE = "touchline_session"
_OPEN_PATHS = ("/static/", "/healthz", "/readyz", "/metrics", "/sign-in", "/favicon.ico")


class NeedsSignIn(Exception):  # noqa: N818
    """The page is for people who are signed in."""


def sign_in_address(request: Request) -> str:
    """Where to sign in, and come back from."""
    here = request.headers.get("hx-current-url") or str(request.url)
    parts = urlsplit(here)
    back = parts.path + (f"?{parts.query}" if parts.query else "")
    return f"/sign-in?next={quote(back, safe='')}"


def needs(request: Request, role: str) -> None:
    """Raise a 403 problem where the person's role does not include ``role``."""
    person: Person = request.state.person
    if not may(person.role, role):
        raise Problem(403, f"this needs the role {role}; you are signed in as {person.role}", type="forbidden")


def install(
    app: FastAPI, sessions: Sessions, services_for: Callable[[Person], object], metrics: Metrics, tokens: TokenCheck
) -> None:
    """Sign-in, headers, and the time each page takes."""

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        began = perf_counter()
        person = _person(request, sessions, tokens)
        path = request.url.path
        if person is None and tokens.configured and not path.startswith(_OPEN_PATHS):
            return _to_sign_in(request)
        request.state.person = person or ANYONE
        request.state.services = services_for(request.state.person)
        response = await call_next(request)
        if not path.startswith(("/docs", "/static/")):
            response.headers.setdefault("Cache-Control", "no-store")
        route = request.scope.get("route")
        if route is not None and not path.startswith("/static/"):
            metrics.histogram(PAGE_SECONDS).labels(route.path).observe(perf_counter() - began)
        return response

    @app.exception_handler(RequestRejected)
    async def refused(request: Request, error: RequestRejected) -> Response:
        return _to_sign_in(request)


def _person(request: Request, sessions: Sessions, tokens: TokenCheck) -> Person | None:
    """Whose session the request's cookie names. A token that was taken away ends its sessions."""
    session = request.cookies.get(COOKIE)
    person = sessions.find(session, datetime.now(UTC)) if session else None
    if person is None or not tokens.configured:
        return person
    known = tokens.find(person.token or "")
    if known is None:
        sessions.end(session or "")
        return None
    return replace(person, role=known.role)


def _to_sign_in(request: Request) -> Response:
    address = sign_in_address(request)
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"HX-Redirect": address})
    if request.url.path == "/live" or request.method not in ("GET", "HEAD"):
        return Problem(401, "sign in first", type="unauthorized").response()
    return RedirectResponse(address, 303)
