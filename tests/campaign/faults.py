"""The faults of a campaign: what is done to which process or server, and what was counted of it."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple, get_args

import asyncpg
import psutil

from tests.campaign.deployment import Deployment, Process
from tests.campaign.disk import SmallDisk
from tests.support.tcp_proxy import Breakpoint, Match, kafka_request, statement
from tests.support.waiting import wait_until

PRODUCE, FETCH, END_TRANSACTION = 0, 1, 26


class Step(NamedTuple):
    """A place in a service's work at which it is killed."""

    name: str
    server: Literal["kafka", "postgres"]
    match: Match
    how: Literal["before", "after"]


_CONSUMER = (
    Step("consumed, before the transaction", "postgres", statement("BEGIN"), "before"),
    Step("before COMMIT", "postgres", statement("COMMIT"), "before"),
    Step("after COMMIT, before its answer", "postgres", statement("COMMIT"), "after"),
    Step("between COMMIT and publish", "kafka", kafka_request(PRODUCE), "before"),
    Step("published, before Kafka's commit", "kafka", kafka_request(END_TRANSACTION), "before"),
    Step("after Kafka's commit, before its answer", "kafka", kafka_request(END_TRANSACTION), "after"),
    Step("between publish and outbox deletion", "postgres", statement("DELETE FROM outbox"), "before"),
)
STEPS: dict[str, tuple[Step, ...]] = {
    "engine": _CONSUMER,
    "notifier": _CONSUMER,
    "ingest": (
        Step("before Kafka has it", "kafka", kafka_request(PRODUCE), "before"),
        Step("between Kafka's acknowledgement and the answer", "kafka", kafka_request(PRODUCE), "after"),
    ),
}
_REACHED_WITHIN = 6.0

ServerFault = Literal[
    "broker killed", "broker restarted", "PostgreSQL killed", "PostgreSQL restarted",
    "PostgreSQL connections terminated", "PostgreSQL connections exhausted", "broker frozen", "PostgreSQL frozen",
    "PostgreSQL's disk full",
]  # fmt: skip
SERVER_FAULTS: tuple[ServerFault, ...] = get_args(ServerFault)


