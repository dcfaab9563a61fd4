"""Sign-in by OpenID Connect: the authorization code flow with PKCE, `state` and `nonce`.

``begin`` gives the address to send the browser to, and a transaction that the browser keeps, sealed, in a cookie.
``finish`` takes both when the browser comes back. A transaction counts once.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from touchline_console.core.access.claims import ClaimRules, lacks_groups, name_of, role_of

LASTS = timedelta(minutes=10)
"""How long a person may take at the provider."""
_MOST_USED = 100_000


class ProviderFault(Exception):  # noqa: N818  (as the faults of services are named)
    """The provider does not answer, or answers what can't be used. The text says what, and what to do."""


class SignInRejected(Exception):  # noqa: N818
    """This sign-in does not count. The text is for the person."""

    def __init__(self, reason: str, status: int = 401) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Transaction:
    """One sign-in that has begun."""

    state: str
    nonce: str
    verifier: str
    back: str

    def fields(self) -> dict[str, str]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Identity:
    """What the provider says of a person; ``claims`` are checked."""

    claims: Mapping[str, Any]
    id_token: str
    access_token: str


@dataclass(frozen=True)
class SignedIn:
    """A person who may come in."""

    name: str
    role: str
    subject: str
    id_token: str


class IdentityProvider(Protocol):
    """The provider. Its methods raise ProviderFault, and SignInRejected for what it says is wrong."""

    @property
    def issuer(self) -> str:
        """Its issuer."""

    async def authorization_address(self, transaction: Transaction, *, again: bool) -> str:
        """Where the browser is sent to. ``again``: the person is asked who they are, even when the provider knows."""

    async def needs_issuer(self) -> bool:
        """Whether it says that its answers name it (RFC 9207)."""

    async def identity(self, code: str, transaction: Transaction) -> Identity:
        """Who the code is of."""

    async def more_claims(self, identity: Identity) -> Mapping[str, Any]:
        """What the userinfo endpoint adds; empty where there is none."""

    async def sign_out_address(self, id_token: str) -> str | None:
        """Where the browser signs out of the provider too; None where it can't."""


class ProviderSignIn:
    """Signs people in by one provider."""

    def __init__(self, provider: IdentityProvider, rules: ClaimRules, title: str) -> None:
        self.provider = provider
        self.title = title
        self.title_first = title[:1].upper() + title[1:]
        """The title where a sentence begins with it."""
        self._rules = rules
        self._used: dict[str, datetime] = {}

    async def begin(self, back: str, *, again: bool = False) -> tuple[str, Transaction]:
        """The address to send the browser to, and what it keeps meanwhile."""
        transaction = Transaction(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), back)
        return await self.provider.authorization_address(transaction, again=again), transaction

    async def finish(self, transaction: Transaction, answer: Mapping[str, str], now: datetime) -> SignedIn:
        """Who comes back from the provider.

        Raises:
            SignInRejected: the answer is not one to this transaction, or the person has no role.
            ProviderFault: the provider does not answer.
        """
        if not hmac.compare_digest(answer.get("state", "").encode(), transaction.state.encode()):
            raise SignInRejected("The answer is not one to the sign-in that this browser began. Sign in again.", 400)
        issuer = answer.get("iss")
        if issuer is None and await self.provider.needs_issuer():
            raise SignInRejected("The answer does not name the identity provider. Sign in again.", 400)
        if issuer is not None and issuer != self.provider.issuer:
            raise SignInRejected("The answer is of another identity provider. Sign in again.", 400)
        if "error" in answer:
            raise _refused(self.title_first, answer)
        if not answer.get("code"):
            raise SignInRejected("The answer has no code. Sign in again.", 400)
        self._use(transaction.state, now)
        return await self._admitted(await self.provider.identity(answer["code"], transaction))

    async def _admitted(self, identity: Identity) -> SignedIn:
        claims = identity.claims
        if lacks_groups(claims, self._rules) and identity.access_token:
            # What is signed wins over what is not.
            claims = {**await self.provider.more_claims(identity), **claims}
        name, subject = name_of(claims, self._rules), claims.get("sub")
        if name is None or not isinstance(subject, str):
            raise SignInRejected(f"{self.title_first} did not say who you are.", 403)
        role = role_of(claims, self._rules)
        if role is None:
            raise SignInRejected(
                f"You are {name} at {self.title}, and none of your groups there has a role here. Ask the operator of "
                "Touchline to add you to a group of TOUCHLINE_OIDC_ROLES, and sign in again.",
                403,
            )
        return SignedIn(name, role, subject, identity.id_token)

    def _use(self, state: str, now: datetime) -> None:
        self._used = {one: until for one, until in self._used.items() if until > now}
        if state in self._used or len(self._used) >= _MOST_USED:
            raise SignInRejected("This sign-in was used already. Sign in again.", 400)
        self._used[state] = now + LASTS


def _refused(title: str, answer: Mapping[str, str]) -> SignInRejected:
    said = "".join(one for one in answer.get("error_description", "") if one.isprintable())[:300]
    error = answer["error"][:100]
    if error in ("server_error", "temporarily_unavailable"):
        return SignInRejected(f"{title} can't sign anybody in now ({error}). Try again later. {said}".strip(), 503)
    return SignInRejected(f"{title} did not sign you in ({error}). {said}".strip(), 403)
