"""The demo's deployment: folder, stack, inbox and services, which run while the context is entered."""

import asyncio
import shutil
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from touchline_devstack.embedded.ports import free_port, is_free
from touchline_devstack.errors import DevstackError
from touchline_devstack.processes import Service, command
from touchline_devstack.settings import DevstackSettings
from touchline_devstack.stack import Stack

from touchline_demo.display import Display
from touchline_demo.inbox import Inbox
from touchline_demo.setup import Addresses, Secrets, Setup

PREFIX = "touchline"
_PREFERRED = {"ingest": 8080, "stage-engine": 8081, "notifier": 8082, "console": 8090}
_COMMANDS = {
    "ingest": ("touchline-ingest", "serve"),
    "stage-engine": ("touchline-stage-engine", "run"),
    "notifier": ("touchline-notifier", "run"),
    "console": ("touchline-console", "serve"),
}
_POLITE_SECONDS = 20.0


class Deployment:
    """Everything that has to run.

    Each demo begins with nothing: its stack lies in ``<devstack folder>/demo/`` and is created again, unless the
    environment names servers; on those it takes a topic prefix and a database of its own.
    """

    def __init__(self, settings: DevstackSettings, display: Display, *, run: str) -> None:
        self.folder = settings.folder / "demo"
        self.logs = self.folder / "logs"
        self._display = display
        self._own_stack = settings.kafka_bootstrap_servers is None and settings.database_url is None
        self.prefix = PREFIX if self._own_stack else f"{PREFIX}-demo-{run}"
        self._run = run
        self.stack = Stack(replace(settings, folder=self.folder / "stack"))
        self.services: dict[str, Service] = {}
        self.summary_file = settings.folder / "demo-summary.json"
        self.live = False
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._enter()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def _enter(self) -> None:
        await asyncio.to_thread(self._clean)
        with self._display.step("Kafka and PostgreSQL start"):
            self._exit.push_async_callback(self._take_down)
            await asyncio.to_thread(self.stack.up)
        self.kafka_bootstrap = self.stack.kafka_bootstrap
        self.database_url = self.stack.database_url
        if not self._own_stack:
            name = self.prefix.replace("-", "_")
            self.database_url = await asyncio.to_thread(self.stack.create_database, name)
        secrets = Secrets.fresh()
        self.inbox = self._exit.enter_context(Inbox(secrets.webhook))
        ports = {name: port if is_free(port) else free_port() for name, port in _PREFERRED.items()}
        addresses = Addresses(
            ports["ingest"],
            ports["stage-engine"],
            ports["notifier"],
            webhooks=self.inbox.webhooks.port,
            smtp=self.inbox.mails.port,
        )
        self.setup = Setup(self.folder, secrets, addresses)
        self._urls = {
            f"TOUCHLINE_{variable}_URL": f"http://127.0.0.1:{ports[name]}"
            for variable, name in (
                ("INGEST", "ingest"),
                ("ENGINE", "stage-engine"),
                ("NOTIFIER", "notifier"),
                ("CONSOLE", "console"),
            )
        }
        await asyncio.to_thread(self.setup.write)
        with self._display.step("the services and the console start"):
            self._exit.push_async_callback(self._stop_services)
            for name, port in ports.items():
                self.services[name] = self._service(name, port).start()
            await asyncio.gather(*(asyncio.to_thread(service.wait_ready, 90.0) for service in self.services.values()))

    @property
    def environment(self) -> dict[str, str]:
        """The services' environment variables."""
        return (
            self.setup.environment()
            | self._urls
            | {
                "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap,
                "TOUCHLINE_DATABASE_URL": self.database_url,
                "TOUCHLINE_TOPIC_PREFIX": self.prefix,
                "TOUCHLINE_LOG_FORMAT": "json",
            }
        )

    @property
    def engine_schema(self) -> str:
        """The engine's schema in the database; another topic prefix is another deployment."""
        return "stage_engine" if self.prefix == PREFIX else f'"stage_engine_{self.prefix}"'

    def check_alive(self) -> None:
        """Raises DevstackError when a service ended by itself, with its log's place."""
        for service in self.services.values():
            if not service.is_running:
                raise DevstackError(f"{service.name} ended with {service.exit_code}: see {service.log}")

    async def run_command(self, name: str, *arguments: str, good: frozenset[int] = frozenset((0,))) -> str:
        """Run one of the command lines to its end; its output.

        Args:
            good: exit codes that are no failure.

        Raises:
            DevstackError: it ended with another.
        """
        tool = Service(f"{name}-{arguments[0]}", [command(name), *arguments], environment=self.environment,
                       logs=self.logs, port=0)  # fmt: skip
        tool.start()
        self._exit.push_async_callback(self._stop, tool)
        code = await asyncio.to_thread(tool.wait_ended, 300.0)
        if code not in good:
            raise DevstackError(f"{name} {' '.join(arguments)} ended with {code}: see {tool.log}")
        return tool.log_text()

    def _service(self, name: str, port: int) -> Service:
        program, *arguments = _COMMANDS[name]
        return Service(name, [command(program), *arguments], environment=self.environment, logs=self.logs, port=port)

    def _clean(self) -> None:
        """Remove what an earlier run left, its servers included if it was killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._own_stack:
            self.stack.down()
            self.stack.remove()
        shutil.rmtree(self.logs, ignore_errors=True)
        Path(self.logs).mkdir(parents=True)

    async def _stop_services(self) -> None:
        await asyncio.gather(*(self._stop(service) for service in self.services.values()))

    async def _stop(self, service: Service) -> None:
        if service.is_running:
            with suppress(DevstackError):  # it is killed then, and its log shows why it did not end
                await asyncio.to_thread(service.terminate, _POLITE_SECONDS)

    async def _take_down(self) -> None:
        if self._own_stack:
            await asyncio.to_thread(self.stack.down)
            # The data of a demo that is over is of no use, and the next one begins with nothing.
            await asyncio.to_thread(self.stack.remove)
        elif hasattr(self, "database_url"):
            await asyncio.to_thread(self.stack.drop_database, self.prefix.replace("-", "_"))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._display.step("the deployment stops"):
            await self._exit.aclose()