class Faults:
    """Injects faults until stopped, one at a time for each role and one at a time for the servers."""

    def __init__(
        self,
        deployment: Deployment,
        seed: int,
        *,
        servers: bool = True,
        disk: SmallDisk | None = None,
        chosen: Sequence[str] = (),
    ) -> None:
        self._deployment = deployment
        self._disk = disk
        self._chosen = chosen
        self._servers_fail = servers
        self._rng = random.Random(seed)
        self._stopping = asyncio.Event()
        self._servers = asyncio.Lock()
        """Held while a server is away, and by who becomes ready: nobody can while a server is away."""
        self.counts: Counter[str] = Counter()

    @property
    def kills(self) -> int:
        return sum(number for name, number in self.counts.items() if name.startswith("kill -9"))

    @property
    def takeovers(self) -> int:
        return self.counts["frozen owner taken over: engine"] + self.counts["frozen owner taken over: notifier"]

    def stop(self) -> None:
        """End after the faults in progress are over."""
        self._stopping.set()

    async def run(self) -> None:
        """Inject until stopped; every process runs at the end."""
        await asyncio.gather(
            self._repeat(lambda: self._of_role("ingest"), 2),
            self._repeat(lambda: self._of_role("engine"), 0.3),
            self._repeat(lambda: self._of_role("engine"), 0.3),
            self._repeat(lambda: self._of_role("notifier"), 0.3),
            self._repeat(self._of_servers, 40),
        )

    async def _repeat(self, act: Callable[[], Awaitable[None]], pause: float) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause * (0.5 + self._rng.random()))
                return
            await act()

    # Processes

    async def _of_role(self, role: str) -> None:
        free = [process for process in self._deployment.of(role) if not process.lock.locked()]
        if not free:
            return
        process = self._rng.choice(free)
        async with process.lock:
            chance = self._rng.random()
            several = len(self._deployment.of(role)) > 1
            if several and chance < 0.35:
                await self._freeze(process)
            elif chance < 0.45:
                await self._network(process)
            elif several and chance < 0.5:
                await self._leave(process)
            elif role == "notifier" and chance < 0.6:
                await self._kill_between_delivery_and_record(process)
            elif chance < 0.8:
                await self._kill_at(process, self._rng.choice(STEPS[role]))
            else:
                await asyncio.sleep(self._rng.random())
                await self._kill(process, f"kill -9 at random: {role}")

    async def _start(self, process: Process) -> None:
        """Start a process and wait until it is ready; servers that can be away are here for that time."""
        if not self._servers_fail:
            await process.start()
            return
        async with self._servers:
            await process.start()

    async def _kill(self, process: Process, what: str) -> None:
        await process.kill()
        self.counts[what] += 1
        await self._start(process)

    async def _kill_at(self, process: Process, step: Step) -> None:
        proxy = process.kafka if step.server == "kafka" else process.postgres
        stop = proxy.breakpoint = Breakpoint(step.match, step.how)
        try:
            await asyncio.wait_for(stop.reached.wait(), _REACHED_WITHIN)
            what = f"kill -9 {step.name}: {process.role}"
        except TimeoutError:
            what = f"kill -9 at random: {process.role}"
        await self._kill(process, what)

    async def _kill_between_delivery_and_record(self, process: Process) -> None:
        receiver = self._deployment.receiver
        arrived = len(receiver.arrived)
        met = True
        try:
            await wait_until(
                lambda: len(receiver.arrived) > arrived, seconds=_REACHED_WITHIN, interval=0.002, exact=True
            )
        except AssertionError:
            met = False
        where = "between a delivery and its record" if met else "at random"
        await self._kill(process, f"kill -9 {where}: notifier")

    async def _freeze(self, process: Process) -> None:
        """SIGSTOP until another process has taken a partition over, then SIGCONT."""
        role = process.role
        with suppress(OSError, asyncpg.PostgresError, asyncio.TimeoutError):
            before = await self._deployment.epochs(role)
            process.service.pause()
            deadline = time.monotonic() + 25
            taken = 0
            while time.monotonic() < deadline and not taken:
                await asyncio.sleep(0.25)
                now = await self._deployment.epochs(role)
                taken = sum(now[partition][0] > before.get(partition, (0, ""))[0] for partition in now)
            self.counts[f"frozen owner taken over: {role}" if taken else f"frozen, not taken over: {role}"] += 1
            self.counts[f"partitions taken over: {role}"] += taken
        process.service.resume()
        await self._start(process)

    async def _leave(self, process: Process) -> None:
        """A worker leaves in good order, and joins again."""
        await asyncio.to_thread(process.service.terminate)
        self.counts[f"left and joined: {process.role}"] += 1
        await asyncio.sleep(self._rng.random() * 3)
        await self._start(process)

    async def _network(self, process: Process) -> None:
        """Trouble on the process's connections to one of its servers, or both."""
        proxies = self._rng.choice([(process.kafka,), (process.postgres,), (process.kafka, process.postgres)])
        trouble = self._rng.choice(["latency", "reset", "half open", "black hole", "refused"])
        self.counts[f"network {trouble}: {process.role}"] += 1
        for proxy in proxies:
            if trouble == "latency":
                proxy.latency = self._rng.choice([0.02, 0.1, 0.3])
            elif trouble == "reset":
                proxy.reset()
            elif trouble == "half open":
                proxy.forget()
            elif trouble == "black hole":
                proxy.black_hole = True
            else:
                proxy.refusing = True
                proxy.reset()
        await asyncio.sleep(self._rng.choice([0.5, 2, 6]))
        for proxy in proxies:
            proxy.latency, proxy.black_hole, proxy.refusing = 0.0, False, False
        if trouble == "black hole":
            for proxy in proxies:
                proxy.reset()
        await self._start(process)

    # Servers

    async def _of_servers(self) -> None:
        if not self._servers_fail:
            return
        stack = self._deployment.stack
        faults: dict[ServerFault, Callable[[], Awaitable[None]]] = {
            "broker killed": lambda: self._restart(stack.kill_kafka, stack.start_kafka),
            "broker restarted": lambda: self._restart(stack.stop_kafka, stack.start_kafka),
            "PostgreSQL killed": lambda: self._restart(stack.kill_postgres, stack.start_postgres),
            "PostgreSQL restarted": lambda: self._restart(stack.stop_postgres, stack.start_postgres),
            "PostgreSQL connections terminated": self._terminate_connections,
            "PostgreSQL connections exhausted": self._exhaust_connections,
            "broker frozen": lambda: self._freeze_server("Kafka"),
            "PostgreSQL frozen": lambda: self._freeze_server("PostgreSQL"),
            "PostgreSQL's disk full": self._fill_disk,
        }
        name = self._rng.choice([one for one in faults if not self._chosen or one in self._chosen])
        async with self._servers:
            try:
                await faults[name]()
                self.counts[name] += 1
            except (OSError, asyncpg.PostgresError) as error:
                self.counts[f"{name}: not possible ({type(error).__name__})"] += 1

    async def _restart(self, stop: Callable[[], object], start: Callable[[], object]) -> None:
        await asyncio.to_thread(stop)
        await asyncio.sleep(self._rng.choice([0, 2, 5]))
        await asyncio.to_thread(start)

    async def _freeze_server(self, title: str) -> None:
        """SIGSTOP to all processes of a server, SIGCONT after longer or shorter than every time limit of a client."""
        status = await asyncio.to_thread(self._deployment.stack.status)
        pid = next(part.pid for part in status if part.title == title)
        if pid is None:
            raise OSError(f"{title} is not a process of ours")
        server = psutil.Process(pid)
        frozen = [server]
        try:
            # The parent first: it starts no more processes then.
            server.send_signal(signal.SIGSTOP)
            for child in server.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.send_signal(signal.SIGSTOP)
                    frozen.append(child)
            await asyncio.sleep(self._rng.choice([3, 15, 50]))
        finally:
            for process in reversed(frozen):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)

    async def _fill_disk(self) -> None:
        """No space for PostgreSQL. When it needs a new file for its log, it crashes, and recovers with space again."""
        if self._disk is None:
            raise OSError("there is no small disk")
        logs = [process for process in self._deployment.processes if process.role != "ingest"]
        before = {process.name: len(process.service.log_text()) for process in logs}
        await self._disk.is_full_for(self._rng.choice([10, 30]))
        for process in logs:
            said = process.service.log_text()[before[process.name] :]
            self.counts[f"said that the disk is full: {process.role}"] += "free disk space" in said
        await asyncio.to_thread(self._deployment.stack.start_postgres)

    async def _terminate_connections(self) -> None:
        connection = await asyncpg.connect(self._deployment.database_url, timeout=5)
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        finally:
            await connection.close()

    async def _exhaust_connections(self) -> None:
        """No connection is left for anybody who asks for one."""
        mine: list[asyncpg.Connection] = []
        try:
            with suppress(asyncpg.PostgresError, OSError, asyncio.TimeoutError):
                while len(mine) < 500:
                    mine.append(await asyncpg.connect(self._deployment.database_url, timeout=5))
            await asyncio.sleep(self._rng.choice([1, 4]))
        finally:
            for connection in mine:
                with suppress(Exception):
                    await connection.close(timeout=2)
