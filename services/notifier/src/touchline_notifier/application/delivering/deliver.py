"""The delivery worker: claims what is due, sends it, records the outcome.

A number of deliveries may be under way to each endpoint, and a send holds neither a database connection nor another
endpoint's share: an endpoint that hangs delays no other endpoint. Several workers, in one process or many, share the
deliveries by ``FOR UPDATE SKIP LOCKED`` and leases.
"""

import asyncio
import random
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from touchline_runtime.errors import Unavailable
from touchline_runtime.process.repeated_faults import FaultLog
from touchline_runtime.tracing import Tracing

from touchline_notifier.application.delivering.delivery_leases import LeaseLostError, Leases, may_still_send
from touchline_notifier.application.ports import Claimed, DeliveryQueue
from touchline_notifier.core.delivery.channel import Attempt, Channel, Delivered, Delivery, Retry, storable
from touchline_notifier.core.delivery.conclusion import Conclusion, result_of
from touchline_notifier.core.delivery.endpoints import Endpoint

log = structlog.get_logger(__name__)

MAX_UNDER_WAY = 8
"""Deliveries under way to one endpoint at a time, in one worker."""
_POLL_SECONDS = 0.5
_LEASE = timedelta(seconds=15)
_HEARTBEAT_SECONDS = 4.0
_UNKNOWN_ENDPOINTS_SECONDS = 10.0
_PROBE_MARGIN = timedelta(seconds=10)

Observer = Callable[[Delivery, Conclusion, float], None]
"""Receives every concluded attempt: the delivery, what follows, and the seconds it took."""


