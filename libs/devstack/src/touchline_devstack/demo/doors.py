"""The company's systems, each at the door it uses: deeds in, what Touchline answered for out."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import httpx
import orjson

from touchline_devstack.demo.people import Deed, Mistake

_PER_POST = 1000
_TRIES = 30


class DoorError(Exception):
    """A door refused what it should have taken; the text quotes its answer."""


@dataclass
class Answers:
    """What a door answered, summed up.

    Attributes:
        accepted: 2xx for each: a touchpoint, or a dead letter that ingest took upon itself.
        rejected: mistakes that were refused, as they should be.
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


class Door(Protocol):
    """How one of the company's systems tells Touchline."""

    async def post(self, told: Sequence[Deed | Mistake]) -> Answers:
        """Post in order; returns once every item was answered for.

        Raises:
            DoorError: something sound was refused, or a mistake was not.
        """


class ApiDoor:
    """``POST /v1/touchpoints``, as newline-delimited JSON."""

    def __init__(self, http: httpx.AsyncClient, url: str, write_key: str) -> None:
        self._http = http
        self._url = f"{url}/v1/touchpoints"
        self._headers = {"authorization": f"Bearer {write_key}", "content-type": "application/x-ndjson"}

    async def post(self, told: Sequence[Deed | Mistake]) -> Answers:
        """Post in order, a thousand a request."""
        answers = Answers()
        for start in range(0, len(told), _PER_POST):
            answers.add(await self._post(told[start : start + _PER_POST]))
        return answers

    async def _post(self, told: Sequence[Deed | Mistake]) -> Answers:
        lines = [one.body if isinstance(one, Mistake) else one.as_posted() for one in told]
        body = b"\n".join(orjson.dumps(line) for line in lines)
        answers = Answers()
        answer = await post_patiently(self._http, self._url, body, self._headers, len(told), answers)
        if answer.status_code not in (202, 422):
            raise DoorError(f"{self._url} answered {answer.status_code}: {answer.text[:500]}")
        for result in orjson.loads(answer.content)["results"]:
            refused, item = result["status"] == "rejected", told[result["index"]]
            if refused != isinstance(item, Mistake):
                raise DoorError(f"{self._url} said {result} of {lines[result['index']]}")
            answers.rejected += refused
            answers.accepted += not refused
        return answers


async def post_patiently(
    http: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str], items: int, answers: Answers
) -> httpx.Response:
    """POST, and again while the door is busy (503, 429), as its Retry-After says."""
    for _ in range(_TRIES):
        try:
            answer = await http.post(url, content=body, headers=headers)
        except httpx.TransportError as error:
            raise DoorError(f"{url}: {type(error).__name__}: {error}") from None
        if answer.status_code not in (429, 503):
            return answer
        answers.resent += items
        await asyncio.sleep(float(answer.headers.get("retry-after", "1")))
    return answer
