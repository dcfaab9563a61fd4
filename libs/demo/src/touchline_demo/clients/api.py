"""Clients of the company's systems: they post events and count the responses."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import httpx
import orjson

from touchline_demo.company.people import Event, InvalidEvent

_PER_POST = 1000
_TRIES = 30


class ClientError(Exception):
    """An endpoint rejected a valid event or accepted an invalid one; the text quotes the response."""


@dataclass
class Answers:
    """Totals of an endpoint's responses.

    Attributes:
        accepted: items that were answered with 2xx: a touchpoint, or a dead letter of a webhook.
        rejected: invalid events that were rejected, as expected.
        resent: items posted again after a 503; each may be on the topic twice.
    """

    accepted: int = 0
    rejected: int = 0
    resent: int = 0

    def add(self, other: "Answers") -> None:
        """Sum up."""
        self.accepted += other.accepted
        self.rejected += other.rejected
        self.resent += other.resent


class SourceClient(Protocol):
    """How one of the company's systems posts to Touchline."""

    async def post(self, items: Sequence[Event | InvalidEvent]) -> Answers:
        """Post in order; returns once every item was answered for.

        Raises:
            ClientError: a valid event was rejected, or an invalid one was accepted.
        """


class ApiClient:
    """``POST /v1/touchpoints``, as newline-delimited JSON."""

    def __init__(self, http: httpx.AsyncClient, url: str, write_key: str) -> None:
        self._http = http
        self._url = f"{url}/v1/touchpoints"
        self._headers = {"authorization": f"Bearer {write_key}", "content-type": "application/x-ndjson"}

    async def post(self, items: Sequence[Event | InvalidEvent]) -> Answers:
        """Post in order, a thousand a request."""
        answers = Answers()
        for start in range(0, len(items), _PER_POST):
            answers.add(await self._post(items[start : start + _PER_POST]))
        return answers

    async def _post(self, items: Sequence[Event | InvalidEvent]) -> Answers:
        lines = [one.body if isinstance(one, InvalidEvent) else one.as_posted() for one in items]
        body = b"\n".join(orjson.dumps(line) for line in lines)
        answers = Answers()
        answer = await post_with_retries(self._http, self._url, body, self._headers, len(items), answers)
        if answer.status_code not in (202, 422):
            raise ClientError(f"{self._url} answered {answer.status_code}: {answer.text[:500]}")
        for result in orjson.loads(answer.content)["results"]:
            refused, item = result["status"] == "rejected", items[result["index"]]
            if refused != isinstance(item, InvalidEvent):
                raise ClientError(f"{self._url} said {result} of {lines[result['index']]}")
            answers.rejected += refused
            answers.accepted += not refused
        return answers


async def post_with_retries(
    http: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str], items: int, answers: Answers
) -> httpx.Response:
    """POST, and retry while the endpoint answers 503 or 429, after its Retry-After."""
    for _ in range(_TRIES):
        try:
            answer = await http.post(url, content=body, headers=headers)
        except httpx.TransportError as error:
            raise ClientError(f"{url}: {type(error).__name__}: {error}") from None
        if answer.status_code not in (429, 503):
            return answer
        answers.resent += items
        await asyncio.sleep(float(answer.headers.get("retry-after", "1")))
    return answer
