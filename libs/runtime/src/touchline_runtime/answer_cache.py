"""Cache of answers that are computed over many rows. Concurrent requests share one computation.

A fast answer is computed for every request. A slow answer is served from the cache while a newer one is computed in the
background. The first request for a slow answer waits for it, or raises `AnswerNotReady`.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any

import structlog

log = structlog.get_logger(__name__)

FAST_SECONDS = 0.1
FRESH_FACTOR = 20.0
"""A slow answer is computed again when its age exceeds its computation time by this factor."""
MAX_ANSWERS = 300
MAX_CONCURRENT = 2


class AnswerNotReady(Exception):  # noqa: N818  (a state, not an error)
    """The answer is being computed: retry."""


@dataclass
class _Answer:
    value: Any
    computed_at: float
    cost: float


class AnswerCache:
    """Key → answer. At most one computation for each key, and `MAX_CONCURRENT` in all, run at a time.

    Args:
        fast_seconds: answers that take less are computed for every request.
        wait_seconds: how long a request waits for an answer that is not in the cache. None: as long as it takes.
        observe: told the first part of the key, and the seconds that a computation took.
    """

    def __init__(
        self,
        *,
        fast_seconds: float = FAST_SECONDS,
        wait_seconds: float | None = None,
        observe: Callable[[str, float], None] | None = None,
    ) -> None:
        self._fast_seconds = fast_seconds
        self._wait_seconds = wait_seconds
        self._observe = observe
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._running: dict[Hashable, asyncio.Task[Any]] = {}
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def get(self, key: tuple[Hashable, ...], compute: Callable[[], Awaitable[Any]]) -> tuple[Any, float]:
        """The answer, and when it was computed (seconds since the epoch). ``key[0]`` is the kind of answer.

        Raises:
            AnswerNotReady: the answer is not in the cache, and computing it takes longer than ``wait_seconds``.
        """
        known = self._answers.get(key)
        if known is not None and known.cost >= self._fast_seconds:
            self._answers.move_to_end(key)
            if time.time() - known.computed_at > FRESH_FACTOR * known.cost:
                self._start(key, compute)
            return known.value, known.computed_at
        task = self._start(key, compute)
        done, _ = await asyncio.wait({task}, timeout=self._wait_seconds)
        if not done:
            raise AnswerNotReady
        task.result()
        found = self._answers[key]
        return found.value, found.computed_at

    def _start(self, key: tuple[Hashable, ...], compute: Callable[[], Awaitable[Any]]) -> asyncio.Task[Any]:
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._compute(key, compute))
            self._running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return task

    async def _compute(self, key: tuple[Hashable, ...], compute: Callable[[], Awaitable[Any]]) -> None:
        async with self._slots:
            began = time.monotonic()
            value = await compute()
            cost = time.monotonic() - began
        if self._observe is not None:
            self._observe(str(key[0]), cost)
        self._answers[key] = _Answer(value, time.time(), cost)
        self._answers.move_to_end(key)
        while len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)

    def _ended(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._running.pop(key, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("analysis_failed", error=type(error).__name__)
