"""The worker that delivers: claims what is due, sends it, writes down what became of it.

Every endpoint has a number of places of its own, and a send holds neither a database connection nor another
endpoint's place: an endpoint that hangs holds up itself alone. Several workers, in one process or many, share the
deliveries by ``FOR UPDATE SKIP LOCKED`` and leases.
"""

import asyncio
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import asyncpg
import structlog
from touchline_runtime.database import UNREACHABLE

from touchline_notifier.adapters.delivery_queue import Claimed, DeliveryQueue
from touchline_notifier.adapters.hashes import Hashes
from touchline_notifier.core.channel import Attempt, Channel, Delivery, GaveUp, Retry, storable
from touchline_notifier.core.delivery.conclusion import Conclusion, Expired
from touchline_notifier.core.endpoints import Endpoint

log = structlog.get_logger(__name__)

PLACES = 8
"""Deliveries under way to one endpoint at a time, in one worker."""
_POLL_SECONDS = 0.5
_LEASE = timedelta(seconds=15)
_HEARTBEAT_SECONDS = 4.0
_STRANGERS_SECONDS = 10.0
_PROBE_MARGIN = timedelta(seconds=10)
_TRY_AGAIN = (*UNREACHABLE, asyncpg.PostgresError)
"""The server is away, or refused: a process that was frozen finds its transaction ended, a standby is read-only."""

_TOO_LATE = "it waited longer than max_age allows before it could be tried"

Observer = Callable[[Delivery, Conclusion, float], None]
"""Told of every concluded attempt: the delivery, what follows, and the seconds it took."""


class DeliveryWorker:
    """Delivers until told to stop, then finishes what is under way. A component of the notifier's process."""

    name = "delivery-worker"

    def __init__(
        self,
        pool: asyncpg.Pool,
        hashes: Hashes,
        channels: Mapping[str, Channel],
        endpoints: Mapping[str, Endpoint],
        observe: Observer = lambda delivery, conclusion, seconds: None,
        *,
        sending: bool = True,
    ) -> None:
        """Wire a worker.

        Args:
            sending: false: only facts for subscribers go out; the messages of plays wait.
        """
        name = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
        self._queue = DeliveryQueue(pool, hashes, name, sending=sending)
        self._channels = channels
        self._endpoints = endpoints
        self._observe = observe
        self._random = random.Random()  # noqa: S311  (jitter, no secret)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._busy: Counter[str] = Counter()
        self._strangers: frozenset[str] = frozenset()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look for what is due now, rather than at the next poll."""
        self._woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver."""
        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(self._keep_alive(), name="delivery-heartbeat"),
                group.create_task(self._look_for_strangers(), name="delivery-strangers"),
                group.create_task(self._wake_when(stopping), name="delivery-stop"),
            ]
            try:
                while not stopping.is_set():
                    self._woken.clear()
                    await self._claim_and_start(group)
                    await self._pause()
                while self._under_way:
                    await asyncio.wait(list(self._under_way.values()))
            finally:
                for helper in helpers:
                    helper.cancel()

    async def _claim_and_start(self, group: asyncio.TaskGroup) -> None:
        names = self._strangers | self._endpoints.keys()
        room = {name: PLACES - self._busy[name] for name in names if self._busy[name] < PLACES}
        if not room:
            return
        slowest = max((endpoint.timeout_seconds for endpoint in self._endpoints.values()), default=0.0)
        probe = timedelta(seconds=slowest) + _PROBE_MARGIN
        try:
            claimed = await self._queue.claim(room, _now(), lease=_LEASE, probe=probe)
        except _TRY_AGAIN as error:
            log.warning("deliveries_not_claimed", error=str(error))
            return
        for one in claimed:
            self._busy[one.delivery.endpoint] += 1
            task = group.create_task(self._deliver(one), name=f"deliver-{one.delivery.id}")
            self._under_way[one.delivery.id] = task
            task.add_done_callback(partial(self._done, one.delivery))
        if claimed:
            # There may be more than there was room for in one go.
            self._woken.set()

    def _done(self, delivery: Delivery, _: asyncio.Task[None]) -> None:
        del self._under_way[delivery.id]
        if self._busy[delivery.endpoint] == PLACES:
            self._woken.set()
        self._busy[delivery.endpoint] -= 1

    async def _deliver(self, claimed: Claimed) -> None:
        delivery = claimed.delivery
        bound = log.bind(delivery=delivery.id, endpoint=delivery.endpoint, attempt=delivery.attempts)
        began = time.monotonic()
        given_up = Expired(_TOO_LATE) if claimed.expired else claimed.withheld
        if given_up is not None:
            conclusion = await self._recorded(lambda: self._queue.drop(claimed, given_up, _now()))
        elif claimed.disabled is not None:
            refused = GaveUp(claimed.disabled)
            conclusion = await self._recorded(lambda: self._queue.conclude(claimed, refused, _now(), 0.0, teach=False))
        else:
            attempt, teach = await self._attempt(delivery, bound)
            jitter = self._random.random()
            conclusion = await self._recorded(
                lambda: self._queue.conclude(claimed, attempt, _now(), jitter, teach=teach)
            )
        seconds = time.monotonic() - began
        if conclusion is None:
            bound.info("delivery_no_longer_ours")
            return
        bound.info("delivery_attempted", became=type(conclusion).__name__.lower(), why=getattr(conclusion, "why", None))
        self._observe(delivery, conclusion, seconds)

    async def _attempt(self, delivery: Delivery, bound: structlog.stdlib.BoundLogger) -> tuple[Attempt, bool]:
        """The attempt, and whether it says something about the endpoint."""
        endpoint = self._endpoints.get(delivery.endpoint)
        if endpoint is None:
            return Retry(f"the endpoints file has no endpoint {delivery.endpoint!r}"), False
        channel = self._channels.get(delivery.channel)
        if channel is None:
            return Retry(f"there is no channel {delivery.channel!r}: is its package installed?"), False
        try:
            return storable(await channel.send(delivery, endpoint, _now())), True
        except Exception as error:  # a channel of somebody else's must not end the worker
            bound.error("channel_failed", channel=delivery.channel, exc_info=error)
            return storable(Retry(f"the channel failed: {type(error).__name__}: {error}")), True

    async def _recorded(self, write: Callable[[], Awaitable[Conclusion | None]]) -> Conclusion | None:
        """Write an outcome down, however long the database is away: what was sent must not be sent again for that."""
        while True:
            try:
                return await write()
            except _TRY_AGAIN as error:
                log.warning("delivery_not_recorded_yet", error=str(error))
                await asyncio.sleep(_POLL_SECONDS)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            if not self._under_way:
                continue
            try:
                await self._queue.heartbeat(list(self._under_way), _now(), lease=_LEASE)
            except _TRY_AGAIN as error:
                log.warning("delivery_heartbeat_failed", error=str(error))

    async def _look_for_strangers(self) -> None:
        """Find deliveries to endpoints that have left the endpoints file: they must not wait for ever unseen."""
        while True:
            try:
                self._strangers = frozenset(await self._queue.strangers(list(self._endpoints), _now()))
            except _TRY_AGAIN as error:
                log.warning("deliveries_not_claimed", error=str(error))
            await asyncio.sleep(_STRANGERS_SECONDS)

    async def _wake_when(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._woken.set()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return


def _now() -> datetime:
    return datetime.now(UTC)
