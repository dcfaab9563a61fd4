"""Kafka records that aiokafka's producer cannot write: header names that are not valid UTF-8."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


class _RawName(str):
    """A header name whose encoding is these bytes."""

    raw: bytes

    def __new__(cls, raw: bytes) -> "_RawName":
        made = super().__new__(cls, raw.decode("latin-1"))
        made.raw = raw
        return made

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self.raw


@dataclass(frozen=True)
class RawRecord:
    """A record whose header names are bytes."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[bytes, bytes | None]] = ()


def raw_batch(records: Iterable[RawRecord], codec: str = "none") -> bytes:
    """One record batch, as it is on the wire."""
    builder = _DefaultRecordBatchBuilderPy(
        magic=2, compression_type=CODECS[codec], is_transactional=0, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=1 << 24,
    )  # fmt: skip
    now = int(time.time() * 1000)
    for index, record in enumerate(records):
        headers = [(_RawName(name), content) for name, content in record.headers]
        assert builder.append(index, now + index, record.key, record.value, headers) is not None
    return bytes(builder.build())


async def write_raw(producer: AIOKafkaProducer, topic: str, partition: int, batch: bytes) -> None:
    """Write a batch to a partition."""
    await producer.partitions_for(topic)
    leader = producer.client.cluster.leader_for_partition(TopicPartition(topic, partition))
    async with asyncio.timeout(10):
        response = await producer.client.send(leader, ProduceRequest(None, -1, 5000, [(topic, [(partition, batch)])]))
    ((_, ((_, code, *_),)),) = response.topics
    assert code == 0, response
