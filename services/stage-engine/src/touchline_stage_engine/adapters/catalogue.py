"""The catalogue: which versions of which lifecycles are in force, recorded in the database and told to everybody."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import asyncpg
import orjson
import structlog
from aiokafka.errors import KafkaError
from touchline_runtime import kafka
from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_schemas.cloudevents import to_headers
from touchline_schemas.facts import LifecycleDefined
from touchline_schemas.times import from_micros, micros_to_wire, parse_instant
from touchline_schemas.topics import LIFECYCLES

from touchline_stage_engine.adapters.lifecycle_files import Written
from touchline_stage_engine.adapters.outgoing import SOURCE
from touchline_stage_engine.core.compile import compile_definition
from touchline_stage_engine.core.definition import Definition
from touchline_stage_engine.core.fold import Fold
from touchline_stage_engine.core.reading import read_definition
from touchline_stage_engine.core.timeline import Effective, Timeline
from touchline_stage_engine.settings import StageEngineSettings

log = structlog.get_logger(__name__)

SINCE_EVER = -(1 << 62)

# A version's first start is recorded once, by whoever comes first. The first version of a lifecycle holds since ever,
# a later one from its start, unless the definition says otherwise.
RECORD_VERSION = """
INSERT INTO lifecycles (name, version, fingerprint, text, effective_from, started_at)
SELECT $1, $2, $3, $4,
       coalesce($5, CASE WHEN EXISTS (SELECT FROM lifecycles WHERE name = $1 AND version < $2) THEN $6::bigint END),
       $6
ON CONFLICT (name, version) DO NOTHING
"""
VERSIONS_OF = """
SELECT name, version, fingerprint, text, effective_from
FROM lifecycles
WHERE name = ANY ($1::text[])
ORDER BY name, version
"""
MARK_RUNNING = "UPDATE lifecycles SET running = (name = ANY ($1::text[])) WHERE running <> (name = ANY ($1::text[]))"


class Version(NamedTuple):
    """A version in force, from an event time on (None: since ever)."""

    definition: Definition
    text: str
    fingerprint: str
    effective_from: int | None


class Catalogue:
    """The versions in force of the running lifecycles."""

    def __init__(self, versions: Sequence[Version]) -> None:
        self.versions = tuple(versions)
        self._compiled = [compile_definition(version.definition) for version in versions]

    def folds(self, now: int) -> list[Fold]:
        """A fold per lifecycle, by name. A version that refolds counts from the moment it is in force."""
        timelines: dict[str, list[Effective]] = {}
        for version, compiled in zip(self.versions, self._compiled, strict=True):
            effective = SINCE_EVER if version.effective_from is None else version.effective_from
            if compiled.on_change == "refold" and effective > now and timelines.get(compiled.name):
                continue
            timelines.setdefault(compiled.name, []).append(Effective(effective, compiled))
        return [Fold(Timeline(timelines[name])) for name in sorted(timelines)]

    def generation(self, now: int, rebuilds: int) -> int:
        """What everybody has to be folded under, as a number: another one means folding again."""
        parts = [
            (version.definition.lifecycle, version.definition.version, version.fingerprint, version.effective_from)
            for version in self.versions
            if not (
                version.definition.on_change == "refold"
                and version.effective_from is not None
                and version.effective_from > now
            )
        ]
        digest = hashlib.sha256(orjson.dumps([parts, rebuilds])).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def next_change(self, now: int) -> int | None:
        """When a version that refolds comes into force."""
        times = [
            version.effective_from
            for version in self.versions
            if version.definition.on_change == "refold"
            and version.effective_from is not None
            and version.effective_from > now
        ]
        return min(times, default=None)


async def record(pool: asyncpg.Pool, written: Sequence[Written], now: int) -> Catalogue:
    """Record the definitions to run, and read every version of them that was ever started.

    Raises:
        ConfigurationError: a version was started before with another text.
    """
    newest: dict[str, int] = {}
    for one in written:
        definition = one.definition
        newest[definition.lifecycle] = max(definition.version, newest.get(definition.lifecycle, 0))
    async with pool.acquire() as connection, connection.transaction():
        for one in sorted(written, key=lambda one: (one.definition.lifecycle, one.definition.version)):
            definition = one.definition
            given = None if definition.effective_from is None else parse_instant(definition.effective_from)
            await connection.execute(
                RECORD_VERSION, definition.lifecycle, definition.version, definition.fingerprint, one.text, given, now
            )
        rows = await connection.fetch(VERSIONS_OF, list(newest))
        recorded = {(row["name"], row["version"]): row for row in rows}
        for one in written:
            definition = one.definition
            if recorded[definition.lifecycle, definition.version]["fingerprint"] != definition.fingerprint:
                raise ConfigurationError(
                    f"{one.file}: version {definition.version} of lifecycle {definition.lifecycle} was started before "
                    f"with another text: write version: {max(newest[definition.lifecycle], definition.version) + 1}, "
                    "or restore the text (it is kept in the database, table lifecycles)"
                )
        await connection.execute(MARK_RUNNING, list(newest))
    return Catalogue(
        [
            Version(
                read_definition(row["text"], f"{row['name']} version {row['version']}"),
                row["text"],
                row["fingerprint"],
                row["effective_from"],
            )
            for row in rows
            # A version above those of the files was rolled back.
            if row["version"] <= newest[row["name"]]
        ]
    )


async def announce(catalogue: Catalogue, settings: StageEngineSettings, now: int) -> None:
    """Write every version in force to the lifecycles topic; again and again does no harm, it is compacted.

    Raises:
        Unavailable: Kafka did not take it.
    """
    topic = LIFECYCLES.full_name(settings.topic_prefix)
    producer = kafka.producer(settings, f"{settings.topic_prefix}-lifecycles")
    await kafka.start_patiently(producer, settings)
    try:
        for version in catalogue.versions:
            definition = version.definition
            key = f"{definition.lifecycle}/{definition.version}"
            event = LifecycleDefined(
                name=definition.lifecycle,
                version=definition.version,
                title=definition.label,
                cyclic=definition.cyclic,
                stages=[stage.name for stage in definition.stages],
                off_path=[stage.name for stage in definition.off_path],
                effective_from=None if version.effective_from is None else from_micros(version.effective_from),
                on_change=definition.on_change,
                definition=version.text,
                sha256=version.fingerprint,
            )
            headers = to_headers(
                id=f"{key}:{version.fingerprint[:16]}",
                type="touchline.lifecycle-defined",
                source=SOURCE,
                time=micros_to_wire(now),
                subject=key,
            )
            await producer.send_and_wait(topic, event.model_dump_json().encode(), key.encode(), headers=headers)
    except KafkaError as error:
        raise Unavailable(f"Kafka did not take the lifecycle definitions: {error!r}") from None
    finally:
        await producer.stop()
    log.info(
        "lifecycles_announced",
        lifecycles=[f"{v.definition.lifecycle}/{v.definition.version}" for v in catalogue.versions],
    )
