"""``/sign-in`` and ``/sign-out``: by token, and by the identity provider where one is configured."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from touchline_runtime.metrics import Metrics

from touchline_console.application.access.by_provider import ProviderFault, ProviderSignIn, SignInRejected
from touchline_console.application.access.by_token import NotAccepted, TokenCheck, check
from touchline_console.application.access.sessions import Person, Sessions
from touchline_console.application.ports import Services
from touchline_console.core.roles import VIEWER
from touchline_console.entrypoints.http.pages.context import Pages
from touchline_console.entrypoints.http.sign_in_cookie import COOKIE, SealedTransactions, keep_session
from touchline_console.metrics import SIGN_INS

log = structlog.get_logger(__name__)
_LONGEST_PATH = 1_500


@dataclass(frozen=True)
class SignIn:
    """What signing in needs.

    Attributes:
        provider: signs in by OpenID Connect; None: by token alone.
        console_url: the console's address, as browsers reach it.
    """

    sessions: Sessions
    tokens: TokenCheck
    provider: ProviderSignIn | None
    services_for: Callable[[Person], Services]
    console_url: str

    @property
    def required(self) -> bool:
        """Whether pages are for people who are signed in."""
        return self.tokens.configured or self.provider is not None

    def secure(self, request: Request) -> bool:
        """Whether cookies are for https alone."""
        return request.url.scheme == "https" or self.console_url.startswith("https://")


def sign_in_router(pages: Pages, sign_in: SignIn, metrics: Metrics) -> APIRouter:
    """Sign in, sign out."""
    router = APIRouter(include_in_schema=False)
    transactions = SealedTransactions()

    def form(request: Request, back: str, reason: str = "", status: int = 200) -> HTMLResponse:
        title = sign_in.provider.title if sign_in.provider is not None else ""
        return pages.renderer.part(
            request, "sign_in.html", status=status, back=back, reason=reason, provider=title, again=status in (401, 403)
        )

    def rejected(request: Request, back: str, reason: str, status: int, by: str) -> HTMLResponse:
        metrics.counter(SIGN_INS).labels("rejected").inc()
        log.warning("sign_in_rejected", by=by, reason=reason)
        return form(request, back, reason, status)

    def welcomed(request: Request, person: Person, back: str) -> Response:
        metrics.counter(SIGN_INS).labels("accepted").inc()
        log.info("signed_in", name=person.name, role=person.role, subject=person.subject)
        # An id that was in the browser before is good for nothing after.
        if COOKIE in request.cookies:
            sign_in.sessions.end(request.cookies[COOKIE])
        session = sign_in.sessions.open(person, datetime.now(UTC))
        answer = RedirectResponse(own_path(back), 303)
        lasting, secure = sign_in.sessions.lasting, sign_in.secure(request)
        keep_session(answer, session, lasting, secure=secure, from_provider=person.by_provider)
        return answer

    @router.get("/sign-in")
    async def asked(request: Request, next: str = "/") -> HTMLResponse:  # noqa: A002
        return form(request, own_path(next))

    @router.post("/sign-in")
    async def signed_in(
        request: Request,
        token: Annotated[str, Form(max_length=1000)],
        next: Annotated[str, Form(max_length=4000)] = "/",  # noqa: A002
    ) -> Response:
        token, back = token.strip(), own_path(next)
        found = await check(token, sign_in.tokens, sign_in.services_for(Person("", VIEWER, token)))
        if isinstance(found, NotAccepted):
            return rejected(request, back, found.reason, 401, "token")
        return welcomed(request, Person(found.name, found.role, token), back)

    if sign_in.provider is not None:
        _add_provider(router, sign_in, sign_in.provider, transactions, form, rejected, welcomed)

    @router.post("/sign-out")
    async def signed_out(request: Request) -> Response:
        session = request.cookies.get(COOKIE, "")
        person = sign_in.sessions.find(session, datetime.now(UTC))
        sign_in.sessions.end(session)
        answer: Response = RedirectResponse("/sign-in", 303)
        if person is not None and person.id_token and sign_in.provider is not None:
            address = await sign_in.provider.provider.sign_out_address(person.id_token)
            if address is not None:
                # A page and not a redirect: the policy of the page with the button allows forms of this site alone.
                title = sign_in.provider.title
                answer = pages.renderer.part(request, "signed_out.html", address=address, provider=title)
        answer.delete_cookie(COOKIE)
        return answer

    return router


def _add_provider(
    router: APIRouter,
    sign_in: SignIn,
    provider: ProviderSignIn,
    transactions: SealedTransactions,
    form: Callable[[Request, str, str, int], HTMLResponse],
    rejected: Callable[[Request, str, str, int, str], HTMLResponse],
    welcomed: Callable[[Request, Person, str], Response],
) -> None:
    def away(request: Request, back: str, fault: ProviderFault) -> HTMLResponse:
        log.error("sign_in_unavailable", error=str(fault))
        remedy = "Sign in with a token, or try again when it answers. People who are signed in are not affected."
        return form(request, back, f"{provider.title_first} can't sign you in now. {remedy} ({fault})", 503)

    @router.get("/sign-in/provider")
    async def to_provider(request: Request, next: str = "/", again: bool = False) -> Response:  # noqa: A002
        back = own_path(next)
        try:
            address, transaction = await provider.begin(back, again=again)
        except ProviderFault as fault:
            return away(request, back, fault)
        answer = RedirectResponse(address, 303)
        transactions.keep(answer, transaction, datetime.now(UTC), secure=sign_in.secure(request))
        return answer

    @router.get("/sign-in/callback")
    async def from_provider(request: Request) -> Response:
        now = datetime.now(UTC)
        transaction = transactions.find(request, now)
        answer: Response
        if transaction is None:
            reason = (
                "This browser began no sign-in in the last ten minutes, or began it under another address than "
                f"{sign_in.console_url}. Sign in again."
            )
            return rejected(request, "/", reason, 400, "provider")
        try:
            found = await provider.finish(transaction, dict(request.query_params), now)
        except SignInRejected as error:
            answer = rejected(request, transaction.back, str(error), error.status, "provider")
        except ProviderFault as fault:
            answer = away(request, transaction.back, fault)
        else:
            person = Person(found.name, found.role, None, subject=found.subject, id_token=found.id_token)
            answer = welcomed(request, person, transaction.back)
        transactions.forget(answer)
        return answer


def own_path(address: str) -> str:
    """Where to go after signing in: always a path of this console.

    Browsers read `\\` as `/`, and leave out line breaks, tabs, and spaces at the beginning.
    """
    odd = any(unicodedata.category(character)[0] in "CZ" for character in address)
    if (
        odd
        or "\\" in address
        or not address.startswith("/")
        or address.startswith("//")
        or len(address) > _LONGEST_PATH
    ):
        return "/"
    parts = urlsplit(address)
    return "/" if parts.scheme or parts.netloc or parts.path.startswith(("/sign-in", "/sign-out")) else address
