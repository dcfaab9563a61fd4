"""Topic ids, by a metadata request that aiokafka does not have.

A topic that was deleted and created again has the same name and other offsets, so a position is stored by topic id.
aiokafka's metadata requests (version 5 at most) do not return it; this one (KIP-516, version 12) does.
"""

from io import BytesIO
from typing import Any
from uuid import UUID

from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields
from touchline_runtime.errors import Unavailable
from touchline_runtime.kafka.clients import Admin


class _Uuid(AbstractType[UUID]):  # type: ignore[misc]  # aiokafka ships no types
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


class _Response(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("topic_authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _RequestV12(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid),
                ("name", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_RequestV12]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def build(self, request_struct_class: type[_RequestV12]) -> _RequestV12:
        topics: list[Any] = [(UUID(int=0), name, {}) for name in self._names]
        return request_struct_class(topics, False, False, {})


async def topic_ids(admin: Admin, names: list[str]) -> dict[str, str]:
    """The ids of existing topics.

    Raises:
        Unavailable: the broker does not return them (Kafka before 2.8 has no topic ids).
    """
    client = admin.client._client
    try:
        response = await client.send(client.get_random_node(), _MetadataRequest(names))
    except (KafkaError, NotImplementedError) as error:
        raise Unavailable(f"Kafka does not return the ids of its topics (it must be 2.8 or later): {error}") from error
    found = {}
    for code, name, topic_id, *_ in response.topics:
        if code:
            raise Unavailable(f"Kafka does not describe topic {name}: {for_code(code).__name__}")
        found[name] = str(topic_id)
    return found