class DeliveryWorker:
    """Delivers until told to stop, then finishes what is under way. A component of the notifier's process."""

    name = "delivery-worker"

    def __init__(
        self,
        queue: DeliveryQueue,
        channels: Mapping[str, Channel],
        endpoints: Mapping[str, Endpoint],
        observe: Observer = lambda delivery, conclusion, seconds: None,
        *,
        stall_seconds: float = 20.0,
        tracing: Tracing | None = None,
    ) -> None:
        self._queue = queue
        self._stall_seconds = stall_seconds
        self._tracing = tracing
        self._progress_at: float | None = None
        """When the queue last answered what is due, by the monotonic clock; None: not running."""
        self._fault = ""
        self._claim_faults = FaultLog(log, "deliveries_not_claimed")
        self._record_faults = FaultLog(log, "delivery_not_recorded_yet")
        self._heartbeat_faults = FaultLog(log, "delivery_heartbeat_failed")
        self._unrecorded = 0
        """Outcomes that wait for the database."""
        self._channels = channels
        self._endpoints = endpoints
        self._observe = observe
        self._random = random.Random()  # noqa: S311  (jitter, no secret)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._leases = Leases()
        self._busy: Counter[str] = Counter()
        self._unknown_endpoints: frozenset[str] = frozenset()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look for due deliveries now, rather than at the next poll."""
        self._woken.set()

    async def check(self) -> None:
        """A health check: the worker learns what is due.

        Raises:
            Unavailable: it has not for longer than ``stall_seconds``.
        """
        if self._progress_at is None:
            return
        idle = time.monotonic() - self._progress_at
        if idle > self._stall_seconds:
            why = self._fault or "PostgreSQL does not answer"
            raise Unavailable(f"no delivery could be claimed for {idle:.0f} s: {why}")

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver."""
        self._progress_at = time.monotonic()
        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(self._keep_alive(), name="delivery-heartbeat"),
                group.create_task(self._look_for_unknown_endpoints(), name="delivery-unknown-endpoints"),
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
        names = self._unknown_endpoints | self._endpoints.keys()
        room = {name: MAX_UNDER_WAY - self._busy[name] for name in names if self._busy[name] < MAX_UNDER_WAY}
        if not room:
            # Endpoints may use their whole time limit; outcomes that cannot be recorded are no progress.
            if not self._unrecorded:
                self._progress_at = time.monotonic()
            return
        slowest = max((endpoint.timeout_seconds for endpoint in self._endpoints.values()), default=0.0)
        probe = timedelta(seconds=slowest) + _PROBE_MARGIN
        until = self._leases.end(_LEASE)
        try:
            claimed = await self._queue.claim(room, _now(), lease=_LEASE, probe=probe)
        except Unavailable as error:
            self._fault = str(error)
            self._claim_faults.failed(str(error), source="due")
            return
        self._claim_faults.over("due")
        self._progress_at, self._fault = time.monotonic(), ""
        for item in claimed:
            self._busy[item.delivery.endpoint] += 1
            self._leases.hold([item.delivery.id], until)
            task = group.create_task(self._deliver(item), name=f"deliver-{item.delivery.id}")
            self._under_way[item.delivery.id] = task
            task.add_done_callback(partial(self._done, item.delivery))
        if claimed:
            # There may be more than there was room for in one go.
            self._woken.set()

    def _done(self, delivery: Delivery, _: asyncio.Task[None]) -> None:
        del self._under_way[delivery.id]
        self._leases.give_up(delivery.id)
        if self._busy[delivery.endpoint] == MAX_UNDER_WAY:
            self._woken.set()
        self._busy[delivery.endpoint] -= 1

    async def _deliver(self, claimed: Claimed) -> None:
        delivery = claimed.delivery
        bound = log.bind(delivery=delivery.id, endpoint=delivery.endpoint, attempt=delivery.attempts)
        began = time.monotonic()
        dropped = claimed.dropped
        if dropped is not None:
            conclusion = await self._recorded(lambda: self._queue.drop(claimed, dropped, _now()))
        else:
            try:
                attempt, answered = await self._attempt(delivery, bound)
            except LeaseLostError:
                # This process was stopped for longer than its lease: another worker may be sending the delivery.
                bound.info("delivery_lease_lost")
                await self._put_back(claimed)
                return
            jitter, took = self._random.random(), time.monotonic() - began
            conclusion = await self._recorded(
                lambda: self._queue.conclude(
                    claimed, attempt, _now(), jitter, counts_for_endpoint=answered, seconds=took
                )
            )
        seconds = time.monotonic() - began
        if conclusion is None:
            bound.info("delivery_lease_lost")
            return
        bound.info("delivery_attempted", result=result_of(conclusion), why=getattr(conclusion, "why", None))
        self._observe(delivery, conclusion, seconds)

    async def _attempt(self, delivery: Delivery, bound: structlog.stdlib.BoundLogger) -> tuple[Attempt, bool]:
        """The attempt, and whether it counts for the endpoint's breaker."""
        may_still_send.set(lambda: self._leases.valid(delivery.id))
        endpoint = self._endpoints.get(delivery.endpoint)
        if endpoint is None:
            return Retry(f"the endpoints file has no endpoint {delivery.endpoint!r}"), False
        channel = self._channels.get(delivery.channel)
        if channel is None:
            return Retry(f"there is no channel {delivery.channel!r}: is its package installed?"), False
        if not self._leases.valid(delivery.id):
            raise LeaseLostError
        try:
            return storable(await self._send(channel, delivery, endpoint)), True
        except LeaseLostError:
            raise
        except Exception as error:  # an installed channel must not end the worker
            # Log where, and not the error's text, which may name the customer.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            bound.error(
                "channel_failed", channel=delivery.channel, error=type(error).__name__,
                at=f"{frame.filename}:{frame.lineno}",
            )  # fmt: skip
            return storable(Retry(f"the channel failed: {type(error).__name__}", excerpt=str(error))), False

    async def _send(self, channel: Channel, delivery: Delivery, endpoint: Endpoint) -> Attempt:
        """Send, within a span where the message belongs to a trace."""
        trace = delivery.message.trace
        if self._tracing is None or not trace:
            return await channel.send(delivery, endpoint, _now())
        attributes: dict[str, str | int] = {"touchline.endpoint": endpoint.name, "touchline.attempt": delivery.attempts}
        span = self._tracing.start(f"deliver {delivery.channel}", "client", trace, attributes=attributes)
        why = "cancelled"
        try:
            traced = replace(delivery, message=replace(delivery.message, trace=span.context))
            attempt = await channel.send(traced, endpoint, _now())
            why = "" if isinstance(attempt, Delivered) else attempt.why
            return attempt
        except Exception as error:
            why = type(error).__name__
            raise
        finally:
            span.end(why)

    async def _put_back(self, claimed: Claimed) -> None:
        try:
            await self._queue.put_back(claimed, _now())
        except Unavailable as error:
            log.warning("delivery_not_put_back", error=str(error))  # the lease ends soon: the delivery is free then

    async def _recorded(self, write: Callable[[], Awaitable[Conclusion | None]]) -> Conclusion | None:
        """Record an outcome; retries until the database is back, because a sent message must not be sent again."""
        failed, source = False, object()
        try:
            while True:
                try:
                    return await write()
                except Unavailable as error:
                    self._unrecorded += not failed
                    failed, self._fault = True, str(error)
                    self._record_faults.failed(str(error), source=source)
                    await asyncio.sleep(_POLL_SECONDS)
        finally:
            self._unrecorded -= failed
            self._record_faults.over(source)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            if not self._under_way:
                continue
            until = self._leases.end(_LEASE)
            try:
                ours = await self._queue.heartbeat(list(self._under_way), _now(), lease=_LEASE)
                self._leases.hold(ours & self._under_way.keys(), until)
                self._heartbeat_faults.over()
            except Unavailable as error:
                self._heartbeat_faults.failed(str(error))

    async def _look_for_unknown_endpoints(self) -> None:
        """Find deliveries to endpoints that were removed from the endpoints file: they must not wait unseen."""
        while True:
            try:
                self._unknown_endpoints = frozenset(await self._queue.unknown_endpoints(list(self._endpoints), _now()))
                self._claim_faults.over("unknown endpoints")
            except Unavailable as error:
                self._claim_faults.failed(str(error), source="unknown endpoints")
            await asyncio.sleep(_UNKNOWN_ENDPOINTS_SECONDS)

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
