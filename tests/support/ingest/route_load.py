"""Somebody at every door at once, each hand at one of them, posting as fast as it is answered."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from standardwebhooks import Webhook

from tests.support.ingest.poster import KEY
from tests.support.waiting import wait_until

HOOKS_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OCCURRED_AT = "2026-03-01T12:00:00Z"


@dataclass(frozen=True)
class PreparedRequest:
    """One request, and what has to be somewhere once it is answered with 2xx."""

    path: str
    body: bytes
    headers: dict[str, str]
    marks: list[str]


def _prepared(path: str, value: Any, marks: list[str], content_type: str = "application/json") -> PreparedRequest:
    headers = {"authorization": f"Bearer {KEY}", "content-type": content_type}
    return PreparedRequest(path, json.dumps(value).encode(), headers, marks)


def _touchpoint(mark: str) -> dict[str, Any]:
    return {"id": mark, "type": "page_viewed", "customer_id": f"c-{mark[-2:]}", "occurred_at": OCCURRED_AT}


def _signed(mark: str, body: bytes) -> PreparedRequest:
    now = datetime.now(UTC)
    names = {"webhook-id": mark, "webhook-timestamp": str(int(now.timestamp()))}
    signature = Webhook(HOOKS_SECRET).sign(mark, now, body.decode())
    return PreparedRequest("/v1/webhooks/hooks", body, names | {"webhook-signature": signature}, [mark])


def single(mark: str) -> PreparedRequest:
    return _prepared("/v1/touchpoints", _touchpoint(mark), [mark])


def batch(mark: str) -> PreparedRequest:
    marks = [f"{mark}-{number}" for number in range(20)]
    return _prepared("/v1/touchpoints", [_touchpoint(one) for one in marks], marks)


def segment(mark: str) -> PreparedRequest:
    marks = [f"{mark}-{number}" for number in range(5)]
    call = {"type": "track", "event": "Order Completed", "timestamp": OCCURRED_AT}
    calls = [call | {"userId": f"c-{one[-2:]}", "messageId": one} for one in marks]
    return _prepared("/v1/batch", {"batch": calls}, marks)


def cloudevent(mark: str) -> PreparedRequest:
    data = _touchpoint(mark)
    event = {"specversion": "1.0", "id": mark, "source": "/s", "type": "touchline.touchpoint", "time": OCCURRED_AT}
    return _prepared("/v1/cloudevents", event | {"data": data}, [mark], "application/cloudevents+json")


def webhook(mark: str) -> PreparedRequest:
    return _signed(mark, json.dumps(_touchpoint(mark)).encode())


def nonsense(mark: str) -> PreparedRequest:
    """Genuine, and not understood: its 2xx means that it is among the dead letters."""
    return _signed(mark, f"what is {mark}?".encode())


Make = Callable[[str], PreparedRequest]
TO_TOUCHPOINTS: tuple[Make, ...] = (single, batch, segment, cloudevent, webhook)
TO_DEAD_LETTERS: tuple[Make, ...] = (nonsense,)


@dataclass
class RouteLoad:
    """Clients that post to every route at once, and what was answered, by route.

    Attributes:
        promised: marks of what was answered with 2xx.
        statuses: how often each status was the answer.
        without_retry_after: 503s that didn't say when to come back.
    """

    url: str
    clients: int = 3
    promised: dict[str, list[str]] = field(default_factory=dict)
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    without_retry_after: int = 0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> "RouteLoad":
        limits = httpx.Limits(max_connections=None)
        self._client = httpx.AsyncClient(timeout=60, trust_env=False, limits=limits)
        self._tasks = []
        for make in (*TO_TOUCHPOINTS, *TO_DEAD_LETTERS):
            self.promised[make.__name__] = []
            self.statuses[make.__name__] = Counter()
            self._tasks += [asyncio.create_task(self._post_repeatedly(make, client)) for client in range(self.clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self._client.aclose()

    async def stop(self) -> None:
        """Let every client finish the request it has begun."""
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def every_endpoint_answers(self, *statuses: int, times: int = 5) -> None:
        """Wait until each door has answered so, that often more."""
        before = {name: self._heard(name, statuses) for name in self.statuses}
        await wait_until(lambda: all(self._heard(name, statuses) >= count + times for name, count in before.items()))

    def _heard(self, name: str, statuses: tuple[int, ...]) -> int:
        return sum(self.statuses[name][status] for status in statuses)

    async def _post_repeatedly(self, make: Make, client: int) -> None:
        for number in itertools.count():
            request = make(f"{make.__name__}-{client}-{number}")
            while not self._stop.is_set():
                answer = await self._client.post(self.url + request.path, content=request.body, headers=request.headers)
                self.statuses[make.__name__][answer.status_code] += 1
                if answer.is_success:
                    self.promised[make.__name__] += request.marks
                    break
                self.without_retry_after += not answer.headers.get("retry-after", "").isdigit()
                # A client that is refused at once would ask thousands of times; the services ask for two seconds.
                await asyncio.sleep(0.2)
            else:
                return
