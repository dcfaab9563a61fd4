"""The lifecycles topic: which lifecycles run, and their stages."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

import structlog
from aiokafka import TopicPartition
from pydantic import ValidationError
from touchline_runtime import kafka
from touchline_runtime.places import Fault
from touchline_runtime.settings import ServiceSettings
from touchline_schemas.facts import LifecycleDefined
from touchline_schemas.topics import LIFECYCLES

from touchline_notifier.core.reading import KnownLifecycle

log = structlog.get_logger(__name__)


async def await_lifecycles(
    settings: ServiceSettings,
    faults_with: Callable[[Sequence[KnownLifecycle]], Sequence[Fault]],
    *,
    known_already: Sequence[KnownLifecycle],
    wait_seconds: float,
    stopping: asyncio.Event,
) -> Sequence[Fault]:
    """Read the topic until the plays' lifecycles are all known, or for so long after it says anything at all.

    Built-in lifecycles are known already, so plays about those need not wait. While the topic says nothing the engine
    has not started yet, and we wait for as long as it takes.

    Returns:
        What is still wrong; empty when all is well.
    """
    topic = LIFECYCLES.full_name(settings.topic_prefix)
    where = TopicPartition(topic, 0)
    reader = kafka.consumer(settings, f"{settings.topic_prefix}-notifier-lifecycles", group_id=None)
    await kafka.start_patiently(reader, settings)
    known: dict[bytes, KnownLifecycle] = {}
    deadline: float | None = None
    said = False
    try:
        reader.assign([where])
        await reader.seek_to_beginning(where)
        while not stopping.is_set():
            faults = faults_with(merged([*known_already, *known.values()]))
            if not faults:
                return []
            if known and deadline is None:
                deadline = time.monotonic() + wait_seconds
            if not said:
                said = True
                log.info("waiting_for_lifecycles", faults=[str(fault) for fault in faults])
            if deadline is not None and time.monotonic() > deadline:
                return faults
            for record in (await reader.getmany(where, timeout_ms=200)).get(where, []):
                _take(known, record.key, record.value)
        return []
    finally:
        await reader.stop()


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


def merged(versions: Iterable[KnownLifecycle]) -> list[KnownLifecycle]:
    """One of each name, with the stages of all of its versions in force."""
    stages: dict[str, dict[str, None]] = {}
    for version in versions:
        stages.setdefault(version.name, {}).update(dict.fromkeys(version.stages))
    return [KnownLifecycle(name, tuple(of_it)) for name, of_it in stages.items()]
