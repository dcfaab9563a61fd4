"""``/sign-in`` and ``/sign-out``."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from touchline_runtime.metrics import Metrics

from touchline_console.application.ports import Services
from touchline_console.application.sessions import Person, Sessions
from touchline_console.application.sign_in import NotAccepted, TokenCheck, check
from touchline_console.core.roles import VIEWER
from touchline_console.entrypoints.http.pages.context import Pages
from touchline_console.entrypoints.http.security import COOKIE
from touchline_console.metrics import SIGN_INS


def sign_in_router(
    pages: Pages,
    sessions: Sessions,
    tokens: TokenCheck,
    services_for: Callable[[Person], Services],
    metrics: Metrics,
) -> APIRouter:
    """Sign in, sign out."""
    router = APIRouter(include_in_schema=False)

    def form(request: Request, back: str, reason: str = "", status: int = 200) -> HTMLResponse:
        return pages.renderer.part(request, "sign_in.html", status=status, back=back, reason=reason)

    @router.get("/sign-in")
    async def asked(request: Request, next: str = "/") -> HTMLResponse:  # noqa: A002
        return form(request, next)

    @router.post("/sign-in")
    async def signed_in(
        request: Request,
        token: Annotated[str, Form(max_length=1000)],
        next: Annotated[str, Form(max_length=4000)] = "/",  # noqa: A002
    ) -> Response:
        token = token.strip()
        found = await check(token, tokens, services_for(Person("", VIEWER, token)))
        if isinstance(found, NotAccepted):
            metrics.counter(SIGN_INS).labels("rejected").inc()
            return form(request, next, found.reason, 401)
        metrics.counter(SIGN_INS).labels("accepted").inc()
        session = sessions.open(found.name, found.role, token, datetime.now(UTC))
        answer = RedirectResponse(_own_path(next), 303)
        answer.set_cookie(
            COOKIE,
            session,
            max_age=int(sessions.lasting.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @router.post("/sign-out")
    async def signed_out(request: Request) -> Response:
        session = request.cookies.get(COOKIE)
        if session:
            sessions.end(session)
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(COOKIE)
        return answer

    return router


def _own_path(address: str) -> str:
    """Where to go after signing in: always a path of this console."""
    parts = urlsplit(address.replace("\\", "/"))
    inside = not parts.scheme and not parts.netloc and parts.path.startswith("/") and not parts.path.startswith("//")
    return address if inside and "\\" not in address else "/"
