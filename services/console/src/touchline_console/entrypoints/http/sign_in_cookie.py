"""The cookies of sign-in: the session's, and the one that a browser keeps while a person is at the provider."""

import json
from datetime import datetime, timedelta

from cryptography.fernet import Fernet, InvalidToken
from fastapi import Request, Response

from touchline_console.application.access.by_provider import LASTS, Transaction

COOKIE = "touchline_session"
_BEGUN = "touchline_sign_in"
_PATH = "/sign-in"


class SealedTransactions:
    """Keeps a transaction in the browser that began it, encrypted and authenticated, for ten minutes.

    The key is of this process: what began before a restart has to begin again.
    """

    def __init__(self) -> None:
        self._fernet = Fernet(Fernet.generate_key())

    def keep(self, answer: Response, transaction: Transaction, now: datetime, *, secure: bool) -> None:
        """Put it into the answer's cookies."""
        sealed = self._fernet.encrypt_at_time(json.dumps(transaction.fields()).encode(), int(now.timestamp()))
        # Lax: the browser comes back from another site.
        answer.set_cookie(
            _BEGUN,
            sealed.decode(),
            max_age=int(LASTS.total_seconds()),
            path=_PATH,
            httponly=True,
            samesite="lax",
            secure=secure,
        )

    def find(self, request: Request, now: datetime) -> Transaction | None:
        """What this browser began; None where it began nothing, or too long ago."""
        sealed = request.cookies.get(_BEGUN, "")
        try:
            opened = self._fernet.decrypt_at_time(sealed.encode(), int(LASTS.total_seconds()), int(now.timestamp()))
        except (InvalidToken, UnicodeEncodeError):
            return None
        return Transaction(**json.loads(opened))

    def forget(self, answer: Response) -> None:
        """Take it from the browser."""
        answer.delete_cookie(_BEGUN, path=_PATH)


def keep_session(answer: Response, session: str, lasting: timedelta, *, secure: bool, from_provider: bool) -> None:
    """Put a session's id into the answer's cookies.

    Where the browser comes back from the provider, `strict` would keep the cookie from the page that follows.
    """
    answer.set_cookie(
        COOKIE,
        session,
        max_age=int(lasting.total_seconds()),
        httponly=True,
        samesite="lax" if from_provider else "strict",
        secure=secure,
    )
