"""Authorization over HTTP: API tokens with roles, as FastAPI dependencies.

A process without tokens listens on loopback alone (``ServiceSettings`` rejects anything else), and every client there
is an operator.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection, Request

from touchline_runtime.console_tokens.tokens import ConsoleTokenError, ConsoleVerifier
from touchline_runtime.http.credentials import presented_token
from touchline_runtime.http.problems import Problem
from touchline_runtime.http.tokens import PERSON_PREFIX, Role, Token, Tokens, TokenSet

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
"""Methods that change nothing (RFC 9110 §9.2.1)."""

LOCAL = Token("local", Role.OPERATOR, "")
"""The token of clients of a process without configured tokens."""

Dependency = Callable[[Request], Awaitable[Token]]


class Access:
    """Decides on requests by their token.

    Args:
        tokens: those in force; a set of SHA-256 in hex is a set of operators.
        local: only this machine reaches the port: without configured credentials every client is an operator.
            Otherwise, without configured credentials, every request is rejected.
        console: checks the tokens that the console signs for people; None: none of them counts.
    """

    def __init__(
        self, tokens: Tokens | Iterable[str] = (), *, local: bool = True, console: ConsoleVerifier | None = None
    ) -> None:
        self._local = local
        self._console = console
        if not isinstance(tokens, Tokens):
            tokens = Tokens(Token(f"api-token-{number}", Role.OPERATOR, one) for number, one in enumerate(tokens, 1))
        self._tokens = tokens

    @property
    def in_force(self) -> TokenSet:
        """The tokens in force."""
        return self._tokens.in_force

    def token_of(self, connection: HTTPConnection) -> Token | None:
        """The known token that a request presents; None when it presents none, or an unknown one."""
        return self._found(connection)[0]

    def _found(self, connection: HTTPConnection) -> tuple[Token | None, str]:
        """The known token that a request presents; else why the one that looks like a console token is not known."""
        tokens = self.in_force
        if not tokens and self._console is None:
            return (LOCAL if self._local else None), ""
        presented = presented_token(connection.headers.get("authorization", ""))
        if not presented:
            return None, ""
        found = tokens.find(presented)
        if found is not None or self._console is None:
            return found, ""
        try:
            return self._console.verify(presented), ""
        except ConsoleTokenError as error:
            return None, str(error) if presented.count(".") == 2 else ""

    def authenticate(self, connection: HTTPConnection) -> Token:
        """The token of a request.

        Raises:
            Problem: 401.
        """
        token, why = self._found(connection)
        if token is None:
            how = "send Authorization: Bearer TOKEN, or in a browser any user with the token as the password"
            if why:
                how = why
            elif not self.in_force:
                how = "none is configured"
            raise Problem(
                401,
                f"this needs an API token, one of TOUCHLINE_API_TOKENS or TOUCHLINE_TOKENS_FILE: {how}",
                type="unauthorized",
                headers={"WWW-Authenticate": 'Basic realm="touchline", charset="UTF-8"'},
            )
        return token

    def require(self, role: Role) -> Dependency:
        """A FastAPI dependency that lets a request pass whose token has the role, and returns the token.

        Raises:
            Problem: 401 without a known token, 403 when its role is below.
        """

        async def check(request: Request) -> Token:
            return self._checked(request, role)

        return check

    def by_method(self, change: Role = Role.OPERATOR) -> Dependency:
        """A dependency for reads and changes: GET needs a viewer, everything else the role for a change."""

        async def check(request: Request) -> Token:
            return self._checked(request, role_for(request.method, change))

        return check

    def _checked(self, request: Request, role: Role) -> Token:
        token = self.authenticate(request)
        if token.role < role:
            raise Problem(
                403,
                f"{_whose(token)} is {_with_article(token.role)}, and this needs {_with_article(role)}",
                type="role-too-low",
            )
        request.state.token = token
        return token


def role_for(method: str, change: Role) -> Role:
    """The role that a request needs: a viewer's to read, ``change`` for everything else."""
    return Role.VIEWER if method in SAFE_METHODS else change


def include_guarded(
    app: FastAPI, router: APIRouter, *dependencies: Callable[..., Any], change: Role = Role.OPERATOR
) -> None:
    """Add routes that need an API token: a viewer's for GET, one of role ``change`` for everything else.

    ``app.state.roles`` has the role of each (path, method).
    """
    guard = app.state.access.by_method(change)
    app.include_router(router, dependencies=[Depends(one) for one in (guard, *dependencies)])
    for route in router.routes:
        if isinstance(route, APIRoute):
            methods = route.methods or ()
            app.state.roles |= {(route.path_format, method): role_for(method, change) for method in methods}


def require_token(tokens: Access | Iterable[str], change: Role = Role.OPERATOR) -> Dependency:
    """A FastAPI dependency that asks for a token: a viewer's for GET, one of role ``change`` for everything else."""
    return (tokens if isinstance(tokens, Access) else Access(tokens)).by_method(change)


def _whose(token: Token) -> str:
    return token.name.removeprefix(PERSON_PREFIX) if token.name.startswith(PERSON_PREFIX) else f"token {token.name!r}"


def _with_article(role: Role) -> str:
    return f"an {role.label}" if role.label[0] in "aeiou" else f"a {role.label}"
