"""The lifecycles topic: which lifecycles run, and their stages."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.errors import Unavailable
from touchline_runtime.kafka import clients as kafka
from touchline_runtime.kafka.shutdown import stop_client, unless_stopping
from touchline_runtime.yaml.positions import Fault
from touchline_schemas.events.facts import LifecycleDefined
from touchline_schemas.topics import LIFECYCLES

from touchline_notifier.core.plays.parse import KnownLifecycle, merged_lifecycles

log = structlog.get_logger(__name__)

_KNOWN_SECONDS = 3.0
_READ_SECONDS = 10.0


async def await_lifecycles(
    settings: ServiceSettings,
    faults_with: Callable[[Sequence[KnownLifecycle]], Sequence[Fault]],
    *,
    known_already: Sequence[KnownLifecycle],
    wait_seconds: float,
    stopping: asyncio.Event,
) -> Sequence[Fault]:
    """Read the topic until the plays' lifecycles are all known, or for ``wait_seconds`` after its first record.

    Built-in lifecycles are known already, so plays about those need not wait. While the topic is empty the engine has
    not started yet, and the wait has no limit.

    Returns:
        What is still wrong; empty when all is well.
    """
    topic = LIFECYCLES.full_name(settings.topic_prefix)
    where = TopicPartition(topic, 0)
    reader = kafka.consumer(settings, f"{settings.topic_prefix}-notifier-lifecycles", group_id=None)
    await unless_stopping(kafka.start_when_reachable(reader, settings), stopping)
    known: dict[bytes, KnownLifecycle] = {}
    deadline: float | None = None
    reported = False
    try:
        if stopping.is_set():
            return []
        reader.assign([where])
        await reader.seek_to_beginning(where)
        while not stopping.is_set():
            faults = faults_with(merged_lifecycles([*known_already, *known.values()]))
            if not faults:
                return []
            if known and deadline is None:
                deadline = time.monotonic() + wait_seconds
            if not reported:
                reported = True
                log.info("waiting_for_lifecycles", faults=[str(fault) for fault in faults])
            if deadline is not None and time.monotonic() > deadline:
                return faults
            for record in (await reader.getmany(where, timeout_ms=200)).get(where, []):
                _take(known, record.key, record.value)
        return []
    finally:
        await stop_client(reader.stop(), 2, "lifecycles-reader")


def _take(known: dict[bytes, KnownLifecycle], key: bytes, value: bytes | None) -> None:
    if value is None:
        known.pop(key, None)
        return
    try:
        defined = LifecycleDefined.model_validate_json(value)
    except ValidationError:
        log.warning("unreadable_lifecycle", key=key.decode(errors="replace"))
        return
    known[key] = KnownLifecycle(defined.name, (*defined.stages, *defined.off_path))


class KafkaLifecycles:
    """The lifecycles that the engine has announced so far; read again when the answer is some seconds old."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._known: list[KnownLifecycle] = []
        self._read_at = -_KNOWN_SECONDS

    async def running(self) -> list[KnownLifecycle]:
        """All of them.

        Raises:
            Unavailable: Kafka does not answer.
        """
        async with self._lock:
            if time.monotonic() - self._read_at > _KNOWN_SECONDS:
                try:
                    async with asyncio.timeout(_READ_SECONDS):
                        self._known = await self._read()
                except (TimeoutError, KafkaError) as error:
                    raise Unavailable(f"the lifecycles topic cannot be read: {type(error).__name__}: {error}") from None
                self._read_at = time.monotonic()
            return self._known

    async def _read(self) -> list[KnownLifecycle]:
        where = TopicPartition(LIFECYCLES.full_name(self._settings.topic_prefix), 0)
        name = f"{self._settings.topic_prefix}-notifier-lifecycles"
        reader = kafka.consumer(self._settings, name, group_id=None)
        await reader.start()
        known: dict[bytes, KnownLifecycle] = {}
        try:
            reader.assign([where])
            await reader.seek_to_beginning(where)
            end = (await reader.end_offsets([where]))[where]
            while await reader.position(where) < end:
                for record in (await reader.getmany(where, timeout_ms=200)).get(where, []):
                    _take(known, record.key, record.value)
        finally:
            await stop_client(reader.stop(), 2, "lifecycles-reader")
        return merged_lifecycles(known.values())
