"""What the command lines ``publish`` and ``diff`` ask of a running service."""

from typing import Any, NoReturn

import httpx
import typer
from rich.console import Console

from touchline_runtime.errors import ConfigurationError, Unavailable

_SECONDS = 30.0


class ServiceClient:
    """A service's API at an address.

    Args:
        token: an API token; empty: none is sent.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def change(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """The answer to a change. One that is refused (409) ends the process with exit code 1.

        Raises:
            Unavailable: the service does not answer.
            ConfigurationError: it answers with another error.
        """
        answer = self._send(method, path, json=body)
        if answer.status_code == 409:
            refuse(_detail(answer))
        return self._checked(answer)

    def get(self, path: str) -> Any:
        """The answer to a read; None where nothing is there (404).

        Raises:
            Unavailable, ConfigurationError: see :meth:`change`.
        """
        answer = self._send("GET", path)
        return None if answer.status_code == 404 else self._checked(answer)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            with httpx.Client(base_url=self._url, headers=self._headers, timeout=_SECONDS) as client:
                return client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._url} does not answer: {error}") from None

    def _checked(self, answer: httpx.Response) -> Any:
        if answer.is_error:
            raise ConfigurationError(f"{self._url} answers {answer.status_code}: {_detail(answer)}")
        return answer.json()


def refuse(text: str) -> NoReturn:
    """Say why a publication is refused, and end with exit code 1."""
    Console(emoji=False, stderr=True, soft_wrap=True).print(text, style="red", highlight=False, markup=False)
    raise typer.Exit(1)


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]
