"""The start of the notifier: everything that needs more than PostgreSQL.

The HTTP server, and with it the unsubscribe route, runs before and meanwhile. While plays or endpoints are wrong, or
Kafka is away, ``/readyz`` says so, nothing is sent, and the start is tried again.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import structlog
from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_runtime.kafka.shutdown import unless_stopping
from touchline_runtime.process.repeated_faults import FaultLog
from touchline_runtime.process.run import Component

from touchline_notifier.core.limits.limits import needs_public_url
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.unsubscribe.public_url import BadPublicUrlError, parse_public_url
from touchline_notifier.settings import NotifierSettings

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 5.0


class WrongSettingError(ConfigurationError):
    """A setting is wrong. It cannot be corrected while the process runs, so the process ends."""


class Startup:
    """Starts the other components, and runs them. A component itself.

    Args:
        start: reads the files and connects. Entering it raises ``ConfigurationError`` or ``Unavailable``.
    """

    name = "notifier"

    def __init__(self, start: Callable[[asyncio.Event], AbstractAsyncContextManager[Sequence[Component]]]) -> None:
        self._start = start
        self._fault: ConfigurationError | Unavailable | None = Unavailable("the notifier is starting")
        self._faults = FaultLog(log, "not_started", level="error")

    async def check(self) -> None:
        """A health check: the notifier has started.

        Raises:
            ConfigurationError: plays or endpoints are wrong.
            Unavailable: a server is away, or the lifecycles are not known yet.
        """
        if self._fault is not None:
            raise self._fault

    async def run(self, stopping: asyncio.Event) -> None:
        """Start, with retries, then run everything until told to stop."""
        while not stopping.is_set():
            try:
                async with AsyncExitStack() as stack:
                    starting = stack.enter_async_context(self._start(stopping))
                    components = await unless_stopping(starting, stopping)
                    if components is not None and not stopping.is_set():
                        self._fault = None
                        self._faults.over()
                        await _run_all(components, stopping)
                return
            except WrongSettingError:
                raise
            except (ConfigurationError, Unavailable) as error:
                if self._fault is None:
                    raise  # of a component: it had started
                self._faults.failed(str(error), retry_seconds=_RETRY_SECONDS)
                self._fault = error
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _RETRY_SECONDS)


async def _run_all(components: Sequence[Component], stopping: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        for component in components:
            group.create_task(component.run(stopping), name=component.name)


def public_url(settings: NotifierSettings, plays: Mapping[str, Play], to_customers: frozenset[str]) -> str:
    """Where customers reach the notifier. Plays that write to them need it: their mails carry an unsubscribe link.

    Raises:
        WrongSettingError: it is not set and plays need it, or customers could not reach it.
    """
    need = sorted(name for name, play in plays.items() if play.enabled and needs_public_url(play, to_customers))
    if not settings.own_public_url():
        if need:
            raise WrongSettingError(
                "TOUCHLINE_NOTIFIER_PUBLIC_URL (or TOUCHLINE_PUBLIC_URL) is not set, and these plays write to "
                f"customers: {', '.join(need)}. Their mails carry an unsubscribe link, which begins with "
                "the https address under which customers reach this service: https://notify.example.org "
                f"(for a trial on one machine http://127.0.0.1:{settings.http_port or 8082})"
            )
        return ""
    try:
        root = parse_public_url(settings.own_public_url())
    except BadPublicUrlError as error:
        named = "TOUCHLINE_NOTIFIER_PUBLIC_URL" if settings.notifier_public_url else "TOUCHLINE_PUBLIC_URL"
        raise WrongSettingError(f"{named}={settings.own_public_url()}: {error}") from None
    if need and root.startswith("http:"):
        log.warning("unsubscribe_links_for_this_machine_alone", public_url=root, plays=need)
    return root
