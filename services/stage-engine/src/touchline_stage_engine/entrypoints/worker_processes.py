"""Several worker processes under one: started, watched, started again, and stopped; their metrics shown as one."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterable, Iterator

import httpx
import structlog
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_runtime.http import metrics as http_metrics

from touchline_stage_engine.metrics import ANALYSIS_SECONDS

log = structlog.get_logger(__name__)

_MISCONFIGURED = 2
_SCRAPE_EVERY = 1.0
_OF_THIS_PROCESS = frozenset(metric.name for metric in (*http_metrics.ALL, ANALYSIS_SECONDS))
"""Families that this process has itself: its requests, its analyses, and its readiness."""


class Worker:
    """One worker process. It ends when this process does: its standard input is a pipe from here."""

    def __init__(self, index: int, command: list[str], sock: socket.socket) -> None:
        self.index = index
        self.address = "http://{}:{}".format(*sock.getsockname()[:2])
        self._command = [*command, "--index", str(index), "--socket", str(sock.fileno())]
        self._sock = sock
        self.metrics = ""

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep it running until stopping.

        Raises:
            ConfigurationError: it says that it is configured wrongly.
        """
        wait = 0.1
        while not stopping.is_set():
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, pass_fds=[self._sock.fileno()]
            )
            log.info("worker_started", worker=self.index, pid=process.pid)
            stop = asyncio.create_task(stopping.wait())
            ended = asyncio.create_task(process.wait())
            began = asyncio.get_running_loop().time()
            try:
                await asyncio.wait({stop, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():
                    process.send_signal(signal.SIGTERM)
                code = await ended
            finally:
                stop.cancel()
                if process.returncode is None:
                    process.kill()
            if stopping.is_set():
                return
            if code == _MISCONFIGURED:
                raise ConfigurationError(f"worker {self.index} is configured wrongly; it says how above")
            log.error("worker_ended", worker=self.index, code=code)
            wait = 0.1 if asyncio.get_running_loop().time() - began > 30 else min(wait * 2, 10.0)
            try:
                async with asyncio.timeout(wait):
                    await stopping.wait()
            except TimeoutError:
                pass


class Workers(Collector):
    """All workers of a process: a component, a health check, and a collector of their metrics."""

    name = "workers"

    def __init__(self, workers: Iterable[Worker]) -> None:
        self._workers = list(workers)

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep all running until stopping."""
        scraping = asyncio.create_task(self._scrape())
        try:
            async with asyncio.TaskGroup() as group:
                for worker in self._workers:
                    group.create_task(worker.run(stopping))
        except* ConfigurationError as errors:
            raise errors.exceptions[0] from None
        finally:
            scraping.cancel()

    async def _scrape(self) -> None:
        async with httpx.AsyncClient(timeout=2) as client:
            while True:
                for worker in self._workers:
                    try:
                        response = await client.get(f"{worker.address}/metrics")
                        worker.metrics = response.text
                    except httpx.HTTPError:
                        worker.metrics = ""
                await asyncio.sleep(_SCRAPE_EVERY)

    async def check(self) -> None:
        """A health check: every worker is ready."""
        async with httpx.AsyncClient(timeout=1.5) as client:
            answers = await asyncio.gather(
                *(client.get(f"{worker.address}/readyz") for worker in self._workers), return_exceptions=True
            )
        for worker, answer in zip(self._workers, answers, strict=True):
            if isinstance(answer, BaseException):
                raise Unavailable(f"worker {worker.index} does not answer")
            if answer.status_code != 200:
                raise Unavailable(f"worker {worker.index} is not ready: {answer.text}")

    def collect(self) -> Iterator[Metric]:
        """Every worker's metrics as last scraped, with a label that says whose."""
        families: dict[str, Metric] = {}
        for worker in self._workers:
            for family in text_string_to_metric_families(worker.metrics):
                if not family.name.startswith("touchline_") or family.name in _OF_THIS_PROCESS:
                    continue
                merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    merged.samples.append(sample._replace(labels={**sample.labels, "worker": str(worker.index)}))
        yield from families.values()

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the workers are."""
        return []


class Parent:
    """Ends a worker when the process that started it ends for any reason."""

    name = "parent"

    async def run(self, stopping: asyncio.Event) -> None:
        """Return when the parent is gone, or when stopping."""
        loop = asyncio.get_running_loop()
        gone = loop.create_future()
        fd = sys.stdin.fileno()
        os.set_blocking(fd, False)

        def readable() -> None:
            if not os.read(fd, 64) and not gone.done():
                loop.remove_reader(fd)
                gone.set_result(None)

        loop.add_reader(fd, readable)
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({stop, gone}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if gone.done():
            log.error("parent_gone")
