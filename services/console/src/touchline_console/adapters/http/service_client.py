"""One service's HTTP API. Transport errors and problem details become the errors of ``application.ports``."""

from collections.abc import AsyncIterator, Callable, Mapping
from time import perf_counter
from typing import Any

import httpx
import orjson
from touchline_runtime.metrics import Metrics

from touchline_console.application.ports import Computing, NotFound, Rejected, RequestRejected, Unreachable
from touchline_console.metrics import SERVICE_FAILURES, SERVICE_SECONDS

_CONNECT_SECONDS = 2.0
_AWAY = (502, 503, 504)


class ServiceClient:
    """A connection pool to one service, shared by everyone; ``as_person`` binds a token."""

    def __init__(self, name: str, url: str, timeout: float, metrics: Metrics) -> None:
        self.name = name
        self.url = url.rstrip("/")
        self._metrics = metrics
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=20),
            trust_env=False,
        )

    def as_person(self, token: Callable[[], str | None]) -> "PersonalClient":
        """The service, asked with a person's token. ``token`` gives one for each request."""
        return PersonalClient(self, token)

    async def close(self) -> None:
        """Close the pool."""
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        token: str | None,
        parameters: Mapping[str, Any],
        body: Any = None,
        *,
        seconds: float | None = None,
    ) -> Any:
        """The JSON of an answer.

        Raises:
            ServiceFault: anything but a 2xx.
        """
        began = perf_counter()
        patience = None if seconds is None else httpx.Timeout(seconds, connect=_CONNECT_SECONDS)
        try:
            answer = await self._http.request(
                method,
                path,
                params=_given(parameters) or None,
                headers=_headers(token),
                json=body if body is not None else None,
                timeout=patience or httpx.USE_CLIENT_DEFAULT,
            )
        except httpx.TimeoutException:
            raise self._failed("timeout", Unreachable(self.name, f"no answer from {self.url} in time")) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._failed(
                "unreachable", Unreachable(self.name, f"{self.url}: {error or type(error).__name__}")
            ) from None
        self._metrics.histogram(SERVICE_SECONDS).labels(self.name).observe(perf_counter() - began)
        return self._read(answer)

    def _read(self, answer: httpx.Response) -> Any:
        if answer.status_code == 202 and answer.request.method == "GET":
            raise Computing(self.name, "it is being computed")
        if answer.is_success:
            if not answer.content:
                return None
            try:
                return orjson.loads(answer.content)
            except orjson.JSONDecodeError:
                raise self._failed(
                    "error", Unreachable(self.name, f"{self.url} answered something that is not JSON")
                ) from None
        detail = _detail(answer)
        if answer.status_code in (401, 403):
            raise self._failed("refused", RequestRejected(self.name, detail))
        if answer.status_code == 404:
            raise NotFound(self.name, detail)
        if answer.status_code in _AWAY or answer.status_code >= 500:
            raise self._failed("error", Unreachable(self.name, f"{answer.status_code}: {detail}"))
        raise Rejected(self.name, detail, answer.status_code, _problem(answer))

    def _failed(self, kind: str, fault: Any) -> Any:
        self._metrics.counter(SERVICE_FAILURES).labels(self.name, kind).inc()
        return fault

    async def stream(
        self, path: str, token: str | None, parameters: Mapping[str, Any]
    ) -> AsyncIterator[tuple[str, Any]]:
        """Server-sent events as (event, data); a comment (the service's heartbeat) is ("", None)."""
        try:
            async with self._http.stream(
                "GET",
                path,
                params=_given(parameters),
                headers=_headers(token),
                timeout=httpx.Timeout(60, connect=_CONNECT_SECONDS),
            ) as answer:
                if not answer.is_success:
                    await answer.aread()
                    self._read(answer)
                event = ""
                async for line in answer.aiter_lines():
                    if line.startswith("event:"):
                        event = line[6:].strip()
                    elif line.startswith("data:"):
                        yield event, orjson.loads(line[5:])
                        event = ""
                    elif line.startswith(":"):
                        yield "", None
        except httpx.HTTPError as error:
            raise self._failed("unreachable", Unreachable(self.name, f"{self.url}: {error}")) from None


class PersonalClient:
    """The service, asked with one person's token."""

    def __init__(self, client: ServiceClient, token: Callable[[], str | None]) -> None:
        self.name = client.name
        self._client = client
        self._token = token

    async def get(self, path: str, **parameters: Any) -> Any:
        """The JSON of a GET. Parameters that are None or empty are left out."""
        return await self._client.request("GET", path, self._token(), parameters)

    async def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, seconds: float | None = None
    ) -> Any:
        """The JSON of a request that changes or computes something."""
        return await self._client.request(method, path, self._token(), {}, body, seconds=seconds)

    def events(self, path: str, **parameters: Any) -> AsyncIterator[tuple[str, Any]]:
        """Server-sent events as (event, data)."""
        return self._client.stream(path, self._token(), parameters)


def _headers(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value not in (None, "", [])}


def _problem(answer: httpx.Response) -> dict[str, Any]:
    """The members of a problem (RFC 9457); empty where the answer is none."""
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _detail(answer: httpx.Response) -> str:
    body = _problem(answer)
    return str(body.get("detail") or body.get("title") or f"{answer.status_code} without an explanation")
