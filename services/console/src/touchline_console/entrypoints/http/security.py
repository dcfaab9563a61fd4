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

from touchline_console.application.access.by_token import TokenCheck
from touchline_console.application.access.sessions import ANYONE, Person, Sessions
from touchline_console.application.parts import explain
from touchline_console.application.ports import RequestRejected
from touchline_console.core.roles import may
from touchline_console.entrypoints.http.pages.sign_in import SignIn
from touchline_console.entrypoints.http.rendering import Renderer
from touchline_console.entrypoints.http.sign_in_cookie import COOKIE
from touchline_console.metrics import PAGE_SECONDS

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


def install(app: FastAPI, sign_in: SignIn, renderer: Renderer, metrics: Metrics) -> None:
    """Sign-in, headers, and the time each page takes."""

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        began = perf_counter()
        person = _person(request, sign_in.sessions, sign_in.tokens)
        path = request.url.path
        if person is None and sign_in.required and not path.startswith(_OPEN_PATHS):
            return _to_sign_in(request)
        request.state.person = person or ANYONE
        request.state.services = sign_in.services_for(request.state.person)
        response = await call_next(request)
        if not path.startswith(("/docs", "/static/")):
            response.headers.setdefault("Cache-Control", "no-store")
        route = request.scope.get("route")
        if route is not None and not path.startswith("/static/"):
            metrics.histogram(PAGE_SECONDS).labels(route.path).observe(perf_counter() - began)
        return response

    @app.exception_handler(RequestRejected)
    async def refused(request: Request, error: RequestRejected) -> Response:
        if not request.state.person.by_provider:
            return _to_sign_in(request)
        # Signing in again would not help: the service does not take the console's word.
        if request.headers.get("hx-request"):
            return renderer.part(request, "parts/problem.html", status=403, missing=explain(error))
        return renderer.part(request, "refused.html", status=403, **explain(error))


def _person(request: Request, sessions: Sessions, tokens: TokenCheck) -> Person | None:
    """Whose session the request's cookie names. A token that was taken away ends its sessions."""
    session = request.cookies.get(COOKIE)
    person = sessions.find(session, datetime.now(UTC)) if session else None
    if person is None or person.by_provider or not tokens.configured:
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
