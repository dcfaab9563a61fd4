"""Opens the connections of a reader's session, and says what an error that ended one means."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from aiokafka.errors import KafkaError
from touchline_partitions.errors import FencedError
from touchline_runtime.database import pools as database
from touchline_runtime.database.faults import UNREACHABLE, is_transient, remedy
from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_runtime.kafka.faults import IncompleteAssignmentError
from touchline_runtime.kafka.faults import remedy as kafka_remedy

from touchline_notifier.adapters.kafka.consumer import KafkaRecordConsumer
from touchline_notifier.adapters.kafka.outbox_publisher import KafkaOutboxPublisher
from touchline_notifier.adapters.kafka.topics import Inputs
from touchline_notifier.adapters.postgres.partitions.lease import publisher_name
from touchline_notifier.adapters.postgres.transaction import PostgresDecisionStore
from touchline_notifier.application.plays.live import UnusablePlayError
from touchline_notifier.application.session_ports import OpenSession, SessionFault, SessionResources
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_notifier.settings import NotifierSettings

_RETRY_SECONDS = 1.0
_FAILED_RETRY_SECONDS = 5.0
_BLOCKED_RETRY_SECONDS = 30.0
_PASSING = (*UNREACHABLE, Unavailable, KafkaError, asyncpg.PostgresError, FencedError, asyncio.CancelledError)


def session_opener(settings: NotifierSettings, hashes: Hashes, inputs: Inputs, worker: str | None) -> OpenSession:
    """Opens sessions.

    Args:
        inputs: what the stored offsets are valid for.
        worker: see :class:`KafkaRecordConsumer`.
    """

    async def connect(name: str) -> asyncpg.Connection:
        return await database.connect(settings, application_name=name, search_path=settings.search_path)

    @asynccontextmanager
    async def open_session() -> AsyncIterator[SessionResources]:
        connection = await connect("touchline-notifier-reader")
        try:
            publishing = await connect(publisher_name(connection.get_server_pid()))
            try:
                store = PostgresDecisionStore(
                    connection, publishing, hashes=hashes, partitions=settings.partitions, inputs=inputs
                )
                yield SessionResources(
                    store,
                    KafkaRecordConsumer(settings, worker),
                    lambda lease: KafkaOutboxPublisher(settings, publishing, lease),
                )
            finally:
                publishing.terminate()
        finally:
            connection.terminate()

    return open_session


def diagnose(error: BaseException) -> SessionFault:
    """What an error that ended a session means, and when to try again."""
    if isinstance(error, UnusablePlayError):
        return SessionFault("blocked", str(error), _FAILED_RETRY_SECONDS)
    text = f"{type(error).__name__}: {error}{remedy(error)}"
    if isinstance(error, ConfigurationError):
        return SessionFault("blocked", str(error), _BLOCKED_RETRY_SECONDS)
    if (todo := kafka_remedy(error)) is not None:
        wait = _FAILED_RETRY_SECONDS if isinstance(error, IncompleteAssignmentError) else _BLOCKED_RETRY_SECONDS
        return SessionFault("blocked", f"{text}: {todo}", wait)
    refused = isinstance(error, asyncpg.PostgresError) and not is_transient(error)
    if isinstance(error, _PASSING) and not refused:
        return SessionFault("passing", text, _RETRY_SECONDS)
    return SessionFault("failed", text, _FAILED_RETRY_SECONDS)
